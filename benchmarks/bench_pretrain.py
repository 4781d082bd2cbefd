"""Speed of an M2D pre-training step beside a textbook step of the same maths and the machine's GEMM rate.

    python benchmarks/bench_pretrain.py [--batch 8] [--steps 5] [--threads 2] [--ranks 2]

Rows: a plain textbook step on a ready batch; the trainer's step (data loading included, fp32); the same in bf16; and
the trainer with several ranks. All run in turn, round by round, so that other load on the machine meets all of them;
medians are printed. GFLOP/s counts what each row computes (torch's FLOP counter for the textbook step, which includes
the work that the trainer saves; respfm.pretrain.flops for the trainer). CPU seconds are the fairest on a busy machine.
"""

import argparse
import copy
import csv
import json
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from respfm.allocator import keep_freed_memory, use_huge_pages
from respfm.device import measured_gemm_flops
from respfm.m2d import M2D, M2DConfig
from respfm.pretrain.data import Batches
from respfm.pretrain.flops import sample_flops
from respfm.pretrain.interruption import ignore_signals
from respfm.pretrain.launch import launch
from respfm.pretrain.learner import Learner
from respfm.pretrain.recordings import Recordings
from respfm.pretrain.settings import Machine, Recipe
from respfm.shard import write_clips
from textbook_m2d import TextbookM2D
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

FRONT_END = {"sample_rate": 16000, "n_fft": 400, "hop_length": 160, "n_mels": 80, "f_min": 50, "f_max": 8000}
STATISTICS = {"mean": -7.0, "std": 3.0}


def write_store(folder: Path, clips: int = 64, frames: int = 1001) -> tuple[pd.DataFrame, dict[str, list[Path]]]:
    """A store of random 10-second clips, and a mixture of it."""
    path, ids = folder / "000.h5", [f"clip{i:03d}" for i in range(clips)]
    rng = np.random.default_rng(0)
    arrays = (rng.normal(-7, 3, (frames, 80)).astype(np.float32) for _ in ids)
    write_clips(path, ids, [frames] * clips, arrays, FRONT_END, "log power")
    mixture = pd.DataFrame({"recording": ids, "dataset": "random", "repeats": 100})
    return mixture, {"random": [path]}


class Stopwatch:
    """Wall and CPU seconds of calls, with child processes (data loading) in the wall time only."""

    def __init__(self, call):
        self.call, self.wall, self.cpu = call, [], []

    def run(self, rounds: int = 1) -> None:
        for _ in range(rounds):
            used = resource.getrusage(resource.RUSAGE_SELF)
            start = time.perf_counter()
            self.call()
            self.wall.append(time.perf_counter() - start)
            now = resource.getrusage(resource.RUSAGE_SELF)
            self.cpu.append(now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime)


def trainer_step(recipe: Recipe, machine: Machine, mixture: pd.DataFrame, shards: dict, workers: int):
    """A call that takes the next batch from the loader and trains on it."""
    config = M2DConfig.from_dict(recipe.model)
    batches = Batches(
        Recordings.open(mixture, shards),
        None,
        batch_size=recipe.batch_size,
        frames=config.input_size[1],
        patches=config.patches,
        seed=recipe.seed,
    )
    loader = torch.utils.data.DataLoader(
        batches,
        batch_size=None,
        sampler=range(batches.per_epoch),
        num_workers=workers,
        worker_init_fn=ignore_signals,
    )
    learner, stream = Learner(recipe, machine, torch.device("cpu"), STATISTICS), iter(loader)
    return lambda: learner.update(next(stream), 1e-4, 0.9999)


