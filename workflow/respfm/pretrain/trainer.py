"""The training loop around `Learner`: data in order, history, states, signals, and the files at the end.

The loop never waits for the device inside a step; at every row of the history the sums are fetched, and a loss that
was not finite since the last row is noticed with the names of its recordings.
"""

import hashlib
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.distributed as dist
from tqdm import tqdm

from respfm import device as devices
from respfm.errors import RespfmError, why_not_written
from respfm.files import digest, file_digest
from respfm.jobs.checkpoints import StateDirectory
from respfm.jobs.code import code_digest
from respfm.jobs.interruption import Interrupted, Requests, ignore_signals
from respfm.jobs.memory import keep_freed_memory
from respfm.logmel.mixture import Recordings
from respfm.m2d import M2DConfig, export_checkpoint, export_encoder
from respfm.m2d.checkpoint import reference_name
from respfm.pretrain import schedule
from respfm.pretrain.curves import COLUMNS, plot_curves, write_history
from respfm.pretrain.data import Batches
from respfm.pretrain.flops import sample_flops
from respfm.pretrain.learner import Learner
from respfm.pretrain.meters import Meters, Timing
from respfm.pretrain.settings import Machine, Recipe


def train(
    run: dict[str, Any],
    mixture: pd.DataFrame,
    shards: dict[str, list[Path]],
    statistics: dict[str, float],
    outdir: Path,
    init_from: Path | None = None,
    workers: int = 2,
    *,
    background: pd.DataFrame | None = None,
    background_statistics: dict[str, float] | None = None,
    teacher: Path | None = None,
    machine: Machine = Machine(),  # noqa: B008 (frozen)
) -> None:
    """Pre-train an encoder and write it with its history into `outdir`; one call per rank under torchrun.

    `run`: an entry of `runs` (see Recipe); `mixture`: recording, dataset, repeats; `shards`: log-mel shards of every
    data set of `mixture` and `background`; `statistics`: mean and std of the mixture's log-mel values. `init_from`: a
    checkpoint to train *further* from (weights only; optimiser and schedule start fresh). An interrupted run of the
    same recipe and data *continues* exactly from its state in `outdir`/state. `teacher`: encoder of the offline loss
    (M2D-X). `workers`: loader processes per rank; the result does not depend on their number.

    Writes encoder.safetensors, checkpoint.pth, history.csv, curves.pdf, curves.png and, with wall-clock times,
    timing.csv. Raises Interrupted after SIGTERM or SIGUSR1 (state saved), RespfmError if the mixture is smaller than
    a batch or the loss is not finite (the last good state stays).
    """
    recipe, outdir = Recipe.from_run(run), Path(outdir)
    rank, ranks = _rank()
    machine.check(recipe.batch_size, ranks)
    keep_freed_memory()
    torch.set_num_threads(machine.threads or max(1, (os.cpu_count() or 1) // ranks))
    if recipe.noise_ratio and (background is None or background_statistics is None):
        raise RespfmError(
            f"noise_ratio is {recipe.noise_ratio}, but the run has no background mixture; add `background`."
        )
    if not recipe.noise_ratio:
        background = background_statistics = None
    identity = {
        "recipe": vars(recipe),
        "mixture": _mixture_digest(mixture),
        "statistics": statistics,
        "background": None if background is None else [_mixture_digest(background), background_statistics],
        "init_from": None if init_from is None else file_digest(init_from),
        "teacher": None if teacher is None else file_digest(teacher),
    }
    config = M2DConfig.from_dict(recipe.model)
    batches = Batches(
        _heard(mixture, shards, config),
        None if background is None else _heard(background, shards, config),
        batch_size=recipe.batch_size,
        frames=config.input_size[1],
        patches=config.patches,
        seed=recipe.seed,
        quirks=recipe.quirks,
        rank=rank,
        ranks=ranks,
    )
    device = devices.choose_device(machine.device)
    learner = Learner(recipe, machine, device, statistics, background_statistics, init_from, teacher)
    trainer = Trainer(recipe, machine, batches, learner, outdir, identity)
    try:
        trainer.run(workers)
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise RespfmError(
            f"a loader process died ({error}); most likely memory ran out. Start again, the run continues from its "
            "last state; lower `machine.loader_workers` or give it more memory if it happens again."
        ) from error
    finally:
        trainer.requests.close()
    if rank == 0:
        trainer.finish(run.get("title", outdir.name), statistics)


def _rank() -> tuple[int, int]:
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def _heard(mixture: pd.DataFrame, shards: dict[str, list[Path]], config: M2DConfig) -> Recordings:
    """The recordings of `mixture`; RespfmError unless their log-mels are those that the encoder will hear by."""
    recordings = Recordings.open(mixture, shards)
    for store in recordings.stores:
        if store.definition != config.front_end:
            raise RespfmError(
                f"the log-mels were made by {store.definition}, but the encoder will hear by {config.front_end}; let "
                "`logmel` of the configuration and the run's `model` (sample_rate, input_size) agree."
            )
    return recordings


def _mixture_digest(mixture: pd.DataFrame) -> str:
    rows = pd.util.hash_pandas_object(mixture[["dataset", "recording", "repeats"]], index=False)
    return hashlib.sha256(rows.to_numpy().tobytes()).hexdigest()


class Trainer:
    """A run in progress. All ranks hold equal networks; rank 0 talks and writes.

    States on the way belong to `identity`, all that decides the result but the code; the last one to the code too.
    """

    def __init__(
        self,
        recipe: Recipe,
        machine: Machine,
        batches: Batches,
        learner: Learner,
        outdir: Path,
        identity: dict[str, Any],
    ):
        self.recipe, self.machine, self.batches, self.learner = recipe, machine, batches, learner
        self.outdir = outdir
        self.rank, self.ranks = _rank()
        self.total = batches.per_epoch * recipe.epochs
        self.step = 0
        self.rows: list[list[float]] = []
        self.meters = Meters(learner.device)
        self.code = code_digest(Path(__file__))
        self.states = StateDirectory(outdir / "state" / digest(identity)[:16])
        self.finished = StateDirectory(outdir / "state" / f"finished-{digest([identity, self.code])[:16]}")
        self.requests = Requests()

    def say(self, text: str) -> None:
        """One line on rank 0, above the progress bar."""
        if self.rank == 0:
            tqdm.write(text)

    def run(self, workers: int) -> None:
        """Train from the newest state, or the beginning, to the last step."""
        recipe, device = self.recipe, self.learner.device
        peak, source = devices.peak_flops(device, self.learner.precision)
        self.say(
            f"{self.outdir.name}: {self.learner.report}; {len(self.batches.recordings)} samples, "
            f"{self.total} steps of {recipe.batch_size} on {self.ranks} x {device.type} in {self.learner.precision}; "
            f"peak {peak / 1e9:.0f} GFLOP/s ({source})"
        )
        if missing := self.batches.recordings.missing:
            self.say(
                f"{len(missing)} recordings of the mixture are not in the log-mel store and are left out: "
                f"{', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''}"
            )
        self._continue()
        self._check_that_ranks_agree()
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
        flops = sample_flops(self.learner.model.config)
        self.outdir.mkdir(parents=True, exist_ok=True)
        self.timing = Timing(self.outdir / "timing.csv", recipe.batch_size, flops, peak * self.ranks)
        self.timing.start(self.step)
        self.board = self._tensorboard()
        saved_at = time.monotonic()
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
                stop, save = self.requests.agree(self._save_is_due(saved_at))
                if stop or save or self.step == self.total:
                    self.save()
                    saved_at = time.monotonic()
                if stop:
                    # Even after the last step: who asks may not wait for the outputs, or delete them.
                    raise Interrupted(f"stopped after step {self.step} of {self.total}; start again to continue.")

    def _schedule(self) -> tuple[float, float]:
        """Learning rate and EMA decay of the current step."""
        recipe = self.recipe
        peak = schedule.peak_lr(recipe.base_lr, recipe.batch_size)
        lr = schedule.lr_at(self.step, self.batches.per_epoch, recipe.epochs, recipe.warmup_epochs, peak, recipe.min_lr)
        return lr, schedule.tau_at(self.step, self.total, *recipe.ema)

    def _save_is_due(self, saved_at: float) -> bool:
        every = self.machine.save_every_steps
        by_step = every is not None and self.step % every == 0
        return by_step or time.monotonic() - saved_at > 60 * self.machine.save_every_minutes

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
        if self.board:
            for name, value in zip(COLUMNS[1:], self.rows[-1][1:], strict=True):
                self.board.add_scalar(name, value, self.step)

    def _tensorboard(self) -> Any:
        """A TensorBoard writer on rank 0 if the package is installed."""
        if self.rank:
            return None
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
            f"{', '.join(names)}. Check these recordings or lower base_lr; the last good state stays in "
            f"{self.states.directory}."
        )

    def _continue(self) -> None:
        """Take up the newest good state of this very run, if there is one."""
        state, complaints = self.finished.load(self.learner.device)
        if state is None:
            state, further = self.states.load(self.learner.device)
            complaints += further
        for complaint in complaints:
            self.say(complaint)
        if state is None:
            return
        self.learner.load_state_dict(state["learner"])
        self.meters.load_state_dict(state["meters"])
        self.step, self.rows = state["step"], state["rows"]
        self.say(f"continuing after step {self.step} of {self.total}")
        if state["code"] != self.code:
            self.say(f"the code has changed since; delete {self.states.directory} to start anew")

    def _check_that_ranks_agree(self) -> None:
        """Raise RespfmError if the ranks continue from different steps."""
        if self.ranks == 1:
            return
        steps = [0] * self.ranks
        dist.all_gather_object(steps, self.step)
        if len(set(steps)) > 1:
            raise RespfmError(
                f"the ranks would continue after steps {', '.join(map(str, steps))}: not all of them read the same "
                f"states in {self.states.directory}. Put the results into a folder that all machines share."
            )

    def save(self) -> None:
        """Save the state after the current step; a full disk costs this state, never the one before."""
        states = self.states if self.step < self.total else self.finished
        self.check_finite()
        self.meters.share()
        if self.rank:
            return
        state = {
            "learner": self.learner.state_dict(),
            "meters": self.meters.state_dict(),
            "step": self.step,
            "rows": self.rows,
            "code": self.code,
        }
        try:
            states.save(self.step, state)
        except (OSError, RuntimeError) as error:
            self.say(
                f"the state after step {self.step} could not be saved in {states.directory} "
                f"({why_not_written(error) or error}); the one before is kept."
            )

    def finish(self, title: str, statistics: dict[str, float]) -> None:
        """Write the encoder, the checkpoint and the curves.

        The state after the last step stays: should the outputs be lost, or count as unfinished because the machine
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
        self.states.clear()
        for old in self.finished.directory.parent.glob("finished-*"):
            if old != self.finished.directory:
                shutil.rmtree(old, ignore_errors=True)
