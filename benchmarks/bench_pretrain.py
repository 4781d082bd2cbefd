"""Speed of an M2D pre-training step beside a textbook step of the same maths and the step's own matrix products.

    python benchmarks/bench_pretrain.py [--batch 8] [--steps 5] [--threads 2] [--ranks 2]

Rows: the matrix products of one trainer's step alone by torch.matmul, each of its shapes as often as the step needs
it (attention included), nothing between them; square
products of 1536 for orientation; a plain textbook step on a ready batch; the trainer's step (data loading included,
fp32); the same compiled (`machine.compile: default`), if there is a C++ compiler, and in bf16. All run in turn, round
by round, so that other load on the machine meets all of them; medians are printed, without those of the first rounds.
GFLOP/s counts what each row computes (torch's FLOP counter for the textbook step, which includes the work that the
trainer saves; respfm.pretrain.flops for the trainer). CPU seconds are the fairest on a busy machine. Before them,
while memory is free, whole runs in turn: one rank with all threads, and `--ranks` ranks that share the threads, with
a batch of `--batch` for each of them, and with one for all of them.
"""

import argparse
import collections
import copy
import csv
import dataclasses
import os
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from report import report
from respfm.device import measured_gemm_flops
from respfm.files import write_json
from respfm.jobs.interruption import ignore_signals
from respfm.jobs.memory import keep_freed_memory, use_huge_pages
from respfm.logmel.mixture import Recordings
from respfm.m2d import M2D, M2DConfig
from respfm.pretrain.data import Batches
from respfm.pretrain.flops import sample_flops
from respfm.pretrain.launch import torchrun
from respfm.pretrain.learner import Learner
from respfm.pretrain.settings import Machine, Recipe
from respfm.shard import write_clips
from textbook_m2d import TextbookM2D
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

FRONT_END = {"sample_rate": 16000, "n_fft": 400, "hop_length": 160, "n_mels": 80, "f_min": 50, "f_max": 8000}
WARM_UP = 2  # steps in which compilers run and the heap grows
STATISTICS = {"mean": -7.0, "std": 3.0}


def write_store(folder: Path, clips: int = 64, frames: int = 1001) -> tuple[pd.DataFrame, dict[str, list[Path]]]:
    """A store of random 10-second clips, and a mixture of it."""
    path, ids = folder / "000.h5", [f"clip{i:03d}" for i in range(clips)]
    rng = np.random.default_rng(0)
    arrays = (rng.normal(-7, 3, (frames, 80)).astype(np.float32) for _ in ids)
    write_clips(path, ids, [frames] * clips, arrays, FRONT_END, "log power")
    mixture = pd.DataFrame({"recording": ids, "dataset": "random", "repeats": 100})
    return mixture, {"random": [path]}


class MatrixProducts(TorchDispatchMode):
    """Counts the matrix products that run inside, by the sizes and strides of their two operands."""

    NAMES = ("mm", "addmm", "bmm", "baddbmm", "linear")

    def __init__(self):
        super().__init__()
        self.counts = collections.Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name in self.NAMES:
            pair = (args[0].flatten(0, -2), args[1].t()) if name == "linear" else args[-2:]
            self.counts[tuple((tuple(x.shape), x.stride()) for x in pair)] += 1
        return function(*args, **(kwargs or {}))

    def calls(self) -> tuple[Callable[[], None], int]:
        """A call that runs all of them again on random numbers, and its FLOPs."""
        operands = [([torch.empty_strided(*x).normal_() for x in pair], n) for pair, n in self.counts.items()]
        outputs = [a @ b for (a, b), _ in operands]

        def run() -> None:
            for ((a, b), count), out in zip(operands, outputs, strict=True):
                for _ in range(count):
                    torch.matmul(a, b, out=out)

        return run, sum(2 * a.numel() * b.shape[-1] * count for (a, b), count in operands)


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


