"""What a run writes, what it refuses, and the words scratch, further and continue."""

import csv
import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from pretrain_corpus import MODEL, RUN, write_corpus
from respfm.device import clip_gradients
from respfm.errors import RespfmError
from respfm.m2d import M2D, M2DConfig, load_checkpoint
from respfm.pretrain.curves import COLUMNS
from respfm.pretrain.learner import Learner
from respfm.pretrain.run import train
from respfm.pretrain.settings import Machine, Recipe


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("train"))


@pytest.fixture(scope="module")
def trained(spec, tmp_path_factory):
    outdir = tmp_path_factory.mktemp("trained") / "scratch"
    train({**spec, "outdir": str(outdir)})
    return outdir


def read_history(outdir: Path) -> list[dict[str, float]]:
    with open(outdir / "history.csv", newline="") as stream:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(stream)]


def umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def test_a_run_learns_and_writes_its_files(spec, trained):
    names = {path.name for path in trained.iterdir()}
    assert names >= {"encoder.safetensors", "checkpoint.pth", "history.csv", "curves.pdf", "curves.png", "timing.csv"}
    assert {(trained / name).stat().st_mode for name in names - {"tensorboard", "checkpoints"}} == {0o100666 & ~umask()}
    rows = read_history(trained)
    assert tuple(rows[0]) == COLUMNS
    assert [row["step"] for row in rows] == list(range(4, 109, 4))
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]
    statistics = json.loads(Path(spec["statistics"]).read_text())
    for name in ("encoder.safetensors", "checkpoint.pth"):
        model = load_checkpoint(trained / name)
        assert model.norm_stats.tolist() == pytest.approx([statistics["mean"], statistics["std"]])
        assert (model.config.dim, model.config.depth) == (MODEL["dim"], MODEL["depth"])


def test_the_first_update_has_a_learning_rate_of_zero_and_the_target_follows(spec, tmp_path):
    train({**spec, "outdir": str(tmp_path), "run": {**RUN, "epochs": 1, "log_every": 1, "ema": [0.5, 0.5]}})
    rows = read_history(tmp_path)
    assert rows[0]["lr"] == 0
    assert rows[1]["lr"] == pytest.approx(1e-2 * 8 / 256 / 9 / 2)
    assert {row["tau"] for row in rows} == {0.5}


def test_no_epochs_give_the_random_start_with_the_statistics_of_the_data(spec, tmp_path, capsys):
    train({**spec, "outdir": str(tmp_path), "run": {**RUN, "epochs": 0, "seed": 3}})
    start = load_checkpoint(tmp_path / "encoder.safetensors")
    torch.manual_seed(3)
    drawn = M2D(M2DConfig.from_dict(MODEL)).state_dict()
    weights = {name: value for name, value in start.state_dict().items() if name != "norm_stats"}
    assert all(torch.equal(value, drawn[name]) for name, value in weights.items())
    assert start.norm_stats.mean() != drawn["norm_stats"].mean()
    assert read_history(tmp_path) == []
    assert (tmp_path / "curves.png").stat().st_size > 0
    printed = capsys.readouterr().out
    assert "no step to train, peak memory" in printed
    assert "samples/s" not in printed


@pytest.mark.parametrize("name", ["checkpoint.pth", "encoder.safetensors"])
def test_further_training_starts_from_the_weights_and_a_fresh_schedule(spec, trained, tmp_path, name, capsys):
    run = {**RUN, "epochs": 1, "log_every": 1}
    train({**spec, "run": run, "outdir": str(tmp_path), "init_from": str(trained / name)})
    first = read_history(tmp_path)[0]
    assert (first["step"], first["lr"]) == (1, 0)
    assert first["loss"] < (0.9 if name == "checkpoint.pth" else 3) * read_history(trained)[0]["loss"]
    said = capsys.readouterr().out
    assert "fresh: " in said
    assert ("predictor" in said.split("fresh: ")[1]) == (name == "encoder.safetensors")
    assert "optimiser" in said


def test_weights_of_another_shape_are_refused(spec, trained, tmp_path):
    wider = {**RUN, "model": {**MODEL, "dim": 48, "heads": 2}}
    with pytest.raises(RespfmError, match="cannot start from it"):
        train({**spec, "run": wider, "outdir": str(tmp_path), "init_from": str(trained / "checkpoint.pth")})


@pytest.mark.parametrize("noisy_student", [False, True])
def test_m2d_x_mixes_background_noise_and_follows_a_teacher(spec, trained, tmp_path, noisy_student):
    model = {**MODEL, "objective": "m2d_x", "noisy_student": noisy_student}
    run = {**RUN, "model": model, "noise_ratio": 0.3, "epochs": 4}
    spec = {**spec, "run": run, "outdir": str(tmp_path), "teacher": str(trained / "encoder.safetensors")}
    with pytest.raises(RespfmError, match="no background mixture"):
        train(spec)
    train({**spec, "background": spec["mixture"], "background_statistics": spec["statistics"]})
    rows = read_history(tmp_path)
    assert 0 < rows[-1]["offline"] < rows[0]["offline"]
    assert rows[-1]["loss"] == pytest.approx(rows[-1]["online"] + rows[-1]["offline"], rel=1e-5)


