"""Mono waveforms of a data set at one sample rate: decoded ahead of their use, or read from a cache of them.

The cache holds the samples as they come from decoding and resampling, in float32: embeddings are the same to the last
bit with and without it. Half the width would be inexact, and FLAC takes as long to read as most recordings to decode
(benchmarks/bench_decode.py). As with log-mel shards a reader sees at once whether a file is whole, and the job that
reads it has compared its SHA-256 (respfm.jobs.checksums).
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from respfm import audio
from respfm.errors import RespfmError
from respfm.shard import read_header, read_ids, read_offsets, write_clips

UNITS = "full scale = 1"
BATCHES_AHEAD = 4


def decode_waveforms(paths: Iterable[Path], sample_rate: int, workers: int) -> Iterator[np.ndarray]:
    """Waveforms [samples] of recordings in their order, decoded and resampled by threads a few clips ahead."""
    with ThreadPoolExecutor(workers) as pool:
        ahead: deque = deque()
        try:
            for path in paths:
                ahead.append(pool.submit(audio.load, path, sample_rate))
                if len(ahead) > BATCHES_AHEAD * workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def write_waveforms(
    path: str | os.PathLike, recordings: pd.DataFrame, root: Path, sample_rate: int, workers: int = 1
) -> None:
    """Cache the waveforms of `recordings`, a curated table whose paths are relative to `root`, as a shard, one by one.

    Raises RespfmError for a recording that is not as long as it was when it was curated.
    """
    native = recordings["sample_rate"].to_numpy(np.int64)
    samples = np.rint(recordings["seconds"].to_numpy() * native).astype(np.int64)
    lengths = -(-samples * sample_rate // native)
    paths = [Path(root) / name for name in recordings["path"]]

    def frames() -> Iterator[np.ndarray]:
        waveforms = decode_waveforms(paths, sample_rate, workers)
        for source, length, waveform in zip(paths, lengths, waveforms, strict=True):
            if len(waveform) != length:
                raise RespfmError(f"{source} is not as it was when it was curated; restore it or curate it again")
            yield waveform[:, None]

    write_clips(path, list(recordings["id"]), lengths, frames(), {"sample_rate": sample_rate}, UNITS, "float32")


def read_waveforms(path: str | os.PathLike, ids: Sequence[str], sample_rate: int) -> Iterator[np.ndarray]:
    """Waveforms [samples] of the recordings `ids` from the cache at `path`, each when it is asked for.

    Raises RespfmError, before the first one, for a cache that is not whole, of another rate or of other recordings.
    """
    header = read_header(path)
    if header.definition != {"sample_rate": sample_rate}:
        raise RespfmError(
            f"{path} holds {header.definition}, but the encoder takes {sample_rate} Hz: correct `sample_rate` of the "
            "model in config/models.yaml"
        )
    places = {name.decode(): place for place, name in enumerate(read_ids(path))}
    if absent := [name for name in ids if name not in places]:
        raise RespfmError(f"{path} lacks {len(absent)} recordings, first {absent[0]}; delete it and run again")
    offsets = read_offsets(header)

    def waveforms() -> Iterator[np.ndarray]:
        for start, end in ((offsets[places[name]], offsets[places[name] + 1]) for name in ids):
            yield np.fromfile(path, "<f4", end - start, offset=header.frames_at + 4 * start)

    return waveforms()