def training_rates(
    recipe: Recipe, mixture: pd.DataFrame, shards: dict, folder: Path, ranks: int, threads: int, steps: int
) -> list[float]:
    """Samples per second by step of a run of `ranks` ranks with `threads` threads each, after WARM_UP steps."""
    folder.mkdir()
    samples = recipe.batch_size * steps
    repeats = -(-samples // len(mixture))
    mixture.head(-(-samples // repeats)).assign(repeats=repeats).to_parquet(folder / "mixture.parquet")
    write_json(folder / "statistics.json", STATISTICS)
    spec = {
        "run": {"model": recipe.model, "epochs": 1, "batch_size": recipe.batch_size, "log_every": 1},
        "mixture": str(folder / "mixture.parquet"),
        "shards": {name: list(map(str, paths)) for name, paths in shards.items()},
        "statistics": str(folder / "statistics.json"),
        "outdir": str(folder / "out"),
        "workers": 1,
        "machine": {"device": "cpu", "threads": threads},
    }
    write_json(folder / "spec.json", spec)
    if torchrun(folder / "spec.json", ranks):
        raise SystemExit(f"the run with {ranks} ranks failed")
    with open(folder / "out" / "timing.csv", newline="") as stream:
        return [float(row["samples_per_second"]) for row in csv.DictReader(stream)][WARM_UP:]


def compare_ranks(
    recipe: Recipe, mixture: pd.DataFrame, shards: dict, folder: Path, ranks: int, threads: int, steps: int
) -> dict[str, float]:
    """Median samples per second of one rank, and of `ranks` with a batch for each and with one for all."""
    each = dataclasses.replace(recipe, batch_size=ranks * recipe.batch_size)
    runs = {"one rank": (recipe, 1), "for each": (each, ranks), "for all": (recipe, ranks)}
    rates = {name: [] for name in runs}
    for number in range(2):
        for name, (settings, several) in runs.items():
            place, share = folder / f"{name} {number}", threads // several or 1
            rates[name] += training_rates(settings, mixture, shards, place, several, share, steps)
    return {name: statistics.median(values) for name, values in rates.items()}


def measure_steps(
    recipe: Recipe, mixture: pd.DataFrame, shards: dict, rounds: int, workers: int
) -> dict[str, tuple[float, float, int]]:
    """Median wall and CPU seconds of a step, and its FLOPs, by row of the table."""
    config = M2DConfig.from_dict(recipe.model)
    clean, noise = torch.randn(recipe.batch_size, 1, *config.input_size), torch.rand(recipe.batch_size, config.patches)
    networks = M2D(config)
    with MatrixProducts() as products, sdpa_kernel(SDPBackend.MATH):
        networks.loss(clean, mask_noise=noise)["loss"].backward()
    textbook = TextbookM2D(networks)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        copy.deepcopy(textbook).loss(clean, noise).backward()
    products_alone, products_flops = products.calls()
    square = Stopwatch(lambda: measured_gemm_flops(torch.device("cpu"), "fp32", 1536, 5))
    watches = {
        "products alone": (Stopwatch(products_alone), products_flops),
        "product 1536": (square, 12 * 1536**3),
        "textbook fp32": (Stopwatch(lambda: textbook.step(clean, noise, 1e-4, 0.9999)), counter.get_total_flops()),
    }
    ways = {"fp32": {"precision": "fp32"}, "bf16": {"precision": "bf16"}}
    if shutil.which(os.environ.get("CXX", "g++")):
        ways["compiled"] = {"precision": "fp32", "compile": "default"}
    for way, settings in ways.items():
        step = trainer_step(recipe, Machine(device="cpu", **settings), mixture, shards, workers)
        watches[f"respfm {way}"] = Stopwatch(step), recipe.batch_size * sample_flops(config)
    for number in range(WARM_UP + rounds):
        for watch, _ in watches.values():
            watch.run()
            if number < WARM_UP:
                watch.wall.clear()
                watch.cpu.clear()
    return {
        label: (statistics.median(watch.wall), statistics.median(watch.cpu), flops)
        for label, (watch, flops) in watches.items()
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--workers", type=int, default=1, help="loader processes")
    parser.add_argument("--ranks", type=int, default=2, help="ranks that share the threads; 1: do not compare")
    options = parser.parse_args()
    use_huge_pages()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    recipe = Recipe(epochs=1, batch_size=options.batch)
    what = f"M2D ViT-B, 80 x 608, batch {options.batch}, {options.threads} threads"
    with tempfile.TemporaryDirectory() as name:
        mixture, shards = write_store(Path(name))
        rates = {}
        if options.ranks > 1:
            steps = max(options.steps, WARM_UP + 1)
            rates = compare_ranks(recipe, mixture, shards, Path(name), options.ranks, options.threads, steps)
        rows = measure_steps(recipe, mixture, shards, options.steps, options.workers)
        print(f"{what}, {options.steps} rounds")
        print_rows(rows, options.batch)
        textbook, step, reduced = (rows[name][0] for name in ("textbook fp32", "respfm fp32", "respfm bf16"))
        alone = rows["products alone"][2] / rows["products alone"][0] / 1e9
        for label, title in (("respfm fp32", ""), ("respfm compiled", ", compiled")):
            if label in rows:
                wall, _, flops = rows[label]
                report(f"{what}, one step{title}", f"{wall:.2f} s", f"textbook step {textbook:.2f} s", textbook / wall)
                rate = flops / wall / 1e9
                beside = f"its products by torch.matmul {alone:.0f} GFLOP/s"
                report(f"{what}, rate{title}", f"{rate:.0f} GFLOP/s", beside, rate / alone)
        report(f"{what}, bf16", f"{reduced:.2f} s", f"fp32 {step:.2f} s", step / reduced)
        for shared in ("for each", "for all") if rates else ():
            case = f"M2D ViT-B, 80 x 608, {options.ranks} ranks of {options.threads // options.ranks or 1} threads"
            one, several = rates["one rank"], rates[shared]
            beside = f"1 rank of {options.threads}, batch {options.batch}: {one:.2f}"
            report(f"{case}, batch {options.batch} {shared}", f"{several:.2f} samples/s", beside, several / one)


def print_rows(rows: dict[str, tuple[float, float, float]], batch: int) -> None:
    """Table of (wall seconds, CPU seconds, FLOPs) by row; the first is the products alone."""
    gemm_wall, gemm_cpu, gemm_flops = rows["products alone"]
    base = rows["textbook fp32"][0]
    names = "".join(
        f"{name:>12}" for name in ("s", "CPU s", "samples/s", "GFLOP/s", "of products", "by CPU s", "x textbook")
    )
    print(" " * 16 + names)
    for label, (wall, cpu, flops) in rows.items():
        of_gemm, by_cpu = flops / wall * gemm_wall / gemm_flops, flops / cpu * gemm_cpu / gemm_flops
        numbers = f"{wall:12.3f}{cpu:12.2f}{batch / wall:12.2f}{flops / wall / 1e9:12.1f}"
        print(f"{label:16}{numbers}{of_gemm:12.0%}{by_cpu:12.0%}{base / wall:12.2f}")


if __name__ == "__main__":
    main()
