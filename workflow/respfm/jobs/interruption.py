"""SIGTERM, SIGUSR1, SIGURG and SIGINT as a request to save and leave; all ranks obey at the same step."""

import signal

import torch
import torch.distributed as dist

from respfm.errors import RespfmError

EXIT_REQUEUE = 75  # EX_TEMPFAIL of sysexits.h: saved, start me again
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGURG, signal.SIGINT)


class Interrupted(RespfmError):
    """The work was asked to stop and has saved its state."""


class Requests:
    """Two requests that any rank may raise, stop and save; `agree` makes them the same on all ranks.

    With several ranks the agreement runs on the CPU (gloo), so the GPU's queue is never waited for.
    """

    def __init__(self) -> None:
        self.stop = False
        self._group = dist.new_group(backend="gloo") if dist.is_initialized() else None
        self._previous = {number: signal.signal(number, self._on_signal) for number in SIGNALS}

    def _on_signal(self, number: int, frame: object) -> None:
        self.stop = True

    def agree(self, save: bool) -> tuple[bool, bool]:
        """(stop, save): true on all ranks if true on any."""
        if self._group is None:
            return self.stop, save
        flags = torch.tensor([self.stop, save], dtype=torch.int32)
        dist.all_reduce(flags, op=dist.ReduceOp.MAX, group=self._group)
        return bool(flags[0]), bool(flags[1])

    def close(self) -> None:
        """Give the signals back to whoever had them."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)


def ignore_signals(_worker: int) -> None:
    """For loader processes: a signal to the process group is answered by the trainer alone."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
