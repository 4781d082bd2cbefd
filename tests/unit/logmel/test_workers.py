"""Ordered parallel map over processes that may die."""

import os
import signal

import pytest
from respfm.workers import WorkerCrash, map_batches


def square(batch: list[int]) -> list[int]:
    return [item**2 for item in batch]


def square_or_die(batch: list[int]) -> list[int]:
    if {13, 14, 37} & set(batch):
        os.kill(os.getpid(), signal.SIGSEGV)
    return square(batch)


def divide(batch: list[int]) -> list[float]:
    return [1 / item for item in batch]


@pytest.mark.parametrize("workers", [1, 3])
def test_results_keep_the_order(workers):
    assert list(map_batches(square, range(100), 7, workers)) == [i**2 for i in range(100)]
    assert list(map_batches(square, [], 7, workers)) == []


@pytest.mark.parametrize("workers", [1, 3])
def test_a_dying_process_costs_only_the_item_that_kills_it(workers):
    results = list(map_batches(square_or_die, range(50), 8, workers))
    crashed = [i for i, result in enumerate(results) if isinstance(result, WorkerCrash)]
    assert crashed == [13, 14, 37]
    assert [result for i, result in enumerate(results) if i not in crashed] == [
        i**2 for i in range(50) if i not in crashed
    ]


def test_exceptions_of_the_function_are_raised():
    with pytest.raises(ZeroDivisionError):
        list(map_batches(divide, range(-5, 5), 2, 2))
