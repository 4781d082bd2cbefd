"""Checkpoints: work that is interrupted goes on from where it was and gives the same bytes.

A checkpoint is named by step and content (`step000000120-<sha256>.pt`): whole or absent, verified when it is read, the
one before always kept. Those of an output lie in a folder that is keyed by everything that decides it, so that work of
another configuration, or of data that have changed since, is never continued.
"""

import contextlib
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist

from respfm.errors import RespfmError, why_not_written
from respfm.files import digest, file_digest
from respfm.jobs.checksums import content_digest
from respfm.jobs.interruption import Interrupted, on_signals

KEEP = 2
FINISHED = "finished-"  # begins the name of a folder for the checkpoint after the last step
NAME = re.compile(r"step(\d{9})-([0-9a-f]{16})\.pt")
log = logging.getLogger(__name__)


class Work(Protocol):
    """Work in steps, each of which depends on what `state_dict` returns and nothing else."""

    step: int

    def progress(self) -> str:
        """Where it is, in words: `step 5 of 20`."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values; called by all ranks at once."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""


class Checkpointer:
    """Saves `work` into `directory` every so often and when a signal asks, and takes it up from there.

    All ranks save and stop at the same step. They agree on the CPU (gloo), so the GPU's queue is never waited for; rank
    0 writes. `finished` is the folder of the checkpoint after the last step, by default `directory` as well.
    """

    def __init__(
        self,
        work: Work,
        directory: Path,
        finished: Path | None = None,
        *,
        every_minutes: float,
        every_steps: int | None = None,
        device: str | torch.device = "cpu",
        say: Callable[[str], None] = log.warning,
    ) -> None:
        self.work, self.directory, self.finished = work, directory, finished or directory
        self.every_minutes, self.every_steps = every_minutes, every_steps
        self.device, self.say = device, say
        self._asked = False
        self._saved_at = time.monotonic()
        self._group = dist.new_group(backend="gloo") if dist.is_initialized() else None

    @contextlib.contextmanager
    def resumed(self) -> Iterator[None]:
        """Take the work up from its newest good checkpoint, if there is one; listen to signals inside the block.

        Raises RespfmError if the ranks would continue from different steps.
        """
        with on_signals(self._ask):
            for path in dict.fromkeys([*_newest_first(self.finished), *_newest_first(self.directory)]):
                if is_whole(path):
                    self.work.load_state_dict(torch.load(path, map_location=self.device, weights_only=True))
                    self.say(f"continuing after {self.work.progress()}")
                    break
                self.say(f"{path} is damaged (its content does not match its name) and was passed over")
            self._check_that_ranks_agree()
            self._saved_at = time.monotonic()
            yield

    def after_step(self, last: bool = False) -> None:
        """Save if it is due, asked for, or the `last` step.

        Raises Interrupted if a signal has asked to stop, after the last step too: who asks may not wait for the
        outputs, or delete them.
        """
        stop, due = self._agree(self._is_due())
        if stop or due or last:
            self._save(self.finished if last else self.directory)
            self._saved_at = time.monotonic()
        if stop:
            raise Interrupted(f"stopped after {self.work.progress()}; start again to continue")

    def finish(self) -> None:
        """Remove all checkpoints but the one after the last step, which spares the work if the outputs are lost."""
        for folder in {self.directory, *self.finished.parent.glob(f"{FINISHED}*")} - {self.finished}:
            shutil.rmtree(folder, ignore_errors=True)

    def _ask(self) -> None:
        self._asked = True

    def _is_due(self) -> bool:
        by_step = self.every_steps is not None and self.work.step % self.every_steps == 0
        return by_step or time.monotonic() - self._saved_at >= 60 * self.every_minutes

    def _agree(self, due: bool) -> tuple[bool, bool]:
        """(stop, due): true on all ranks if true on any."""
        if self._group is None:
            return self._asked, due
        flags = torch.tensor([self._asked, due], dtype=torch.int32)
        dist.all_reduce(flags, op=dist.ReduceOp.MAX, group=self._group)
        return bool(flags[0]), bool(flags[1])

    def _check_that_ranks_agree(self) -> None:
        if self._group is None:
            return
        steps = [0] * dist.get_world_size()
        dist.all_gather_object(steps, self.work.step, self._group)
        if len(set(steps)) > 1:
            raise RespfmError(
                f"the ranks would continue after steps {', '.join(map(str, steps))}: not all of them read the same "
                f"checkpoints in {self.directory}. Put the results into a folder that all machines share"
            )

    def _save(self, directory: Path) -> None:
        """A full disk costs this checkpoint, never the one before."""
        state = self.work.state_dict()
        if dist.is_initialized() and dist.get_rank():
            return
        try:
            write_checkpoint(directory, self.work.step, state)
        except (OSError, RuntimeError) as error:
            self.say(
                f"the checkpoint after {self.work.progress()} could not be saved in {directory} "
                f"({why_not_written(error) or error}); the one before is kept"
            )


def write_checkpoint(directory: Path, step: int, state: dict[str, Any]) -> Path:
    """Write a checkpoint, then remove all but the newest two; returns its path.

    If the disk is full, OSError or RuntimeError is raised and the older ones are as before.
    """
    directory.mkdir(parents=True, exist_ok=True)
    partial = directory / "partial"
    try:
        with open(partial, "wb") as stream:
            torch.save(state, stream)
            stream.flush()
            os.fsync(stream.fileno())
        path = directory / f"step{step:09d}-{file_digest(partial)[:16]}.pt"
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    for old in _newest_first(directory)[KEEP:]:
        old.unlink()
    return path


def is_whole(path: Path) -> bool:
    """Whether the content of a checkpoint matches its name."""
    name = NAME.fullmatch(path.name)
    return name is not None and file_digest(path).startswith(name[2])


def _newest_first(directory: Path) -> list[Path]:
    return sorted((path for path in directory.glob("step*.pt") if NAME.fullmatch(path.name)), reverse=True)


def checkpoints_of(output: str | Path, inputs: Iterable[str | Path], parameters: Any) -> Path:
    """The folder for the job that makes `output` from the files `inputs` with `parameters`, a JSON value."""
    return _beside(Path(output)) / digest([parameters, [content_digest(path) for path in inputs]])[:16]


def discard_checkpoints(output: str | Path) -> None:
    """Remove all checkpoints of `output`, which is there; also those of configurations that were given up."""
    shutil.rmtree(_beside(Path(output)), ignore_errors=True)


def _beside(output: Path) -> Path:
    return output.parent / "checkpoints" / output.stem
