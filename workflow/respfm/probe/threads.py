"""Work on several layers at a time; the number of threads does not change the result."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_threads(function: Callable[[Item], Result], items: Iterable[Item], threads: int | None) -> Iterator[Result]:
    """Results in the order of the items; each call computes with a single thread of PyTorch.

    `threads` is the number of calls at a time, by default the number of threads that PyTorch would use.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads or before) as pool:
            yield from pool.map(function, items)
    finally:
        torch.set_num_threads(before)
