"""The training loop around `Learner`: data in order, history, checkpoints, signals, and the files at the end.

The loop never waits for the device inside a step; at every row of the history the sums are fetched, and a loss that
was not finite since the last row is noticed with the names of its recordings.
"""

import functools
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from tqdm import tqdm

from respfm import device as devices
from respfm.errors import RespfmError
from respfm.files import digest
from respfm.jobs.checkpoints import FINISHED, Checkpointer
from respfm.jobs.interruption import ignore_signals
from respfm.m2d import export_checkpoint, export_encoder
from respfm.m2d.checkpoint import reference_name
from respfm.pretrain import schedule
from respfm.pretrain.curves import COLUMNS, plot_curves, write_history
from respfm.pretrain.data import Batches
from respfm.pretrain.flops import sample_flops
from respfm.pretrain.learner import Learner
from respfm.pretrain.meters import Meters, Timing
from respfm.pretrain.settings import Machine, Recipe


def rank_of_ranks() -> tuple[int, int]:
    """The rank of this process and the number of ranks: (0, 1) outside of torchrun."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


class Trainer:
    """A run in progress. All ranks hold equal networks; rank 0 talks and writes.

    `identity` is all that decides the result but the code, whose digest is `code`. Checkpoints belong to the identity,
    the one after the last step to the code too.
    """

    def __init__(
        self,
        recipe: Recipe,
        machine: Machine,
        batches: Batches,
        learner: Learner,
        outdir: Path,
        identity: dict[str, Any],
        code: str,
    ):
        self.recipe, self.batches, self.learner, self.outdir, self.code = recipe, batches, learner, outdir, code
        self.rank, self.ranks = rank_of_ranks()
        self.total = batches.per_epoch * recipe.epochs
        self.step = 0
        self.rows: list[list[float]] = []
        self.meters = Meters(learner.device)
        peak, self.peak_source = devices.peak_flops(learner.device, learner.precision)
        flops = sample_flops(learner.model.config)
        self.timing = Timing(outdir / "timing.csv", recipe.batch_size, flops, peak * self.ranks)
        self.checkpointer = Checkpointer(
            self,
            outdir / "checkpoints" / digest(identity)[:16],
            outdir / "checkpoints" / f"{FINISHED}{digest([identity, code])[:16]}",
            every_minutes=machine.save_every_minutes,
            every_steps=machine.save_every_steps,
            device=learner.device,
            say=self.say,
        )

    def say(self, text: str) -> None:
        """One line on rank 0, above the progress bar."""
        if self.rank == 0:
            tqdm.write(text)

    def progress(self) -> str:
        """Where the run is, in words."""
        return f"step {self.step} of {self.total}"

    def run(self, workers: int) -> None:
        """Train from the newest checkpoint, or the beginning, to the last step."""
        recipe, device = self.recipe, self.learner.device
        self.say(
            f"{self.outdir.name}: {self.learner.report}; {len(self.batches.recordings)} samples, "
            f"{self.total} steps of {recipe.batch_size} on {self.ranks} x {device.type} in {self.learner.precision}; "
            f"peak {self.timing.peak_flops / self.ranks / 1e9:.0f} GFLOP/s ({self.peak_source})"
        )
        if missing := self.batches.recordings.missing:
            self.say(
                f"{len(missing)} recordings of the mixture are not in the log-mel store and are left out: "
                f"{', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''}"
            )
        with self.checkpointer.resumed():
            loader = torch.utils.data.DataLoader(
                self.batches,
                batch_size=None,
                sampler=range(self.step, self.total),
                num_workers=workers,
                multiprocessing_context="fork" if workers else None,  # no other kind notices that its rank was killed
                pin_memory=device.type == "cuda",
                prefetch_factor=4 if workers else None,
                worker_init_fn=ignore_signals,
            )
            self.outdir.mkdir(parents=True, exist_ok=True)
            self.timing.start(self.step)
            hidden = None if self.rank == 0 else True
            bar = tqdm(total=self.total, initial=self.step, unit="step", desc=self.outdir.name, disable=hidden)
            with bar:
                for batch in devices.prefetch(loader, device):
                    lr, tau = self._schedule()
                    metrics = self.learner.update(batch, lr, tau)
                    self.meters.add(self.step, metrics, overflow_allowed=self.learner.scaler.is_enabled())
                    self.step += 1
                    bar.update()
                    if self.step % recipe.log_every == 0 or self.step == self.total:
                        self._log(bar, lr, tau)
                    self.checkpointer.after_step(last=self.step == self.total)

    def _schedule(self) -> tuple[float, float]:
        """Learning rate and EMA decay of the current step."""
        recipe = self.recipe
        peak = schedule.peak_lr(recipe.base_lr, recipe.batch_size)
        lr = schedule.lr_at(self.step, self.batches.per_epoch, recipe.epochs, recipe.warmup_epochs, peak, recipe.min_lr)
        return lr, schedule.tau_at(self.step, self.total, *recipe.ema)

    def _log(self, bar: tqdm, lr: float, tau: float) -> None:
        """Add a row to the history."""
        self.check_finite()
        means = self.meters.take_means()
        self.rows.append([self.step, self.step / self.batches.per_epoch, lr, tau, *means])
        if self.rank:
            return
        write_history(self.outdir / "history.csv", self.rows)
        rate = self.timing.row(self.step)
        bar.set_postfix(loss=f"{means[0]:.4f}", lr=f"{lr:.2e}", samples_per_s=f"{rate:.1f}")
        if self._board:
            for name, value in zip(COLUMNS[1:], self.rows[-1][1:], strict=True):
                self._board.add_scalar(name, value, self.step)

    @functools.cached_property
    def _board(self) -> Any:
        """A TensorBoard writer if the package is installed."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return None
        return SummaryWriter(str(self.outdir / "tensorboard"), purge_step=self.step)

    def check_finite(self) -> None:
        """Raise RespfmError with the recordings of the first batch whose loss or gradient was not finite."""
        step = self.meters.first_not_finite()
        if step is None:
            return
        names = self.batches.names(step)
        if self.ranks > 1:
            parts: list[list[str]] = [[] for _ in range(self.ranks)]
            dist.all_gather_object(parts, names)
            names = [name for part in parts for name in part]
        raise RespfmError(
            f"the loss or its gradient is not finite at step {step} of {self.total}; its batch: "
            f"{', '.join(names)}. Check these recordings or lower base_lr; the last good checkpoint stays in "
            f"{self.checkpointer.directory}"
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on; RespfmError if the loss is not finite."""
        self.check_finite()
        self.meters.share()
        return {
            "learner": self.learner.state_dict(),
            "meters": self.meters.state_dict(),
            "step": self.step,
            "rows": self.rows,
            "code": self.code,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.learner.load_state_dict(state["learner"])
        self.meters.load_state_dict(state["meters"])
        self.step, self.rows = state["step"], state["rows"]
        if state["code"] != self.code:
            self.say(f"the code has changed since the checkpoint; delete {self.checkpointer.directory} to start over")

    def finish(self, title: str, statistics: dict[str, float]) -> None:
        """Write the encoder, the checkpoint and the curves.

        The checkpoint after the last step stays: should the outputs be lost, or count as unfinished because the machine
        died before Snakemake had noted them, the next start of the same code writes them again without training.
        """
        norm_stats = (statistics["mean"], statistics["std"])
        export_checkpoint(self.learner.model, norm_stats, self.outdir / "checkpoint.pth")
        export_encoder(self.learner.model, norm_stats, self.outdir / "encoder.safetensors")
        write_history(self.outdir / "history.csv", self.rows)
        plot_curves(self.rows, title, [self.outdir / "curves.pdf", self.outdir / "curves.png"])
        memory = devices.peak_memory(self.learner.device) / 2**30
        self.say(f"{self.timing.overall()}, peak memory {memory:.2f} GiB")
        self.say(
            f"for the authors' tools, checkpoint.pth goes into a folder named "
            f"{reference_name(self.learner.model.config, self.outdir.name)}"
        )
        self.checkpointer.finish()
