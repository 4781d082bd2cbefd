"""Clips per second of log-mel caching beside two plain loops on the same files.

    make setup
    python benchmarks/bench_logmel.py [--clips 1000] [--workers 2] [--repeats 3] [--real ../shared/data/real-sample]

Cases: 10 s of 16-bit mono wav at 16 kHz, the same at 44.1 kHz, and the recordings below `--real` (zip archives are
unpacked first). The plain loops take one file at a time with torch's default threads: librosa.load, a log-mel with
filters made beforehand, np.save of float32. The first has its spectra from torch.stft, the other from a dense
convolution, as the M2D reference does. All run in turns, and the medians are compared; caching includes the start of
its workers and the flush to disk, of which the loops have none. The next line has the least processor time
of each, which says more on a busy machine (with OMP_NUM_THREADS=1: threads that wait for each other cost the plain
loops much). The last line times the steps alone on one thread, which says what bounds the case.
"""

import argparse
import os
import resource
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import soundfile
import soxr
import torch
from report import report
from respfm import audio
from respfm.logmel.build import write_shard
from respfm.logmel.frontend import EPSILON, LogMel, mel_filters

RATE = 16000
SUFFIXES = {".wav", ".ogg", ".flac", ".mp3", ".webm"}
FILTERS = torch.from_numpy(mel_filters(RATE, 400, 80, 50, 8000))
WINDOW = torch.hann_window(400)
PHASES = 2 * torch.pi / 400 * torch.outer(torch.arange(201), torch.arange(400))
KERNELS = [(wave(PHASES) * WINDOW)[:, None] for wave in (torch.cos, torch.sin)]


def make_wavs(folder: Path, rate: int, clips: int) -> list[Path]:
    folder.mkdir()
    rng = np.random.default_rng(rate)
    for i in range(clips):
        samples = 0.1 * rng.standard_normal(10 * rate) * (1 + np.sin(np.arange(10 * rate) / rate))
        soundfile.write(folder / f"{i:05d}.wav", samples, rate, subtype="PCM_16")
    return sorted(folder.iterdir())


def find_real(source: Path, folder: Path) -> list[Path]:
    for archive in sorted(source.rglob("*.zip")):
        with zipfile.ZipFile(archive) as content:
            content.extractall(folder / archive.parent.name)
    found = sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES - {".webm"})
    return [path for path in found if not audio.inspect(path).quarantine]


def run_plain(paths: list[Path], folder: Path) -> None:
    for i, path in enumerate(paths):
        waveform, _ = librosa.load(path, sr=RATE, mono=True)
        spectrum = torch.stft(
            torch.from_numpy(waveform), 400, 160, window=WINDOW, pad_mode="reflect", return_complex=True
        )
        np.save(folder / f"{i}.npy", torch.log(FILTERS @ spectrum.abs().square() + EPSILON).numpy()[None])


def run_dense(paths: list[Path], folder: Path) -> None:
    for i, path in enumerate(paths):
        waveform, _ = librosa.load(path, sr=RATE, mono=True)
        padded = torch.nn.functional.pad(torch.from_numpy(waveform)[None], (200, 200), mode="reflect")
        power = sum(torch.nn.functional.conv1d(padded, kernel, stride=160).square() for kernel in KERNELS)
        np.save(folder / f"{i}.npy", torch.log(FILTERS @ power + EPSILON).numpy()[None])


def seconds(function: Callable[..., object], *arguments: object, **options: object) -> float:
    start = time.perf_counter()
    function(*arguments, **options)
    return time.perf_counter() - start


def processor_seconds() -> float:
    """What this process and its ended children took of the processors."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def print_steps(paths: list[Path]) -> None:
    """Milliseconds per clip of every step alone, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    front_end = LogMel()
    decoded = [audio.decode(path) for path in paths]
    mono = [(samples.mean(axis=0), rate) for samples, rate in decoded]
    waveforms = [torch.from_numpy(audio.load(path, RATE)) for path in paths]
    steps = {
        "decode": lambda: [audio.decode(path) for path in paths],
        "resample": lambda: [soxr.resample(x, rate, RATE, quality="HQ") for x, rate in mono if rate != RATE],
        "log-mel": lambda: [front_end.ragged(waveforms[i : i + 8]) for i in range(0, len(waveforms), 8)],
    }
    with torch.inference_mode():
        times = {name: min(seconds(step) for _ in range(3)) / len(paths) * 1e3 for name, step in steps.items()}
    print("   one thread, ms/clip: " + ", ".join(f"{name} {value:.2f}" for name, value in times.items()))
    torch.set_num_threads(threads)


def compare(name: str, paths: list[Path], folder: Path, workers: int, repeats: int) -> None:
    ids = [str(i) for i in range(len(paths))]
    folder.mkdir()
    ways = {
        "cache": lambda: write_shard(folder / "shard.h5", ids, paths, {}, workers=workers),
        "plain loop": lambda: run_plain(paths, folder),
        "loop with dense convolution": lambda: run_dense(paths, folder),
    }
    walls, costs = ({way: [] for way in ways} for _ in range(2))
    for _ in range(repeats):
        for way, call in ways.items():
            os.sync()  # what the last way left to be written is not charged to this one
            before = processor_seconds()
            walls[way].append(seconds(call))
            costs[way].append(1e3 * (processor_seconds() - before) / len(paths))
    rates = {way: len(paths) / statistics.median(times) for way, times in walls.items()}
    cached = rates.pop("cache")
    for way, rate in rates.items():
        report(f"log-mel cache, {name}", f"{cached:.0f} clips/s", f"{way} {rate:.0f}", cached / rate)
    least = ", ".join(f"{way} {min(times):.2f}" for way, times in costs.items())
    print(f"   all processes, processor ms/clip: {least}")
    print_steps(paths[:200])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--real", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for rate in (16_000, 44_100):
            paths = make_wavs(root / f"wav{rate}", rate, arguments.clips)
            out = root / f"out{rate}"
            compare(f"10 s wav, {rate / 1000:g} kHz", paths, out, arguments.workers, arguments.repeats)
        if arguments.real:
            paths = find_real(arguments.real, root / "real")
            length = sum(audio.inspect(path).seconds for path in paths) / len(paths)
            name = f"real recordings ({len(paths)}, mean {length:.1f} s)"
            compare(name, paths, root / "out", arguments.workers, arguments.repeats)


if __name__ == "__main__":
    main()
