"""A run that was interrupted anywhere ends with the same bytes as the unbroken one."""

import json
import multiprocessing
import os
import random
import re
import resource
import signal
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
from pretrain_corpus import RUN, write_corpus
from respfm.jobs.checkpoints import Checkpointer
from respfm.jobs.interruption import Interrupted
from respfm.pretrain import run
from respfm.pretrain.run import train

OUTPUTS = ("encoder.safetensors", "checkpoint.pth", "history.csv", "curves.pdf", "curves.png")
STEPS = 9 * RUN["epochs"]


def run_rank(spec_path: str, largest_file: int | None = None) -> None:
    """Body of a child process: what `python -m respfm.pretrain --spec` does, on a disk that takes `largest_file`."""
    from respfm.pretrain.__main__ import main

    if largest_file:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    sys.argv = ["respfm.pretrain", "--spec", spec_path]
    sys.stdout = sys.stderr = open(Path(spec_path).with_name("log"), "w")  # noqa: SIM115
    sys.exit(main())


@pytest.fixture(scope="module")
def server():
    """Starts processes that have already imported the trainer, which is most of what a start costs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["respfm.pretrain.run", "pandas", "torch._dynamo", "matplotlib.backends.backend_pdf"]
    )
    return context


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("resume"))


def start(server, spec: dict, outdir: Path, workers: int = 0, largest_file=None, **changes) -> multiprocessing.Process:
    outdir.mkdir(parents=True, exist_ok=True)
    machine = {**spec["machine"], "save_every_steps": 5, "save_every_minutes": 1e9, **changes.pop("machine", {})}
    path = outdir / "spec.json"
    path.write_text(json.dumps({**spec, "outdir": str(outdir), "workers": workers, "machine": machine, **changes}))
    process = server.Process(target=run_rank, args=(str(path), largest_file))
    process.start()
    return process


def finish(process: multiprocessing.Process) -> int:
    process.join(60)
    return process.exitcode


def newest_step(outdir: Path) -> int:
    return max((int(path.name[4:13]) for path in outdir.glob("checkpoints/*/step*.pt")), default=0)


def contents(outdir: Path) -> dict[str, bytes]:
    return {name: (outdir / name).read_bytes() for name in OUTPUTS}


@pytest.fixture(scope="module")
def unbroken(server, spec, tmp_path_factory):
    outdir = tmp_path_factory.mktemp("unbroken") / "run"
    assert finish(start(server, spec, outdir)) == 0
    return contents(outdir)


@pytest.mark.slow
def test_ten_interruptions_at_random_moments_leave_no_trace(server, spec, unbroken, tmp_path):
    outdir, rng, loaders = tmp_path / "run", random.Random(0), []
    for number, target in enumerate(sorted(rng.sample(range(STEPS - 8), 10))):
        sent = rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1])
        before = newest_step(outdir)
        process = start(server, spec, outdir, workers=(0, 1, 3)[number % 3])
        while newest_step(outdir) <= (before if sent != signal.SIGKILL else target - 5) and process.is_alive():
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.05))
        before = newest_step(outdir)
        loaders += psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, sent)
        status = finish(process)
        assert status == (-signal.SIGKILL if sent == signal.SIGKILL else 75)
        assert newest_step(outdir) >= before
        assert not any((outdir / name).exists() for name in OUTPUTS if name != "history.csv")
    assert newest_step(outdir) > STEPS // 2
    assert finish(start(server, spec, outdir, workers=1)) == 0
    assert contents(outdir) == unbroken
    assert loaders
    assert psutil.wait_procs(loaders, timeout=30)[1] == []
    assert [path.name[:13] for path in outdir.glob("checkpoints/finished-*/*")] == [f"step{STEPS:09d}"]
    assert len(list(outdir.glob("checkpoints/*"))) == 1


def test_outputs_that_are_lost_are_written_again_without_training_unless_the_code_has_changed(
    spec, unbroken, tmp_path, monkeypatch, capsys
):
    """Snakemake removes the outputs of a job that was killed before it had noted them."""
    again = {**spec, "outdir": str(tmp_path)}
    for code, first_line in (("one", ""), ("one", f"continuing after step {STEPS} of {STEPS}"), ("two", "")):
        monkeypatch.setattr(run, "code_digest", lambda path, code=code: code)
        for name in OUTPUTS:
            (tmp_path / name).unlink(missing_ok=True)
        train(again)
        assert contents(tmp_path) == unbroken
        printed = capsys.readouterr().out
        assert ("continuing" in printed) == bool(first_line)
        assert first_line in printed
    assert len(list(tmp_path.glob("checkpoints/*"))) == 1


def test_a_stop_at_the_last_step_leaves_the_outputs_to_the_next_start(spec, unbroken, tmp_path, monkeypatch):
    """Whoever asks may remove what is written after it, as a scheduler's end of a job does."""
    changed = {**spec, "outdir": str(tmp_path / "run")}
    agree = Checkpointer._agree
    monkeypatch.setattr(Checkpointer, "_agree", lambda self, due: (self.work.step == STEPS, due))
    with pytest.raises(Interrupted, match=f"stopped after step {STEPS} of {STEPS}"):
        train(changed)
    assert not (tmp_path / "run" / "encoder.safetensors").exists()
    monkeypatch.setattr(Checkpointer, "_agree", agree)
    train(changed)
    assert contents(tmp_path / "run") == unbroken


