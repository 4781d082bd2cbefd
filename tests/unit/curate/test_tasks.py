"""Task tables and mixtures on small made-up data sets: partial data, redraws, patients, mistakes."""

import numpy as np
import pandas as pd
import pytest
from respfm.curate.mixtures import build_mixture
from respfm.curate.select import select
from respfm.curate.tasks import build_task
from respfm.errors import RespfmError

TASK = {
    "dataset": "kauh",
    "target": "group",
    "classes": ["healthy", "obstructive"],
    "values": {"obstructive": ["asthma", "COPD"]},
    "opera": {"recordings": "files.npy", "labels": "labels.npy", "split": "split.npy", "validation": 0.25},
    "counts": {"train": [12, 12], "val": [4, 4], "test": [8, 8]},
}
PATIENTS = 16
"""Three recordings each; the second half of the patients is ill."""


@pytest.fixture
def recordings():
    rows = [
        {"id": f"{mode}{patient:02}", "patient": f"{patient}", "group": group, "quarantine": "", "age": patient}
        for patient in range(PATIENTS)
        for mode, group in zip("BDE", ["healthy"] * 3 if patient < 8 else ["asthma", "COPD", "asthma"], strict=True)
    ]
    return pd.DataFrame(rows).sort_values("id", ignore_index=True)


@pytest.fixture
def opera(tmp_path, recordings):
    """Every third patient is in test, but for one recording of patient 0, which is in train."""
    test = (recordings["patient"].astype(int) % 3 == 0) & (recordings["id"] != "B00")
    np.save(tmp_path / "files.npy", ("datasets/KAUH/" + recordings["id"] + ".wav").to_numpy(str))
    np.save(tmp_path / "labels.npy", recordings["group"].to_numpy(str))
    np.save(tmp_path / "split.npy", np.where(test, "test", "train"))
    return tmp_path


def build(recordings, opera, protocol="published", allow_partial=True, seed=0, **changes):
    return build_task("T10", TASK | changes, protocol, recordings, opera, seed, allow_partial)


def test_order_is_the_position_inside_each_split(recordings, opera):
    task = build(recordings, opera)
    assert task["recording"].tolist() == recordings["id"].tolist()
    for _, split in task.groupby("split"):
        assert sorted(split["order"]) == list(range(len(split)))
    assert task.query("split == 'test'")["order"].is_monotonic_increasing
    assert not task.query("split == 'train'")["order"].is_monotonic_increasing


def test_missing_recordings_stop_the_run(recordings, opera):
    short = recordings[recordings["id"] != "B05"]
    with pytest.raises(RespfmError, match="expected 48, found 47; retrieve the data set again, or set allow_partial"):
        build(short, opera, allow_partial=False)


def test_partial_published_keeps_the_splits_of_the_whole(recordings, opera):
    whole = build(recordings, opera).set_index("recording")["split"]
    short = recordings[~recordings["id"].isin(["B05", "D09"])].reset_index(drop=True)
    task = build(short, opera)
    assert task["split"].tolist() == whole.loc[task["recording"]].tolist()
    assert task.attrs["missing"] == 2


@pytest.mark.parametrize("protocol", ["published", "strict"])
def test_quarantined_recordings_are_left_out_and_counted(recordings, opera, protocol):
    whole = build(recordings, opera, protocol).set_index("recording")["split"]
    bad = recordings.assign(quarantine=np.where(recordings["id"].isin(["B05", "D09"]), "silent", ""))
    task = build(bad, opera, protocol)
    assert not set(task["recording"]) & {"B05", "D09"}
    assert task["split"].tolist() == whole.loc[task["recording"]].tolist()
    assert task.attrs["quarantined"] == 2


def test_wrong_counts_are_refused(recordings, opera):
    with pytest.raises(RespfmError, match=r"expected \[12, 12\] train recordings per class, found"):
        build(recordings, opera, allow_partial=False)


def test_strict_keeps_patients_apart(recordings, opera):
    published, strict = build(recordings, opera), build(recordings, opera, "strict")
    assert published.groupby("patient")["split"].nunique().max() > 1
    assert strict.groupby("patient")["split"].nunique().max() == 1
    assert set(published["recording"]) - set(strict["recording"]) == {"B00"}
    assert {"train", "val", "test"} == set(strict["split"])


def test_recordings_without_patient_are_drawn_alone(recordings, opera):
    task = build(recordings.assign(patient=""), opera, "strict")
    assert len(task) == len(recordings)


def test_labels_must_agree_with_the_metadata(recordings, opera):
    changed = recordings.assign(group=recordings["group"].where(recordings["id"] != "D03", "COPD"))
    with pytest.raises(RespfmError, match="OPERA's label of 'D03' is 'healthy', its group is 'COPD'"):
        build(changed, opera)


