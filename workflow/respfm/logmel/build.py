"""Building of log-mel shards: recordings are decoded and transformed in parallel, and written in order."""

import dataclasses
import functools
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from tqdm import tqdm

from respfm import audio
from respfm.errors import RespfmError, named_trouble
from respfm.jobs.memory import keep_freed_memory
from respfm.logmel.frontend import UNITS, LogMel
from respfm.shard import write_clips
from respfm.workers import map_batches

_BATCH_SIZE = 16


@dataclasses.dataclass(frozen=True)
class ShardSummary:
    """What went into a shard; `quarantined` maps recording ids to reasons."""

    clips: int
    frames: int
    quarantined: dict[str, str]


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
    if len(ids) != len(paths) or len(set(ids)) != len(ids):
        raise RespfmError(f"{path}: every recording needs one id of its own and one path")
    definition = LogMel(**definition).definition()
    keep_freed_memory()  # here and, by inheritance, in the workers
    lengths: dict[str, int] = {}
    quarantined: dict[str, str] = {}
    with named_trouble(path), _spool_beside(Path(path)) as spool:
        results = map_batches(_LogMels(definition, dtype, min_seconds), paths, _BATCH_SIZE, workers)
        for identifier, result in zip(ids, tqdm(results, total=len(ids), disable=None), strict=True):
            if isinstance(result, np.ndarray):
                lengths[identifier] = len(result)
                spool.write(result.data)
            else:
                quarantined[identifier] = str(result)
        if len(quarantined) > max_quarantine_share * len(ids):
            raise RespfmError(_too_many(path, quarantined, len(ids), max_quarantine_share))
        spool.seek(0)
        n_mels = definition["n_mels"]
        clips = (np.fromfile(spool, dtype, length * n_mels).reshape(-1, n_mels) for length in lengths.values())
        write_clips(
            path, list(lengths), list(lengths.values()), clips, definition, UNITS, dtype, min_seconds, quarantined
        )
    return ShardSummary(len(lengths), sum(lengths.values()), quarantined)


def _spool_beside(path: Path) -> IO[bytes]:
    """A file without a name for the frames: a shard is written when the lengths of all clips are known."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryFile(dir=path.parent)


def _too_many(path: str | os.PathLike, quarantined: dict[str, str], total: int, limit: float) -> str:
    identifier, reason = next(iter(quarantined.items()))
    return (
        f"{path}: {len(quarantined)} of {total} recordings are unusable (first {identifier}: {reason}); "
        f"max_quarantine_share allows {limit:g} of them. Replace the recordings or raise the limit"
    )


@dataclasses.dataclass(frozen=True)
class _LogMels:
    """What turns recordings into log-mels, in each process with a front end of its own on one thread."""

    definition: Mapping[str, Any]
    dtype: str
    min_seconds: float

    @functools.cached_property
    def front_end(self) -> LogMel:
        torch.set_num_threads(1)
        return LogMel(**self.definition)

    @torch.inference_mode()
    def __call__(self, paths: Sequence[str | os.PathLike]) -> list[np.ndarray | str]:
        """`[frames, n_mels]` of every recording, or the reason why it is unusable."""
        loaded = [self.load(path) for path in paths]
        waveforms = [torch.from_numpy(item) for item in loaded if not isinstance(item, str)]
        spectrograms = iter(self.front_end.ragged(waveforms))
        dtype = getattr(torch, self.dtype)
        return [item if isinstance(item, str) else next(spectrograms).T.to(dtype).numpy() for item in loaded]

    def load(self, path: str | os.PathLike) -> np.ndarray | str:
        try:
            waveform = audio.load(path, self.front_end.sample_rate)
        except audio.AudioError as error:
            return error.reason
        if not waveform.any():
            return "silent"
        missing = round(self.min_seconds * self.front_end.sample_rate) - len(waveform)
        if missing > 0:
            waveform = np.pad(waveform, (0, missing))
        return waveform if len(waveform) > self.front_end.n_fft // 2 else "shorter than one frame"