def test_another_recipe_data_or_start_never_continues_a_checkpoint(server, spec, tmp_path):
    outdir = tmp_path / "run"
    process = start(server, spec, outdir)
    while not newest_step(outdir):
        time.sleep(0.01)
    process.kill()
    finish(process)
    (kept,) = outdir.glob("checkpoints/*")
    assert finish(start(server, spec, tmp_path / "first", run={**RUN, "epochs": 1})) == 0
    pd.read_parquet(spec["mixture"]).assign(repeats=[2] + [1] * 47).to_parquet(tmp_path / "mixture.parquet")
    statistics = json.loads(Path(spec["statistics"]).read_text())
    (tmp_path / "statistics.json").write_text(json.dumps({**statistics, "mean": statistics["mean"] + 1e-6}))
    for changed in (
        {"run": {**RUN, "seed": 6}},
        {"run": {**RUN, "model": {**RUN["model"], "depth": 3}}},
        {"mixture": str(tmp_path / "mixture.parquet")},
        {"statistics": str(tmp_path / "statistics.json")},
        {"init_from": str(tmp_path / "first" / "encoder.safetensors")},
    ):
        assert finish(start(server, spec, outdir, machine={"save_every_steps": 1000}, **changed)) == 0
        assert "continuing" not in (outdir / "log").read_text()
        folders = set(outdir.glob("checkpoints/*"))
        assert kept in folders
        assert len(folders) == 2


def test_a_damaged_checkpoint_is_passed_over(server, spec, unbroken, tmp_path):
    outdir = tmp_path / "run"
    process = start(server, spec, outdir)
    while newest_step(outdir) < 20:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGTERM)
    assert finish(process) == 75
    older, newer = sorted(outdir.glob("checkpoints/*/step*.pt"))
    newer.write_bytes(newer.read_bytes()[:-100])
    assert finish(start(server, spec, outdir)) == 0
    said = (outdir / "log").read_text()
    assert f"{newer} is damaged" in said
    assert f"continuing after step {int(older.name[4:13])}" in said
    assert contents(outdir) == unbroken


def test_a_disk_that_fills_up_does_not_stop_the_run_or_harm_the_checkpoint(server, spec, unbroken, tmp_path):
    outdir = tmp_path / "run"
    process = start(server, spec, outdir)
    while newest_step(outdir) < 20:
        time.sleep(0.002)
    process.kill()
    finish(process)
    size = max(path.stat().st_size for path in outdir.glob("checkpoints/*/step*.pt"))
    outputs = max(map(len, unbroken.values()))
    assert outputs < size - 1000
    assert finish(start(server, spec, outdir, largest_file=size - 1000)) == 0
    assert "could not be saved" in (outdir / "log").read_text()
    assert contents(outdir) == unbroken


def test_a_loader_that_is_killed_ends_the_run_with_the_fix_and_loses_nothing(server, spec, unbroken, tmp_path):
    outdir = tmp_path / "run"
    process = start(server, spec, outdir, workers=2)
    while newest_step(outdir) < 20:
        time.sleep(0.002)
    loader = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0]
    os.kill(int(loader), signal.SIGKILL)
    assert finish(process) == 1
    said = (outdir / "log").read_text()
    assert re.search(r"a loader process died \(.*\); most likely memory ran out", said)
    assert "Traceback" not in said
    assert finish(start(server, spec, outdir, workers=2)) == 0
    assert contents(outdir) == unbroken