def several_ranks(recipe: Recipe, mixture: pd.DataFrame, shards: dict, folder: Path, ranks: int, threads: int) -> float:
    """Samples per second of `ranks` ranks that share the cores, without the first rows of timing.csv."""
    mixture.head(recipe.batch_size * 8).assign(repeats=1).to_parquet(folder / "mixture.parquet")
    (folder / "statistics.json").write_text(json.dumps(STATISTICS))
    launch(
        {
            "run": {"model": recipe.model, "epochs": 1, "batch_size": recipe.batch_size, "log_every": 1},
            "mixture": str(folder / "mixture.parquet"),
            "shards": {name: list(map(str, paths)) for name, paths in shards.items()},
            "statistics": str(folder / "statistics.json"),
            "outdir": str(folder / "out"),
            "workers": 1,
            "machine": {"device": "cpu", "threads": max(1, threads // ranks)},
        },
        processes=ranks,
    )
    with open(folder / "out" / "timing.csv", newline="") as stream:
        return statistics.median(float(row["samples_per_second"]) for row in list(csv.DictReader(stream))[2:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--workers", type=int, default=1, help="loader processes")
    parser.add_argument("--ranks", type=int, default=0, help="also train with this many ranks")
    options = parser.parse_args()
    use_huge_pages()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)

    recipe = Recipe(epochs=1, batch_size=options.batch)
    config = M2DConfig.from_dict(recipe.model)
    clean, noise = torch.randn(options.batch, 1, *config.input_size), torch.rand(options.batch, config.patches)
    with tempfile.TemporaryDirectory() as name:
        mixture, shards = write_store(Path(name))
        textbook = TextbookM2D(M2D(config))
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            copy.deepcopy(textbook).loss(clean, noise).backward()
        plain = counter.get_total_flops() / options.batch
        watches = {
            "GEMM 1536": (Stopwatch(lambda: measured_gemm_flops(torch.device("cpu"), "fp32", 1536, 5)), 12 * 1536**3),
            "textbook fp32": (Stopwatch(lambda: textbook.step(clean, noise, 1e-4, 0.9999)), options.batch * plain),
        }
        for precision in ("fp32", "bf16"):
            machine = Machine(device="cpu", precision=precision)
            step = trainer_step(recipe, machine, mixture, shards, options.workers)
            watches[f"respfm {precision}"] = Stopwatch(step), options.batch * sample_flops(config)
        for watch, _ in watches.values():
            watch.run()
            watch.wall.clear()
            watch.cpu.clear()
        for _ in range(options.steps):
            for watch, _ in watches.values():
                watch.run()

        rows = {
            label: (statistics.median(watch.wall), statistics.median(watch.cpu), flops)
            for label, (watch, flops) in watches.items()
        }
        if options.ranks:
            rate = several_ranks(recipe, mixture, shards, Path(name), options.ranks, options.threads)
            rows[f"respfm {options.ranks} ranks"] = (
                options.batch / rate,
                float("nan"),
                options.batch * sample_flops(config),
            )
    print(f"ViT-B, 80 x 608, batch {options.batch}, {options.threads} threads, {options.steps} rounds")
    print_rows(rows, options.batch)


def print_rows(rows: dict[str, tuple[float, float, float]], batch: int) -> None:
    """Table of (wall seconds, CPU seconds, FLOPs) by row; the first is the GEMM, the second the textbook step."""
    (gemm_wall, gemm_cpu, gemm_flops), (base, *_) = list(rows.values())[:2]
    print(f"{'':16}{'s':>8}{'CPU s':>8}{'samples/s':>11}{'GFLOP/s':>9}{'of GEMM':>9}{'by CPU s':>10}{'x textbook':>12}")
    for label, (wall, cpu, flops) in rows.items():
        line = f"{label:16}{wall:8.3f}{cpu:8.2f}{batch / wall:11.2f}{flops / wall / 1e9:9.1f}"
        of_gemm, by_cpu = flops / wall * gemm_wall / gemm_flops, flops / cpu * gemm_cpu / gemm_flops
        print(f"{line}{of_gemm:9.0%}{by_cpu:10.0%}{base / wall:12.2f}")


if __name__ == "__main__":
    main()
