"""Random crops per second out of the log-mel store beside one .npy file per clip.

    python benchmarks/bench_store.py [--clips 2000] [--crops 2000] [--directory /var/tmp]

Clips are 10 s (1001 frames of 80 bands), crops 608 frames, both read as float32 in one process. The .npy files
hold float32 `[1, 80, 1001]` as the M2D reference writes them and are read whole (np.load, as the reference does) or
memory-mapped; the store is read in batches of 32, as the trainer's loader does, and crop by crop. All take turns, and
medians are compared. For the cold cache the pages of all files are dropped before each run. Last, a store of two
million short clips is opened, and the rate of short crops is set against that of a store with one shard.
"""

import argparse
import collections
import os
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from report import report
from respfm.logmel.frontend import UNITS, LogMel
from respfm.shard import write_clips
from respfm.store import LogMelStore

FRAMES, MELS, CROP = 1001, 80, 608
BATCH = 32
SHARDS, SHARD_CLIPS = 400, 5000


def drop_pages(paths: list[Path]) -> None:
    for path in paths:
        file = os.open(path, os.O_RDONLY)
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


def read_batches(store: LogMelStore, indices: Sequence[int], starts: Sequence[int]) -> None:
    for first in range(0, len(indices), BATCH):
        batch = slice(first, first + BATCH)
        for crop in store.crops(indices[batch], starts[batch], CROP):
            assert crop.shape == (MELS, CROP)


def compare_with_files(root: Path, clips: int, crops: int) -> None:
    rng = np.random.default_rng(0)
    frames = rng.normal(-7, 4, (FRAMES, MELS)).astype(np.float32)
    shard, files = root / "000.h5", [root / f"{i:05d}.npy" for i in range(clips)]
    for file in files:
        np.save(file, frames.T[None])
    ids = [file.stem for file in files]
    write_clips(shard, ids, [FRAMES] * clips, [frames] * clips, LogMel().definition(), UNITS)
    store = LogMelStore([shard])

    def one_by_one(read: Callable[[int, int], object]) -> Callable[[list[int], list[int]], None]:
        return lambda indices, starts: collections.deque(map(read, indices, starts), maxlen=0)

    readers = {
        "np.load": (one_by_one(lambda i, t: np.load(files[i])[0, :, t : t + CROP].shape), files),
        "np.load, mmap": (one_by_one(lambda i, t: np.load(files[i], "r")[0, :, t : t + CROP].copy().shape), files),
        "store, one by one": (one_by_one(lambda i, t: store.crop(i, t, CROP).shape), [shard]),
        "store": (lambda indices, starts: read_batches(store, indices, starts), [shard]),
    }
    for cache in ("warm", "cold"):
        seconds: dict[str, list[float]] = {name: [] for name in readers}
        for repeat in range(5):
            rng = np.random.default_rng(repeat)
            indices = rng.integers(clips, size=crops).tolist()
            starts = rng.integers(FRAMES - CROP + 1, size=crops).tolist()
            for name, (read, paths) in readers.items():
                if cache == "cold":
                    drop_pages(paths)
                start = time.perf_counter()
                read(indices, starts)
                seconds[name].append(time.perf_counter() - start)
        rates = {name: crops / float(np.median(times)) for name, times in seconds.items()}
        for name in list(readers)[:-1]:
            ratio = rates["store"] / rates[name]
            report(f"random crops, {cache} cache", f"{rates['store']:.0f}/s", f"{name} {rates[name]:.0f}/s", ratio)


def open_two_million(root: Path) -> None:
    frames = np.full((4, MELS), -7, np.float16)
    first, ids = root / "000.h5", [f"clip{i:011d}" for i in range(SHARD_CLIPS)]
    write_clips(first, ids, [4] * SHARD_CLIPS, [frames] * SHARD_CLIPS, LogMel().definition(), UNITS)
    paths = [first, *(root / f"{i:03d}.h5" for i in range(1, SHARDS))]
    for path in paths[1:]:
        os.link(first, path)
    memory, start = resident_megabytes(), time.perf_counter()
    store = LogMelStore(paths)
    print(f"{len(store)} clips in {SHARDS} shards opened in {time.perf_counter() - start:.3f} s", end="")
    for name, opened in (("1 shard", LogMelStore([first])), (f"{SHARDS} shards", store)):
        indices = np.random.default_rng(0).integers(len(opened), size=20_000).tolist()
        for shard in range(len(opened.shards)):
            opened.crop(shard * SHARD_CLIPS, 0, 4)
        start = time.perf_counter()
        for index in indices:
            opened.crop(index, 0, 4)
        print(f"; short crops/s from {name}: {len(indices) / (time.perf_counter() - start):.0f}", end="")
    print(f"; memory of the index {resident_megabytes() - memory:.0f} MB")


def resident_megabytes() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--crops", type=int, default=2000)
    parser.add_argument("--directory", type=Path, help="where to put the files (on the disk to be measured)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as temporary:
        compare_with_files(Path(temporary), arguments.clips, arguments.crops)
    with tempfile.TemporaryDirectory(dir=arguments.directory) as temporary:
        open_two_million(Path(temporary))


if __name__ == "__main__":
    main()
