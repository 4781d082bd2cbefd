"""Checkpoints of any work: kept, passed over, saved on request, the same on all ranks."""

import multiprocessing
import os
import resource
import signal
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from respfm.errors import RespfmError
from respfm.jobs.checkpoints import Checkpointer, write_checkpoint
from respfm.jobs.interruption import Interrupted


class Count:
    """Work that counts its steps, in a tensor of `size` numbers."""

    def __init__(self, size: int = 1) -> None:
        self.step, self.numbers = 0, torch.zeros(size)

    def progress(self) -> str:
        return f"step {self.step}"

    def state_dict(self) -> dict:
        return {"step": self.step, "numbers": self.numbers}

    def load_state_dict(self, state: dict) -> None:
        self.step, self.numbers = state["step"], state["numbers"]


def count_to(steps: int, work: Count, directory: Path, **options) -> list[str]:
    """What is said while `work` goes on to `steps`, saved after each."""
    said: list[str] = []
    checkpointer = Checkpointer(work, directory, every_minutes=60, every_steps=1, say=said.append, **options)
    with checkpointer.resumed():
        while work.step < steps:
            work.step += 1
            checkpointer.after_step(last=work.step == steps)
    return said


def steps_in(directory: Path) -> list[int]:
    return sorted(int(path.name[4:13]) for path in directory.iterdir())


def test_the_newest_two_are_kept_and_work_goes_on_from_the_newest_good_one(tmp_path):
    assert count_to(5, Count(), tmp_path) == []
    assert steps_in(tmp_path) == [4, 5]
    newest = max(tmp_path.iterdir())
    newest.write_bytes(newest.read_bytes()[:-1])
    work = Count()
    assert count_to(6, work, tmp_path) == [
        f"{newest} is damaged (its content does not match its name) and was passed over",
        "continuing after step 4",
    ]
    assert work.step == 6


def test_the_checkpoint_after_the_last_step_has_a_folder_of_its_own_and_stays(tmp_path):
    finished, older = tmp_path / "finished-b", tmp_path / "finished-a"
    count_to(2, Count(), tmp_path / "work", finished=older)
    work = Count()
    count_to(3, work, tmp_path / "work", finished=finished)
    assert (steps_in(tmp_path / "work"), steps_in(finished)) == ([1, 2], [3])
    Checkpointer(work, tmp_path / "work", finished, every_minutes=60).finish()
    assert list(tmp_path.iterdir()) == [finished]
    assert count_to(3, Count(), tmp_path / "work", finished=finished) == ["continuing after step 3"]


def test_a_full_disk_costs_only_the_checkpoint_that_does_not_fit(tmp_path):
    write_checkpoint(tmp_path, 1, Count().state_dict() | {"step": 1})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        large = Count(100_000)
        large.load_state_dict = lambda state: setattr(large, "step", state["step"])
        said = count_to(2, large, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert said[0] == "continuing after step 1"
    assert said[1].startswith(f"the checkpoint after step 2 could not be saved in {tmp_path}")
    assert steps_in(tmp_path) == [1]


def run_rank(rank: int, ranks: int, meeting: Path, directory: Path, answers) -> None:
    """One of several processes that count together; the signal reaches the last rank alone."""
    limit = timedelta(seconds=60)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=ranks, timeout=limit)
    work = Count()
    checkpointer = Checkpointer(work, directory, every_minutes=60)
    try:
        with checkpointer.resumed():
            while True:
                work.step += 1
                if work.step == 3 and rank == ranks - 1:
                    os.kill(os.getpid(), signal.SIGTERM)
                checkpointer.after_step()
    except RespfmError as error:
        answers.put((type(error), str(error)))


def together(tmp_path: Path, *directories: Path) -> list[tuple[type, str]]:
    """How a rank for each of `directories` ends."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["respfm.jobs.checkpoints"])
    answers = context.Queue()
    ranks = len(directories)
    processes = [
        context.Process(target=run_rank, args=(rank, ranks, tmp_path / "meeting", directory, answers))
        for rank, directory in enumerate(directories)
    ]
    for process in processes:
        process.start()
    found = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    return found


def test_a_signal_to_one_rank_stops_all_after_the_same_step(tmp_path):
    found = together(tmp_path, tmp_path / "work", tmp_path / "work")
    assert found == [(Interrupted, "stopped after step 3; start again to continue")] * 2
    assert steps_in(tmp_path / "work") == [3]


def test_ranks_that_read_different_checkpoints_are_refused(tmp_path):
    write_checkpoint(tmp_path / "here", 5, Count().state_dict() | {"step": 5})
    for kind, said in together(tmp_path, tmp_path / "here", tmp_path / "there"):
        assert kind is RespfmError
        assert said.startswith(
            "the ranks would continue after steps 5, 0: not all of them read the same checkpoints in"
        )


def test_a_signal_is_answered_as_before_when_the_work_has_ended(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    count_to(2, Count(), tmp_path)
    assert signal.getsignal(signal.SIGTERM) is before
    with pytest.raises(Interrupted):
        stop_at_once(tmp_path)
    assert signal.getsignal(signal.SIGTERM) is before


def stop_at_once(directory: Path) -> None:
    checkpointer = Checkpointer(Count(), directory, every_minutes=60)
    with checkpointer.resumed():
        os.kill(os.getpid(), signal.SIGTERM)
        checkpointer.after_step()
