"""Ordered parallel map over worker processes that outlives the crash of a worker."""

import collections
import itertools
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

_BATCHES_AHEAD = 3


class WorkerCrash(Exception):
    """The process that worked on an item died: a decoder crashed, or memory ran out."""


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
    WorkerCrash in place of its result. Exceptions of `function` are raised.
    """

    def start_pool(processes: int) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("fork")
        return ProcessPoolExecutor(processes, context, initializer, initargs)

    def run_alone(item: Any) -> Any:
        with start_pool(1) as pool:
            try:
                return pool.submit(function, [item]).result()[0]
            except BrokenProcessPool:
                return WorkerCrash("the process that worked on it died")

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
