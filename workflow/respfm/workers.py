"""Ordered parallel map over worker processes that outlives the crash of a worker."""

import collections
import itertools
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import Any

from respfm.errors import RespfmError

_BATCHES_AHEAD = 3


class WorkerCrash(Exception):
    """The process that worked on an item died of it: its decoder crashed."""


def map_batches(
    function: Callable[[Sequence[Any]], Sequence[Any]],
    items: Sequence[Any],
    batch_size: int,
    workers: int,
    initializer: Callable[..., None] | None = None,
    initargs: tuple[Any, ...] = (),
) -> Iterator[Any]:
    """Yield the results of `function(batch)`, one per item, in the order of `items`.

    Batches are cut by `batch_size` alone and run in `workers` processes, a few ahead of the reader. When a
    process dies, the items of its batch run again one by one, and each that kills its process again yields a
    WorkerCrash in place of its result. Exceptions of `function` are raised. A process that is killed from outside
    even with a single item, as happens when memory runs out, is a RespfmError: the item need not be at fault.
    """
    context = multiprocessing.get_context("fork")

    def start_pool(processes: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(processes, context, initializer, initargs)

    def run_alone(item: Any) -> Any:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_run_alone, args=(sender, function, item, initializer, initargs))
        process.start()
        sender.close()
        try:
            result, error = receiver.recv()
        except EOFError:
            process.join()
            if process.exitcode == -signal.SIGKILL:
                raise RespfmError(
                    f"a worker process was killed while it worked on {item}; most likely memory ran out. "
                    "Run again with more memory or fewer threads (`resources` in the configuration)."
                ) from None
            return WorkerCrash("the process that worked on it died")
        process.join()
        if error:
            raise error
        return result

    pending = collections.deque(items[start : start + batch_size] for start in range(0, len(items), batch_size))
    running: collections.deque = collections.deque()
    pool = start_pool(workers)
    try:
        while pending:
            try:
                for batch in itertools.islice(pending, len(running), workers * _BATCHES_AHEAD):
                    running.append(pool.submit(function, batch))
                results = running[0].result()
            except BrokenProcessPool:
                pool.shutdown()
                running.clear()
                results = [run_alone(item) for item in pending[0]]
                pool = start_pool(workers)
            else:
                running.popleft()
            pending.popleft()
            yield from results
    finally:
        pool.shutdown(cancel_futures=True)


def _run_alone(
    sender: Connection,
    function: Callable[[Sequence[Any]], Sequence[Any]],
    item: Any,
    initializer: Callable[..., None] | None,
    initargs: tuple[Any, ...],
) -> None:
    try:
        if initializer:
            initializer(*initargs)
        sender.send((function([item])[0], None))
    except Exception as error:
        sender.send((None, error))
