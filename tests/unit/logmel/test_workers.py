"""Ordered parallel map over processes that may die."""

import multiprocessing
import os
import signal
import threading
import time

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


def test_a_process_killed_in_the_middle_of_an_answer_stops_no_other(tmp_path):
    killed = tmp_path / "killed"

    def answer(batch: list[int]) -> list[bytes]:
        if 1 in batch and not killed.exists():
            killed.touch()
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return [bytes([item]) * 10_000_000 for item in batch]

    results = map_batches(answer, range(5), 1, 2)
    found = [next(results)]
    time.sleep(0.5)  # nobody reads, so that the answer is too long for the pipe
    found += results
    assert killed.exists()
    assert [(answer[0], len(answer)) for answer in found] == [(item, 10_000_000) for item in range(5)]


def test_exceptions_of_the_function_are_raised():
    with pytest.raises(ZeroDivisionError):
        list(map_batches(divide, range(-5, 5), 2, 2))


def test_no_process_is_left_when_the_reader_stops():
    results = map_batches(square, range(100), 7, 3)
    next(results)
    assert multiprocessing.active_children()
    results.close()
    assert not multiprocessing.active_children()