@pytest.mark.parametrize("protocol", ["published", "strict"])
@pytest.mark.parametrize("how", ["splits", "no arrays"])
def test_redraw(recordings, opera, protocol, how):
    changes = {"splits": "redraw"} if how == "splits" else {}
    task = build(recordings, opera if changes else None, protocol, **changes)
    assert task.attrs["redrawn"]
    assert len(task) == len(recordings)
    counts = pd.crosstab(task["split"], task["label"])
    assert (counts > 0).all().all()
    assert (task.groupby("patient")["split"].nunique().max() == 1) == (protocol == "strict")
    assert task.equals(build(recordings.sample(frac=1, random_state=0), None, protocol))
    assert not task.equals(build(recordings, None, protocol, seed=1))


def test_own_task_without_arrays_and_counts(recordings, opera):
    own = {key: TASK[key] for key in ("dataset", "target", "classes", "values")}
    task = build_task("own", own, "published", recordings, opera, seed=0)
    assert task["split"].value_counts().to_dict() == {"train": 30, "val": 8, "test": 10}


def test_redraw_by_patient_where_the_publisher_did(recordings):
    task = build(recordings, None, by_patient=True)
    assert task.groupby("patient")["split"].nunique().max() == 1


def test_attrs_survive_parquet(recordings, opera, tmp_path):
    task = build(recordings, opera)
    task.to_parquet(tmp_path / "task.parquet", index=False)
    read = pd.read_parquet(tmp_path / "task.parquet")
    assert (
        read.attrs
        == task.attrs
        == {
            **{"task": "T10", "protocol": "published", "dataset": "kauh"},
            **{"redrawn": False, "missing": 0, "quarantined": 0},
        }
    )
    assert read.equals(task)


def test_a_split_without_a_class_is_refused(recordings, opera):
    few = recordings[(recordings["group"] == "healthy") | (recordings["patient"] == "8")]
    with pytest.raises(RespfmError, match=r"val split has no recording of obstructive.*splits: redraw"):
        build(few, opera)
    with pytest.raises(RespfmError, match="too few to draw"):
        build(few, opera, "strict", splits="redraw")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "disease"}, "target 'disease' is no column of kauh; choose from"),
        ({"values": {"healthy": ["x"], "obstructive": ["y"]}}, "no recording of kauh has a label"),
        ({"where": {"min_volume": 1}}, "where names the column 'volume'"),
    ],
)
def test_mistakes_in_a_task(recordings, changes, message):
    with pytest.raises(RespfmError, match=message):
        build(recordings, None, **changes)


def test_missing_array(recordings, opera):
    (opera / "labels.npy").unlink()
    with pytest.raises(RespfmError, match=r"labels\.npy does not exist"):
        build(recordings, opera)
    np.save(opera / "labels.npy", np.array(["healthy"]))
    with pytest.raises(RespfmError, match=r"differ in length \(files\.npy: 48, labels\.npy: 1, split\.npy: 48\)"):
        build(recordings, opera)


def test_select(recordings):
    assert select(recordings, {"group": "asthma", "min_age": 14}, "")["id"].tolist() == ["B14", "B15", "E14", "E15"]
    assert select(recordings, {"min_age": 14, "inclusive": False}, "")["patient"].unique().tolist() == ["15"]
    assert len(select(recordings, {"group": ["asthma", "COPD"]}, "")) == 24
    assert len(select(recordings.assign(age=np.nan), {"min_age": 0}, "")) == 0


def test_mixture_repeats_exclusion_and_quarantine(recordings, opera):
    task = build(recordings, opera, "strict")
    bad = recordings.assign(quarantine=np.where(recordings["id"] == "B01", "empty", ""))
    others = pd.DataFrame({"id": ["x", "y"], "patient": "", "quarantine": ""})
    mixture = {"exclude": "test", "parts": [{"dataset": "other", "repeats": 3}, {"dataset": "kauh", "repeats": 2}]}
    table = build_mixture("mix", mixture, {"kauh": bad, "other": others}, {"T10": task})
    assert table.columns.tolist() == ["recording", "dataset", "repeats"]
    assert table["dataset"].is_monotonic_increasing
    assert table.query("dataset == 'other'")["repeats"].tolist() == [3, 3]
    kept = set(table.query("dataset == 'kauh'")["recording"])
    test_patients = set(task.query("split == 'test'")["patient"])
    assert kept == set(recordings[~recordings["patient"].isin(test_patients)]["id"]) - {"B01"}
    everything = build_mixture("mix", {"parts": mixture["parts"]}, {"kauh": bad, "other": others}, {"T10": task})
    assert len(everything) == 2 + 47


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([{"dataset": "other", "repeats": 1}], "data set 'other' is not curated"),
        ([{"dataset": "kauh", "repeats": 1}] * 2, "two parts choose the same recordings of kauh"),
        ([{"dataset": "kauh", "repeats": 1, "where": {"group": "none"}}], "no recording is left"),
        ([{"dataset": "kauh", "repeats": 1, "expected": 49}], "expected 49, found 48"),
        ([{"dataset": "kauh", "repeats": 1, "where": {"min_group": 1}}], "where has min_group, but group is text"),
    ],
)
def test_mistakes_in_a_mixture(recordings, parts, message):
    with pytest.raises(RespfmError, match=message):
        build_mixture("mix", {"parts": parts}, {"kauh": recordings}, {})
