"""Ordered parallel map over worker processes that outlives the crash of a worker."""

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from respfm.errors import RespfmError

_BATCHES_AHEAD = 3
_FORK = multiprocessing.get_context("fork")

Function = Callable[[Sequence[Any]], Sequence[Any]]


class WorkerCrash(Exception):
    """The process that worked on an item died of it: its decoder crashed."""


def map_batches(function: Function, items: Sequence[Any], batch_size: int, workers: int) -> Iterator[Any]:
    """Yield the results of `function(batch)`, one per item, in the order of `items`.

    Batches are cut by `batch_size` alone and run in `workers` processes, a few ahead of the reader. When a process
    dies, the items of its batch run again one by one, and each that kills its process again yields a WorkerCrash in
    place of its result. Exceptions of `function` are raised. A process that is killed from outside even with a single
    item, as happens when memory runs out, is a RespfmError: the item need not be at fault.
    """
    waiting = [range(start, min(start + batch_size, len(items))) for start in range(0, len(items), batch_size)][::-1]
    ahead = _BATCHES_AHEAD * workers * batch_size
    results: dict[int, Any] = {}
    crew: list[_Worker] = []
    position = 0
    try:
        while position < len(items):
            crew = crew or [_Worker(function, items) for _ in range(min(workers, len(waiting)))]
            for worker in crew:
                if not worker.batch and waiting and waiting[-1].start < position + ahead:
                    worker.submit(waiting.pop())
            while position in results:
                yield results.pop(position)
                position += 1
            busy = [worker for worker in crew if worker.batch]
            ready = wait([worker.pipe for worker in busy]) if busy else []
            for worker in [worker for worker in busy if worker.pipe in ready]:
                try:
                    results |= worker.receive()
                except _Death:
                    for other in crew:
                        other.stop()
                    unfinished = [other.batch for other in busy if other.batch and other is not worker]
                    waiting += sorted(unfinished, key=lambda batch: -batch.start)
                    results |= {number: _run_alone(function, items, number) for number in worker.batch}
                    crew = []
                    break
    finally:
        for worker in crew:
            worker.stop()


class _Death(Exception):
    """A process ended before it answered."""


class _Worker:
    """A process with a pipe of its own: its death, even in the middle of an answer, is noticed and stops no other."""

    def __init__(self, function: Function, items: Sequence[Any]) -> None:
        self.pipe, end = _FORK.Pipe()
        self.batch = range(0)
        self.process = _FORK.Process(target=_serve, args=(end, self.pipe, function, items), daemon=True)
        self.process.start()
        end.close()

    def submit(self, batch: range) -> None:
        self.batch = batch
        with contextlib.suppress(OSError):  # the process has died, as `receive` will say
            self.pipe.send(batch)

    def receive(self) -> dict[int, Any]:
        """Results of the batch by number of the item."""
        try:
            answer = self.pipe.recv()
        except (EOFError, OSError):
            raise _Death from None
        if isinstance(answer, Exception):
            raise answer
        batch, self.batch = self.batch, range(0)
        return dict(zip(batch, answer, strict=True))

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _serve(pipe: Connection, parents_end: Connection, function: Function, items: Sequence[Any]) -> None:
    parents_end.close()
    with contextlib.suppress(EOFError, OSError):  # the parent has ended
        while True:
            batch = pipe.recv()
            try:
                answer: Any = function(items[batch.start : batch.stop])
            except Exception as error:
                answer = error
            pipe.send(answer)


def _run_alone(function: Function, items: Sequence[Any], number: int) -> Any:
    worker = _Worker(function, items)
    worker.submit(range(number, number + 1))
    try:
        return worker.receive()[number]
    except _Death:
        worker.process.join()
        if worker.process.exitcode == -signal.SIGKILL:
            raise RespfmError(
                f"a worker process was killed while it worked on {items[number]}; most likely memory ran out. "
                "Run again with more memory or fewer threads (`resources` in the configuration)"
            ) from None
        return WorkerCrash("the process that worked on it died")
    finally:
        worker.stop()
