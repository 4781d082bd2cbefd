"""Running means and the finiteness alarm, kept on the device until a row of the history is due."""

import csv
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from respfm.pretrain.learner import METRICS

NEVER = 2**62  # stands for "no such step"


class Meters:
    """Sums of METRICS since the last row, and the first step whose loss or gradient was not finite."""

    def __init__(self, device: torch.device):
        self.sums = torch.zeros(len(METRICS), dtype=torch.float64, device=device)
        self.count = 0
        self.first_bad = torch.full((), NEVER, dtype=torch.int64, device=device)

    def add(self, step: int, metrics: Tensor, overflow_allowed: bool) -> None:
        """Take in the metrics of `step`; with a gradient scaler an infinite gradient norm is no alarm."""
        self.sums += metrics
        self.count += 1
        finite = torch.isfinite(metrics[:-1] if overflow_allowed else metrics).all()
        self.first_bad = torch.where(finite, self.first_bad, self.first_bad.clamp(max=step))

    def share(self) -> None:
        """Make the sums those of the whole batch on every rank."""
        if dist.is_initialized():
            dist.all_reduce(self.sums)
            self.sums /= dist.get_world_size()

    def take_means(self) -> list[float]:
        """Means since the last row; begins the next one."""
        self.share()
        means = (self.sums / self.count).tolist()
        self.sums.zero_()
        self.count = 0
        return means

    def first_not_finite(self) -> int | None:
        """First bad step on any rank."""
        first = self.first_bad.clone()
        if dist.is_initialized():
            dist.all_reduce(first, op=dist.ReduceOp.MIN)
        step = int(first)
        return None if step == NEVER else step

    def state_dict(self) -> dict[str, Any]:
        """What an exact continuation needs (call `share` on all ranks before)."""
        return {"sums": self.sums, "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.sums.copy_(state["sums"])
        self.count = state["count"]


class Timing:
    """Samples per second and model FLOPs utilisation, written to timing.csv (kept out of the reproducible outputs)."""

    COLUMNS = ("step", "seconds", "samples_per_second", "gflops_per_second", "utilisation")

    def __init__(self, path: Path, batch_size: int, sample_flops: int, peak_flops: float):
        self.path, self.batch_size = path, batch_size
        self.sample_flops, self.peak_flops = sample_flops, peak_flops
        self.started = self.last = time.perf_counter()
        self.first_step = self.last_step = 0

    def start(self, step: int) -> None:
        """Training begins after `step` steps; a run from the beginning starts a new file."""
        if step == 0:
            self.path.unlink(missing_ok=True)
        self.started = self.last = time.perf_counter()
        self.first_step = self.last_step = step

    def row(self, step: int) -> float:
        """Append the rate since the last row; returns samples per second."""
        now = time.perf_counter()
        rate = (step - self.last_step) * self.batch_size / (now - self.last)
        flops = rate * self.sample_flops
        fresh = not self.path.exists()
        with open(self.path, "a", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            if fresh:
                writer.writerow(self.COLUMNS)
            speed = f"{rate:.2f}", f"{flops / 1e9:.1f}", f"{flops / self.peak_flops:.4f}"
            writer.writerow([step, f"{now - self.last:.3f}", *speed])
        self.last, self.last_step = now, step
        return rate

    def overall(self) -> str:
        """Samples per second, GFLOP/s and utilisation since the start, in words; says so if no step was taken."""
        if self.last_step == self.first_step:
            return "no step to train"
        rate = (self.last_step - self.first_step) * self.batch_size / (self.last - self.started)
        flops = rate * self.sample_flops
        return f"{rate:.1f} samples/s, {flops / 1e9:.1f} GFLOP/s = {flops / self.peak_flops:.0%} of peak"
