"""Several ranks under torchrun give what one process gives."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest
from pretrain_corpus import RUN, write_corpus
from respfm.errors import RespfmError
from respfm.pretrain.curves import COLUMNS
from respfm.pretrain.launch import launch


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("distributed"))


def history(outdir) -> np.ndarray:
    """All columns but target_std, which is taken over the part of the batch that a rank sees."""
    with open(outdir / "history.csv", newline="") as stream:
        rows = np.array([list(map(float, row)) for row in list(csv.reader(stream))[1:]])
    return np.delete(rows, COLUMNS.index("target_std"), axis=1)


@pytest.mark.slow
def test_two_ranks_follow_the_loss_curve_of_one_which_takes_over_when_they_are_stopped(spec, tmp_path):
    short = {**spec, "run": {**RUN, "epochs": 4}, "workers": 1}
    launch({**short, "outdir": str(tmp_path / "one")})

    machine = {**spec["machine"], "save_every_steps": 20}
    two = {**short, "outdir": str(tmp_path / "two"), "machine": machine}

    def stop_after_a_checkpoint() -> None:
        while not list(tmp_path.glob("two/checkpoints/*/step*.pt")):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop_after_a_checkpoint).start()
    with pytest.raises(SystemExit) as stopped:
        launch(two, processes=2)
    assert stopped.value.code == 75
    assert not (tmp_path / "two" / "encoder.safetensors").exists()
    launch(two)
    assert history(tmp_path / "two") == pytest.approx(history(tmp_path / "one"), rel=2e-4)
    assert (tmp_path / "two" / "encoder.safetensors").exists()


def train_on(machines: int, spec, outdir, stop=None) -> None:
    """Four ranks on this computer, as if on one machine or on several; `stop(agents)` when there is a checkpoint."""
    outdir.mkdir(exist_ok=True)
    path = outdir / "spec.json"
    path.write_text(json.dumps({**spec, "outdir": str(outdir)}))
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    options = ["-m", "torch.distributed.run", f"--nnodes={machines}", f"--nproc-per-node={4 // machines}"]
    meeting = ["--rdzv-backend=c10d", f"--rdzv-endpoint=localhost:{port}", "--shutdown-timeout=600"]
    program = ["-m", "respfm.pretrain", "--spec", str(path)]
    agents = [subprocess.Popen([sys.executable, *options, *meeting, *program]) for _ in range(machines)]
    if stop:
        while not list(outdir.glob("checkpoints/*/step*.pt")):
            assert all(agent.poll() is None for agent in agents)
            time.sleep(0.01)
        stop(agents)
    assert [agent.wait() != 0 for agent in agents] == [stop is not None] * machines


def ask_to_stop(agents) -> None:
    for agent in agents:
        agent.terminate()


def kill_a_rank(agents) -> None:
    psutil.Process(agents[0].pid).children()[1].kill()


@pytest.fixture(scope="module")
def four(spec):
    machine = {**spec["machine"], "save_every_steps": 7, "accumulation": 2}
    return {**spec, "run": {**RUN, "epochs": 2}, "machine": machine}


@pytest.fixture(scope="module")
def unbroken(four, tmp_path_factory):
    """Outputs of four ranks on one machine, and on two."""
    folder = tmp_path_factory.mktemp("unbroken")
    for machines in (1, 2):
        train_on(machines, four, folder / str(machines))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("machines", "stop"), [(1, kill_a_rank), (2, ask_to_stop)])
def test_four_ranks_that_are_stopped_give_the_same_bytes(four, unbroken, tmp_path, machines, stop):
    """From three ranks on the order of a sum shows, and DDP changes it after its first step."""
    train_on(machines, four, tmp_path, stop)
    assert not (tmp_path / "encoder.safetensors").exists()
    train_on(machines, four, tmp_path)
    for name in ("encoder.safetensors", "checkpoint.pth", "history.csv"):
        assert (tmp_path / name).read_bytes() == (unbroken / str(machines) / name).read_bytes(), name


@pytest.mark.slow
def test_ranks_on_two_machines_follow_the_loss_curve_of_those_on_one(unbroken):
    assert history(unbroken / "2") == pytest.approx(history(unbroken / "1"), rel=2e-4)
    sizes = [(unbroken / machines / "checkpoint.pth").stat().st_size for machines in "12"]
    assert sizes[0] == sizes[1]


def test_accumulated_parts_follow_the_loss_curve_of_the_whole_batch(spec, tmp_path):
    short = {**spec, "run": {**RUN, "epochs": 3}}
    launch({**short, "outdir": str(tmp_path / "whole")})
    launch({**short, "outdir": str(tmp_path / "parts"), "machine": {**spec["machine"], "accumulation": 4}})
    launch(
        {**short, "outdir": str(tmp_path / "lean"), "machine": {**spec["machine"], "activation_checkpointing": True}}
    )
    assert history(tmp_path / "parts") == pytest.approx(history(tmp_path / "whole"), rel=1e-4)
    assert history(tmp_path / "lean") == pytest.approx(history(tmp_path / "whole"), rel=1e-5)


def test_a_batch_that_cannot_be_shared_is_refused(spec, tmp_path):
    with pytest.raises(RespfmError, match="cannot be cut into 1 ranks x 3"):
        launch({**spec, "outdir": str(tmp_path), "machine": {**spec["machine"], "accumulation": 3}})


def test_parts_of_a_batch_and_cuda_graphs_are_refused_together(spec, tmp_path):
    machine = {**spec["machine"], "accumulation": 2, "compile": "reduce-overhead"}
    with pytest.raises(RespfmError, match="compile: reduce-overhead and accumulation: 2 do not go together"):
        launch({**spec, "outdir": str(tmp_path), "machine": machine})


def test_several_machines_need_a_slurm_job(spec, tmp_path, monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(RespfmError, match=r"2 machines were asked for, .* docs/clusters\.md"):
        launch({**spec, "outdir": str(tmp_path)}, nodes=2)
