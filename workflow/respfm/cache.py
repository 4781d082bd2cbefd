"""Building of log-mel shards: recordings are decoded and transformed in parallel, and written in order."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from respfm import audio
from respfm.errors import RespfmError
from respfm.shard import ShardWriter
from respfm.workers import WorkerCrash, map_batches

_BATCH_SIZE = 8

_front_end = None
_min_samples = 0


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
    zeros at the end (M2D reference: 6.1). Recordings that cannot be decoded, are silent, not finite or
    shorter than a frame are left out and listed in the shard with the reason; more than
    `max_quarantine_share` of them is a RespfmError, and no file is left. The bytes of the file do not depend
    on `workers`.
    """
    from respfm.logmel import UNITS, LogMel

    if len(ids) != len(paths) or len(set(ids)) != len(ids):
        raise RespfmError(f"{path}: every recording needs one id of its own and one path.")
    definition = LogMel(**definition).definition()
    with ShardWriter(path, definition, UNITS, dtype, min_seconds) as writer:
        results = map_batches(
            _transform_batch, paths, _BATCH_SIZE, workers, _start_worker, (definition, dtype, min_seconds)
        )
        for identifier, result in zip(ids, tqdm(results, total=len(ids), disable=None), strict=True):
            if isinstance(result, WorkerCrash):
                writer.quarantine(identifier, f"unreadable: {result}")
            elif isinstance(result, str):
                writer.quarantine(identifier, result)
            else:
                writer.append(identifier, result)
        if len(writer.quarantined) > max_quarantine_share * len(ids):
            raise RespfmError(_too_many_quarantined(path, writer.quarantined, len(ids), max_quarantine_share))
    return ShardSummary(len(writer.ids), sum(writer.lengths), writer.quarantined)


def _too_many_quarantined(
    path: str | os.PathLike, quarantined: dict[str, str], total: int, limit: float
) -> str:
    identifier, reason = next(iter(quarantined.items()))
    return (
        f"{path}: {len(quarantined)} of {total} recordings are unusable (first: {identifier}, {reason}); "
        f"max_quarantine_share allows {limit:g} of them. Mend the recordings or raise the limit."
    )


def _start_worker(definition: Mapping[str, Any], dtype: str, min_seconds: float) -> None:
    """Build the front end once per process, on one thread."""
    global _front_end, _min_samples, _dtype
    import torch

    from respfm.logmel import LogMel

    torch.set_num_threads(1)
    _front_end = LogMel(**definition)
    _min_samples = round(min_seconds * _front_end.sample_rate)
    _dtype = dtype


def _transform_batch(paths: Sequence[str | os.PathLike]) -> list[np.ndarray | str]:
    """Log-mel frames `[frames, n_mels]` of every recording, or the reason why there are none."""
    import torch

    results = [_load(path) for path in paths]
    good = [i for i, result in enumerate(results) if not isinstance(result, str)]
    with torch.inference_mode():
        spectrograms = _front_end.ragged([torch.from_numpy(results[i]) for i in good]) if good else []
        for i, spectrogram in zip(good, spectrograms, strict=True):
            results[i] = spectrogram.T.to(getattr(torch, _dtype)).numpy()
    return results


def _load(path: str | os.PathLike) -> np.ndarray | str:
    try:
        waveform = audio.load(path, _front_end.sample_rate)
    except audio.AudioError as error:
        return error.reason
    if not waveform.any():
        return "silent"
    waveform = np.pad(waveform, (0, max(0, _min_samples - len(waveform))))
    return waveform if len(waveform) > _front_end.n_fft // 2 else "shorter than one frame"
