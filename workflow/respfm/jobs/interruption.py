"""SIGTERM, SIGUSR1, SIGURG and SIGINT as a request to save and leave."""

import contextlib
import signal
from collections.abc import Callable, Iterator

from respfm.errors import RespfmError

EXIT_REQUEUE = 75  # EX_TEMPFAIL of sysexits.h: saved, start me again
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGURG, signal.SIGINT)


class Interrupted(RespfmError):
    """The work was asked to stop and has been saved."""


@contextlib.contextmanager
def on_signals(act: Callable[[], None]) -> Iterator[None]:
    """Call `act` at each of SIGNALS inside the block; after it they do what they did before."""
    previous = {number: signal.signal(number, lambda *_: act()) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def ignore_signals(_worker: int) -> None:
    """For loader processes: a signal to the process group is answered by the trainer alone."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
