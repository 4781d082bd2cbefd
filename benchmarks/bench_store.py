"""Random crops per second out of the log-mel store beside one .npy file per clip.

    python benchmarks/bench_store.py [--clips 2000] [--crops 2000] [--directory /var/tmp]

Clips are 10 s (1001 frames of 80 bands), crops 608 frames, both read as float32 in one process. The .npy files
hold float32 `[1, 80, 1001]` as the M2D reference writes them and are read whole (np.load, as the reference does) or
memory-mapped. For the cold cache the pages of all files are dropped before each run. Last, a store of two million
short clips is opened, and the rate of short crops is set against that of a store with one shard.
"""

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from respfm.logmel import UNITS, LogMel
from respfm.shard import write_clips
from respfm.store import LogMelStore

FRAMES, MELS, CROP = 1001, 80, 608
SHARDS, SHARD_CLIPS = 400, 5000


def drop_pages(paths: list[Path]) -> None:
    for path in paths:
        file = os.open(path, os.O_RDONLY)
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


def crops_per_second(
    read: Callable[[int, int], np.ndarray], clips: int, crops: int, paths: list[Path], cold: bool
) -> float:
    rates = []
    for repeat in range(5):
        rng = np.random.default_rng(repeat)
        places = zip(rng.integers(clips, size=crops), rng.integers(FRAMES - CROP + 1, size=crops), strict=True)
        if cold:
            drop_pages(paths)
        start = time.perf_counter()
        for index, first in places:
            read(int(index), int(first))
        rates.append(crops / (time.perf_counter() - start))
    return float(np.median(rates))


def compare_with_files(root: Path, clips: int, crops: int) -> None:
    rng = np.random.default_rng(0)
    frames = rng.normal(-7, 4, (FRAMES, MELS)).astype(np.float32)
    shard, files = root / "000.h5", [root / f"{i:05d}.npy" for i in range(clips)]
    for file in files:
        np.save(file, frames.T[None])
    ids = [file.stem for file in files]
    write_clips(shard, ids, [FRAMES] * clips, [frames] * clips, LogMel().definition(), UNITS)
    store = LogMelStore([shard])
    readers = {
        "np.load": (lambda i, t: np.load(files[i])[0, :, t : t + CROP], files),
        "np.load, mmap": (lambda i, t: np.load(files[i], mmap_mode="r")[0, :, t : t + CROP].copy(), files),
        "store": (lambda i, t: store.crop(i, t, CROP), [shard]),
    }
    for cache in ("warm", "cold"):
        rates = {
            name: crops_per_second(read, clips, crops, paths, cache == "cold")
            for name, (read, paths) in readers.items()
        }
        ratios = ", ".join(f"{name} {rate:.0f} ({rates['store'] / rate:.1f})" for name, rate in rates.items())
        print(f"{cache} cache, crops/s (store's ratio): {ratios}")


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