def test_msm_mae_trains_without_a_target(spec, tmp_path):
    model = {**MODEL, "objective": "msm_mae", "decoder_heads": 2}
    train({**spec, "run": {**RUN, "model": model, "log_every": 36}, "outdir": str(tmp_path)})
    rows = read_history(tmp_path)
    assert rows[-1]["loss"] < rows[0]["loss"]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_reduced_precision_follows_the_full_one(spec, trained, tmp_path, precision):
    machine = {**spec["machine"], "precision": precision}
    train({**spec, "run": {**RUN, "epochs": 2, "warmup_epochs": 1}, "outdir": str(tmp_path), "machine": machine})
    for row in read_history(tmp_path)[:2]:
        full = next(other for other in read_history(trained) if other["step"] == row["step"])
        assert row["loss"] == pytest.approx(full["loss"], rel=0.05)


@pytest.mark.parametrize("largest", [0.1, 2.9999998, 3.0, 300.0, float("inf"), float("nan")])
def test_gradients_are_clipped_as_by_torch(largest):
    plain, own = ([torch.nn.Parameter(torch.zeros(40)) for _ in range(2)] for _ in range(2))
    for parameter in (*plain, *own):
        parameter.grad = torch.linspace(-1e-4, 1e-4, 40)
        parameter.grad[0] = largest
    norms = torch.nn.utils.clip_grad_norm_(plain, 3.0), clip_gradients(own, 3.0)
    torch.testing.assert_close(*norms, rtol=0, atol=0, equal_nan=True)
    for a, b in zip(plain, own, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=0, atol=0, equal_nan=True)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++ on a CPU")
def test_a_compiled_run_follows_the_plain_one(spec, trained, tmp_path):
    machine = {**spec["machine"], "compile": "default"}
    train({**spec, "outdir": str(tmp_path), "machine": machine})
    plain, compiled = (pd.DataFrame(read_history(outdir)) for outdir in (trained, tmp_path))
    pd.testing.assert_frame_equal(compiled, plain, rtol=1e-4)


def test_compiling_without_a_compiler_is_refused(spec, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    machine = {**spec["machine"], "compile": "default"}
    with pytest.raises(RespfmError, match=r"needs the C\+\+ compiler no-such-compiler; install it"):
        train({**spec, "outdir": str(tmp_path), "machine": machine})


def test_a_loss_that_is_not_finite_stops_with_the_recordings_and_keeps_the_last_good_checkpoint(tmp_path):
    spec = write_corpus(tmp_path, broken="lungs20")
    machine = {**spec["machine"], "save_every_steps": 1}
    with pytest.raises(RespfmError, match=r"not finite at step .*lungs/lungs20.*last good checkpoint") as stopped:
        train({**spec, "machine": machine})
    assert str(stopped.value).count("/") > 7
    for path in tmp_path.glob("out/checkpoints/*/*.pt"):
        state = torch.load(path, weights_only=True)
        assert all(tensor.isfinite().all() for tensor in state["learner"]["model"].values())
    assert not (tmp_path / "out" / "encoder.safetensors").exists()


def test_an_empty_mixture_is_refused(spec, tmp_path):
    pd.read_parquet(spec["mixture"]).head(0).to_parquet(tmp_path / "empty.parquet")
    with pytest.raises(RespfmError, match="mixture is empty"):
        train({**spec, "mixture": str(tmp_path / "empty.parquet"), "outdir": str(tmp_path / "out")})


def test_every_run_of_the_registry_is_well_formed():
    registry = yaml.safe_load((Path(__file__).resolve().parents[3] / "config" / "pretraining.yaml").read_text())
    for name, run in registry["runs"].items():
        config = M2DConfig.from_dict(run.get("model", {}))
        assert config.patches > 0, name
        assert run["mixture"] in registry["mixtures"]
        assert not ("strict" in name and run.get("quirks")), "a strict run has no published quirk"


def test_log_mels_of_another_kind_than_the_encoder_takes_are_refused(spec, tmp_path):
    model = {**MODEL, "sample_rate": 32000}
    with pytest.raises(RespfmError, match=r"log-mels were made by .*16000.* but the encoder takes those of .*32000"):
        train({**spec, "outdir": str(tmp_path), "run": {**RUN, "model": model}})


def test_a_checkpoint_of_another_precision_continues_in_fp16(tmp_path):
    learner = Learner(Recipe.from_run(RUN), Machine(device="cpu"), torch.device("cpu"), {"mean": 0.0, "std": 1.0})
    state = learner.state_dict()
    assert state["scaler"] == {}
    learner.scaler = torch.amp.GradScaler("cpu")
    learner.load_state_dict(state)
