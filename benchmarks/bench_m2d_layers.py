"""Clips per second for the embeddings of all layers of M2D (ViT-B): one pass for all, or one pass for each layer.

    python benchmarks/bench_m2d_layers.py [--clips 16] [--threads 2] [--rounds 3]

Both start from 10 s wav files. "Each layer on its own" is what the paper's scripts do: decode, front end and all blocks
again for every layer. "Short clips" are 2 s of sound padded to 10 s with zeros, whose silent chunks are encoded once.
Wall and CPU seconds are medians; CPU seconds are the fairest on a busy machine.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch
from respfm import audio
from respfm.encoders import load_encoder
from respfm.encoders.m2d import M2DAudioEncoder

RATE, SECONDS = 16000, 10


def write_clips(folder: Path, clips: int, sounding: int) -> list[Path]:
    """Wav files of noise, silent after `sounding` seconds."""
    rng, paths = np.random.default_rng(0), []
    for index in range(clips):
        samples = np.zeros(RATE * SECONDS, np.float32)
        samples[: RATE * sounding] = 0.1 * rng.standard_normal(RATE * sounding)
        paths.append(folder / f"{sounding}s-{index:03d}.wav")
        soundfile.write(paths[-1], samples, RATE)
    return paths


def one_pass(encoder: M2DAudioEncoder, paths: list[Path]) -> None:
    """Every clip decoded and encoded once."""
    encoder.embed(torch.stack([torch.from_numpy(audio.load(path, RATE)) for path in paths]))


def each_layer(encoder: M2DAudioEncoder, paths: list[Path]) -> None:
    """Every clip decoded and encoded once per layer."""
    for _ in encoder.layers:
        one_pass(encoder, paths)


def measure(call: Callable[[], None]) -> tuple[float, float]:
    """Wall and CPU seconds of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    encoder = load_encoder("m2d", random_seed=0)
    with tempfile.TemporaryDirectory() as folder:
        long, short = (write_clips(Path(folder), options.clips, sounding) for sounding in (SECONDS, 2))
        rows = {
            "all layers in one pass": lambda: one_pass(encoder, long),
            "each layer on its own": lambda: each_layer(encoder, long),
            "all layers, short clips": lambda: one_pass(encoder, short),
        }
        one_pass(encoder, long[:1])
        times = {name: [] for name in rows}
        for _ in range(options.rounds):
            for name, call in rows.items():
                times[name].append(measure(call))
    medians = {name: [statistics.median(column) for column in zip(*runs, strict=True)] for name, runs in times.items()}
    print(f"{'':26}{'wall s':>9}{'CPU s':>9}{'clips/s':>9}{'ratio':>8}")
    slowest = medians["each layer on its own"][0]
    for name, (wall, cpu) in medians.items():
        print(f"{name:26}{wall:9.2f}{cpu:9.2f}{options.clips / wall:9.2f}{slowest / wall:8.1f}")


if __name__ == "__main__":
    main()
