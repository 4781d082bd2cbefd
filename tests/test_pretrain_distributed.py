"""Several ranks under torchrun give what one process gives."""

import csv
import os
import signal
import threading
import time

import numpy as np
import pytest
from pretrain_corpus import RUN, write_corpus
from respfm.errors import RespfmError
from respfm.pretrain import trainer
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

    def stop_after_a_state() -> None:
        while not list(tmp_path.glob("two/state/*/step*.pt")):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop_after_a_state).start()
    with pytest.raises(SystemExit) as stopped:
        launch(two, processes=2)
    assert stopped.value.code == 75
    assert not (tmp_path / "two" / "encoder.safetensors").exists()
    launch(two)
    assert history(tmp_path / "two") == pytest.approx(history(tmp_path / "one"), rel=2e-4)
    assert (tmp_path / "two" / "encoder.safetensors").exists()


@pytest.mark.slow
def test_four_ranks_that_are_stopped_give_the_same_bytes(spec, tmp_path):
    """From three ranks on the order of a sum shows, and DDP changes it after its first step."""
    machine = {**spec["machine"], "save_every_steps": 7}
    four = {**spec, "run": {**RUN, "epochs": 2}, "machine": machine}
    launch({**four, "outdir": str(tmp_path / "unbroken")}, processes=4)

    def stop_after_a_state() -> None:
        while not list(tmp_path.glob("stopped/state/*/step*.pt")):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop_after_a_state).start()
    with pytest.raises(SystemExit):
        launch({**four, "outdir": str(tmp_path / "stopped")}, processes=4)
    assert not (tmp_path / "stopped" / "encoder.safetensors").exists()
    launch({**four, "outdir": str(tmp_path / "stopped")}, processes=4)
    for name in ("encoder.safetensors", "checkpoint.pth", "history.csv"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "unbroken" / name).read_bytes(), name


def test_accumulated_parts_follow_the_loss_curve_of_the_whole_batch(spec, tmp_path):
    short = {**spec, "run": {**RUN, "epochs": 3}}
    launch({**short, "outdir": str(tmp_path / "whole")})
    launch({**short, "outdir": str(tmp_path / "parts"), "machine": {**spec["machine"], "accumulation": 4}})
    launch({**short, "outdir": str(tmp_path / "lean"), "machine": {**spec["machine"], "recompute": True}})
    assert history(tmp_path / "parts") == pytest.approx(history(tmp_path / "whole"), rel=1e-4)
    assert history(tmp_path / "lean") == pytest.approx(history(tmp_path / "whole"), rel=1e-5)


def test_a_batch_that_cannot_be_shared_is_refused(spec, tmp_path):
    with pytest.raises(RespfmError, match="cannot be cut into 1 ranks x 3"):
        launch({**spec, "outdir": str(tmp_path), "machine": {**spec["machine"], "accumulation": 3}})


def test_parts_of_a_batch_and_cuda_graphs_are_refused_together(spec, tmp_path):
    machine = {**spec["machine"], "accumulation": 2, "compile": "reduce-overhead"}
    with pytest.raises(RespfmError, match="compile: reduce-overhead and accumulation: 2 do not go together"):
        launch({**spec, "outdir": str(tmp_path), "machine": machine})


def test_ranks_that_read_different_states_are_refused(spec, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer.Trainer, "_continue", lambda self: setattr(self, "ranks", 2))
    monkeypatch.setattr(trainer.dist, "all_gather_object", lambda steps, own: steps.__setitem__(slice(None), [own, 5]))
    with pytest.raises(RespfmError, match=r"the ranks would continue after steps 0, 5: .* that all machines share"):
        launch({**spec, "outdir": str(tmp_path)})


def test_several_machines_need_a_slurm_job(spec, tmp_path, monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(RespfmError, match=r"2 machines were asked for, .* docs/clusters\.md"):
        launch({**spec, "outdir": str(tmp_path)}, nodes=2)
