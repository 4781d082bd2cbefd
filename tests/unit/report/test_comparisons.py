"""Paired comparisons with a reference model."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_run import MODELS, PAPER, outputs, task_frame, write_scores, write_tasks
from respfm.errors import RespfmError
from respfm.report.comparisons import compare_models, reference_model
from respfm.report.shown import Shown

STRENGTH = {"m2d": 4.0, "m2d_tiny": 0.5, "logmel_statistics": 0.5}


def write_predictions(root: Path, task: str, model: str) -> Path:
    """Test predictions of the chosen layer 12 and of a useless layer 1."""
    path = root / "scores" / "strict" / model / f"{task}.predictions.parquet"
    test = task_frame(task).query("split == 'test'")
    noise = np.random.default_rng(0).normal(size=len(test))
    layers = []
    for layer, strength in (("1", 0.0), ("12" if model != "logmel_statistics" else "statistics", STRENGTH[model])):
        p1 = 1 / (1 + np.exp(-(strength * (test["label"] - 0.5) + noise)))
        layers.append(test[["recording", "patient", "label"]].assign(layer=layer, p0=1 - p1, p1=p1))
    pd.concat(layers).to_parquet(path)
    return path


def compare(root: Path, change=lambda paths: None) -> pd.DataFrame:
    selected = list(STRENGTH)
    scores = write_scores(root, ["T7", "T8"], selected, "strict")
    predictions = [write_predictions(root, path.stem, path.parent.name) for path in scores]
    change(predictions)
    compare_models(
        Shown(MODELS, selected, PAPER, "sample"),
        scores=scores,
        predictions=predictions,
        task_tables=write_tasks(root, ["T7", "T8"]),
        seed=0,
        stem=root / "out" / "comparisons",
    )
    return pd.read_csv(root / "out" / "comparisons.csv")


def test_a_better_model_is_better_and_an_equal_one_is_equal(tmp_path):
    found = compare(tmp_path).set_index(["task", "model"])
    assert (found["reference"] == "logmel_statistics").all()
    better = found.loc[("T7", "m2d")]
    assert better["low"] > 0
    assert better["p_value"] < 0.05
    patients = task_frame("T7").query("split == 'test'")["patient"].nunique()
    assert (better["recordings"], better["patients"]) == (40, patients)
    equal = found.loc[("T7", "m2d_tiny")]
    assert equal[["difference", "low", "high", "p_value"]].tolist() == [0, 0, 0, 1]
    text = (tmp_path / "out" / "comparisons.md").read_text()
    assert "SAMPLE OF REAL DATA" in text
    assert "| T7 | M2D | Log-mel mean & std | +0.2" in text


def test_weights_pre_trained_on_test_data_are_marked(tmp_path, monkeypatch):
    monkeypatch.setitem(MODELS, "m2d", MODELS["m2d"] | {"pretraining_overlap": ["T7"]})
    found = compare(tmp_path).set_index(["task", "model"])
    assert found.loc[("T7", "m2d"), "heard_test"]
    assert not found.drop(index=("T7", "m2d"))["heard_test"].any()
    text = (tmp_path / "out" / "comparisons.md").read_text()
    assert "| T7 | M2D† | Log-mel mean & std |" in text
    assert "† The weights heard test recordings" in text


def test_too_few_patients_leave_a_difference_alone(tmp_path):
    def one_patient_a_class(paths: list[Path]) -> None:
        for path in paths:
            data = pd.read_parquet(path)
            data.assign(patient=data["label"].astype(str)).to_parquet(path)

    found = compare(tmp_path, one_patient_a_class)
    assert found["difference"].notna().all()
    assert found[["low", "high", "p_value"]].isna().all(axis=None)
    assert "| - | - | - |" in (tmp_path / "out" / "comparisons.md").read_text()


def test_the_same_predictions_give_the_same_bytes(tmp_path):
    for name in ("first", "second"):
        compare(tmp_path / name)
    assert outputs(tmp_path / "first" / "out") == outputs(tmp_path / "second" / "out")


def test_recordings_that_the_task_does_not_know_are_refused(tmp_path):
    def rename(paths: list[Path]) -> None:
        frame = pd.read_parquet(paths[0])
        frame.loc[frame["recording"] == frame["recording"].iloc[0], "recording"] = "T7-999"
        frame.to_parquet(paths[0])

    with pytest.raises(RespfmError, match=r"m2d are not those of the test split of T7 \(1 unknown .* T7-999"):
        compare(tmp_path, rename)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("selected", "reference"),
    [(["logmel_statistics", "m2d", "opera_ct"], "opera_ct"), (["m2d_tiny", "m2d"], "m2d_tiny")],
)
def test_opera_ct_is_the_reference_if_it_runs(selected, reference):
    assert reference_model(Shown(MODELS, selected, PAPER, "full")) == reference
