"""Building of log-mel shards: recordings are decoded and transformed in parallel, and written in order."""

import ctypes
import dataclasses
import errno
import fcntl
import os
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing.sharedctypes import RawValue
from pathlib import Path
from typing import IO, Any

import numpy as np
from tqdm import tqdm

from respfm import audio
from respfm.errors import RespfmError, named_trouble
from respfm.jobs.memory import keep_freed_memory
from respfm.shard import write_clips
from respfm.workers import map_batches

_BATCH_SIZE = 16


@dataclasses.dataclass(frozen=True)
class ShardSummary:
    """What went into a shard; `quarantined` maps recording ids to reasons."""

    clips: int
    frames: int
    quarantined: dict[str, str]


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where the spool holds the frames of one recording."""

    start: int
    frames: int


def write_shard(
    path: str | os.PathLike,
    ids: Sequence[str],
    paths: Sequence[str | os.PathLike],
    definition: Mapping[str, Any],
    dtype: str = "float16",
    min_seconds: float = 0.0,
    workers: int = 1,
    max_quarantine_share: float = 0.05,
) -> ShardSummary:
    """Write the log-mel spectrograms of recordings `paths`, named `ids`, to the shard `path`.

    `definition` holds the keyword arguments of LogMel. Waveforms shorter than `min_seconds` are padded with
    zeros at the end (M2D reference: 6.1). Recordings that cannot be decoded, are silent, not finite or shorter
    than a frame are left out and listed in the shard with the reason; more than `max_quarantine_share` of them
    is a RespfmError, and no file is left. The bytes of the file do not depend on `workers`.
    """
    from respfm.logmel.frontend import UNITS, LogMel

    if len(ids) != len(paths) or len(set(ids)) != len(ids):
        raise RespfmError(f"{path}: every recording needs one id of its own and one path.")
    definition = LogMel(**definition).definition()
    places: dict[str, _Place] = {}
    quarantined: dict[str, str] = {}
    with named_trouble(path), _spool_beside(Path(path)) as spool, tempfile.TemporaryFile() as lock:
        end = RawValue(ctypes.c_int64, 0)
        arguments = (definition, dtype, min_seconds, spool.fileno(), end, lock.fileno())
        results = map_batches(_transform, paths, _BATCH_SIZE, workers, _start_worker, arguments)
        for identifier, result in zip(ids, tqdm(results, total=len(ids), disable=None), strict=True):
            if isinstance(result, _Place):
                places[identifier] = result
            else:
                quarantined[identifier] = str(result)
        if len(quarantined) > max_quarantine_share * len(ids):
            raise RespfmError(_too_many(path, quarantined, len(ids), max_quarantine_share))
        spooled = np.memmap(spool, dtype, "r") if places else np.empty(0, dtype)
        rows = spooled.reshape(-1, definition["n_mels"])
        clips = (rows[place.start : place.start + place.frames] for place in places.values())
        lengths = [place.frames for place in places.values()]
        write_clips(path, list(places), lengths, clips, definition, UNITS, dtype, min_seconds, quarantined)
    return ShardSummary(len(places), sum(lengths), quarantined)


def _spool_beside(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryFile(dir=path.parent)


def _too_many(path: str | os.PathLike, quarantined: dict[str, str], total: int, limit: float) -> str:
    identifier, reason = next(iter(quarantined.items()))
    return (
        f"{path}: {len(quarantined)} of {total} recordings are unusable (first {identifier}: {reason}); "
        f"max_quarantine_share allows {limit:g} of them. Mend the recordings or raise the limit."
    )


class _Worker:
    """What one process needs: a front end on one thread and the spool, a file shared by all processes.

    `end` counts the frames in the spool; a process moves it on by what it is going to write while it holds `lock`, a
    file lock, because that is given back even when the process is killed.
    """

    def __init__(
        self, definition: Mapping[str, Any], dtype: str, min_seconds: float, spool: int, end: ctypes.c_int64, lock: int
    ) -> None:
        import torch

        from respfm.logmel.frontend import LogMel

        torch.set_num_threads(1)
        self.front_end = LogMel(**definition)
        self.dtype = getattr(torch, dtype)
        self.min_samples = round(min_seconds * self.front_end.sample_rate)
        self.spool, self.end, self.lock = spool, end, lock

    def transform(self, paths: Sequence[str | os.PathLike]) -> list[_Place | str]:
        """Write the log-mel frames of recordings to the spool; a reason takes the place of unusable ones."""
        import torch

        loaded = [self.load(path) for path in paths]
        with torch.inference_mode():
            waveforms = [torch.from_numpy(item) for item in loaded if not isinstance(item, str)]
            spectrograms = iter(self.front_end.ragged(waveforms))
            return [
                item if isinstance(item, str) else self.write(next(spectrograms).T.to(self.dtype).numpy())
                for item in loaded
            ]

    def load(self, path: str | os.PathLike) -> np.ndarray | str:
        try:
            waveform = audio.load(path, self.front_end.sample_rate)
        except audio.AudioError as error:
            return error.reason
        if not waveform.any():
            return "silent"
        if len(waveform) < self.min_samples:
            waveform = np.pad(waveform, (0, self.min_samples - len(waveform)))
        return waveform if len(waveform) > self.front_end.n_fft // 2 else "shorter than one frame"

    def write(self, frames: np.ndarray) -> _Place:
        fcntl.lockf(self.lock, fcntl.LOCK_EX)
        place = _Place(self.end.value, len(frames))
        self.end.value += len(frames)
        fcntl.lockf(self.lock, fcntl.LOCK_UN)
        if os.pwrite(self.spool, frames.data, place.start * frames[0].nbytes) != frames.nbytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "log-mel shards")
        return place


_worker: _Worker


def _start_worker(*arguments: Any) -> None:
    global _worker
    keep_freed_memory()
    _worker = _Worker(*arguments)


def _transform(paths: Sequence[str | os.PathLike]) -> list[_Place | str]:
    return _worker.transform(paths)
