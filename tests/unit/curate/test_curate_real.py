"""The published counts, labels and splits, from the real metadata."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from curate_mirror import coswara_root, opera_root, paper, real_recordings, real_tasks
from respfm.curate.mixtures import build_mixture
from respfm.curate.tasks import build_task
from respfm.errors import RespfmError
from sklearn.model_selection import train_test_split

TASKS = ["T5", "T6", "T7", "T8", "T9", "T10", "T11"]
DIGESTS = json.loads((Path(__file__).parents[2] / "golden" / "curate_tasks.json").read_text())


@pytest.fixture(scope="module")
def recordings(shared_data):
    return real_recordings(shared_data)


@pytest.fixture(scope="module")
def tasks(shared_data):
    return real_tasks(shared_data)


@pytest.fixture(scope="module")
def opera(shared_data):
    return opera_root(shared_data)


def strict(tasks):
    return {name: task for (protocol, name), task in tasks.items() if protocol == "strict"}


def test_recordings_and_patients(recordings):
    found = {name: (len(frame), frame["patient"].nunique()) for name, frame in recordings.items()}
    assert found["coughvid"] == (20072, 1)
    assert found["icbhi"] == (920, 126)
    assert found["hf_lung"] == (3839, 1)
    assert found["coswara"] == (2745, 2745)
    assert found["respiratory_tr"] == (504, 42)
    for frame in recordings.values():
        assert frame["id"].is_monotonic_increasing
        assert frame["id"].is_unique


def test_icbhi_official_split_and_diagnoses(recordings):
    icbhi = recordings["icbhi"].set_index("id")
    assert icbhi["official_split"].value_counts().to_dict() == {"train": 539, "test": 381}
    assert icbhi["diagnosis"].value_counts().to_dict() == {
        **{"COPD": 793, "Pneumonia": 37, "Healthy": 35, "URTI": 23, "Bronchiectasis": 16},
        **{"Bronchiolitis": 13, "LRTI": 2, "Asthma": 1},
    }
    renamed = icbhi.loc["226_1b1_Pl_sc_LittC2SE"]
    assert (renamed["official_split"], renamed["device"]) == ("train", "LittC2SE")


@pytest.mark.parametrize("protocol", ["published", "strict"])
@pytest.mark.parametrize("name", TASKS)
def test_task_digest_and_counts(tasks, name, protocol):
    task, golden = tasks[protocol, name], DIGESTS[name][protocol]
    lines = "".join(f"{row.recording},{row.label},{row.split}\n" for row in task.itertuples())
    counts = {
        split: task.loc[task["split"] == split, "label"].value_counts().sort_index().tolist()
        for split in ("train", "val", "test")
    }
    assert (len(task), counts) == (golden["rows"], golden["counts"])
    assert hashlib.sha256(lines.encode()).hexdigest() == golden["sha256"]


@pytest.mark.parametrize("name", TASKS)
def test_published_equals_reference_row_for_row(shared_data, tasks, name):
    splits = shared_data.parent / "golden" / "opera" / "splits" / f"{name}.csv"
    if not splits.is_file():
        pytest.skip(f"reference splits are not here: {splits}")
    reference, task = pd.read_csv(splits), tasks["published", name]
    file_id = task["recording"]
    if name in ("T5", "T6"):
        file_id = [full[: len(cut)] for full, cut in zip(file_id, reference["file_id"], strict=True)]
    if name in ("T8", "T9"):
        file_id = file_id.str.removesuffix("/cough-shallow")
    assert list(file_id) == list(reference["file_id"])
    for own, theirs in [
        ("label", "label"),
        ("label_name", "label_name"),
        ("split", "split"),
        ("order", "pos_in_split"),
    ]:
        assert list(task[own]) == list(reference[theirs]), own


@pytest.mark.parametrize("name", TASKS)
def test_strict_splits_share_no_patient(tasks, name):
    known = tasks["strict", name].query("patient != ''")
    assert (known.groupby("patient")["split"].nunique() <= 1).all()
    if name in ("T5", "T6"):
        assert known.empty
        assert tasks["strict", name].equals(tasks["published", name])
    if name in ("T8", "T9"):
        assert known["patient"].is_unique
        assert tasks["strict", name].equals(tasks["published", name])


def test_strict_icbhi_patients_on_both_official_sides_leave_train(tasks):
    published, kept = tasks["published", "T7"], tasks["strict", "T7"]
    both = set(published.query("split == 'test'")["patient"]) & set(published.query("split != 'test'")["patient"])
    assert both == {"156", "218"}
    assert set(kept[kept["patient"].isin(both)]["split"]) == {"test"}
    assert len(published) - len(kept) == published[published["patient"].isin(both)].query("split != 'test'").shape[0]


def test_strict_kauh_test_is_the_patient_consistent_array(tasks, opera):
    split = np.load(opera / "feature/kauh_eval/train_test.npy")
    assert list(tasks["strict", "T10"]["split"] == "test") == list(split == "test")


@pytest.mark.parametrize(("name", "array"), [("T8", "smoker"), ("T9", "sex")])
def test_coswara_draw_equals_the_array_that_opera_ships_and_never_reads(tasks, opera, name, array):
    shipped = np.load(opera / f"feature/coswara_eval/cough_aligned_train_test_split_{array}_w_cough-shallow.npy")
    assert list(tasks["published", name]["split"] == "test") == list(shipped == "test")


def test_cough_split_regenerated_from_metadata(recordings, tasks):
    """OPERA's draw: 1,031 female and 1,924 male test recordings of the pool, the rest 3 to 1."""
    pool = recordings["coughvid"].query("cough_detected >= 0.8").sort_values("row")
    assert len(pool) == 10746
    drawn = [pool[pool["gender"] == sex].sample(n=n, random_state=0) for sex, n in [("female", 1031), ("male", 1924)]]
    test = set(pd.concat(drawn)["id"])
    train, val = train_test_split(pool[~pool["id"].isin(test)]["id"], test_size=0.25, random_state=100)
    split = dict.fromkeys(train, "train") | dict.fromkeys(val, "val") | dict.fromkeys(test, "test")
    for name, column, classes in [("T5", "status", ["healthy", "COVID-19"]), ("T6", "gender", ["male", "female"])]:
        labelled = pool[pool[column].isin(classes)]
        task = tasks["published", name]
        assert list(task["recording"]) == list(labelled["id"])
        assert list(task["label_name"]) == list(labelled[column])
        assert list(task["split"]) == [split[recording] for recording in labelled["id"]]


def test_smoker_and_sex_lists_regenerated_from_metadata(shared_data, recordings, opera):
    """All users with a usable cough-shallow; OPERA names two whose files are broken."""
    broken = ["C7Km0KttQRMMM6UoyocajfgZAOB3", "kgjTguvo3vZJTO7F1qO9GxEicbA3"]
    users = recordings["coswara"].sort_values("row").query("quality != 0")
    users = users[~users["patient"].isin(broken)]
    for task, column, values in [
        ("sex", "gender", ["male", "female"]),
        ("smoker", "smoker", ["y", "n", "True", "False"]),
    ]:
        files = np.load(opera / f"feature/coswara_eval/entireaudio_filenames_cough-shallow_w_{task}.npy")
        labelled = users[users[column].isin(values)]
        assert list(labelled["id"]) == [name.split("Extracted_data/")[1].removesuffix(".wav") for name in files]
    assert len(files) == 992


def test_coswara_answer_coding(recordings, tasks):
    coding = recordings["coswara"].set_index("id")["answer_coding"]
    task = tasks["published", "T8"]
    smokers = task.groupby(task["recording"].map(coding))["label"].agg(["sum", "size"])
    assert smokers.loc["True/False"].tolist() == [115, 123]
    assert smokers.loc["y/n"].tolist() == [86, 825]


def test_copd_severity_split_regenerated_by_patient(recordings, tasks):
    redrawn = build_task("T11", paper().tasks["T11"], "published", recordings["respiratory_tr"], None, seed=1337)
    assert redrawn.attrs["redrawn"]
    published = tasks["published", "T11"].set_index("recording")["split"]
    assert redrawn.set_index("recording")["split"].sort_index().equals(published.sort_index())


@pytest.mark.parametrize("name", ["T5", "T6", "T9", "T10"])
def test_redraw_has_the_published_proportions(recordings, tasks, name):
    entry = paper().tasks[name]
    published = tasks["published", name]
    redrawn = build_task(name, entry, "published", recordings[entry["dataset"]], None, seed=3)
    if name != "T9":
        assert set(redrawn["recording"]) == set(published["recording"])
    shares = [frame["split"].value_counts(normalize=True) for frame in (redrawn, published)]
    assert (shares[0] - shares[1]).abs().max() < 0.01
    again = build_task(name, entry, "published", recordings[entry["dataset"]], None, seed=3)
    assert redrawn.equals(again)


@pytest.mark.parametrize(("inclusive", "expected"), [(True, 7057), (False, 7054)])
def test_cough_threshold(recordings, caplog, inclusive, expected):
    where = {"min_cough_detected": 0.95, "inclusive": inclusive}
    part = {"dataset": "coughvid", "repeats": 1, "where": where, "expected": expected}
    with caplog.at_level("INFO"):
        mixture = build_mixture("resp", {"parts": [part]}, recordings, {})
    assert len(mixture) == expected
    assert "its count of 7,054 needs strictly more than 0.95" in caplog.text
    assert ">= 0.95 keeps 7057 recordings and cough_detected > 0.95 keeps 7054" in caplog.text
    wrong = {**part, "expected": 7000}
    with pytest.raises(RespfmError, match=f"expected 7,000, found {expected:,}"):
        build_mixture("resp", {"parts": [wrong]}, recordings, {})


def test_resp_is_14127_rows(recordings, tasks):
    mixture = build_mixture("resp", paper().mixtures["resp"], recordings, strict(tasks))
    per_dataset = mixture.groupby("dataset")["repeats"].agg(["size", "sum"])
    assert per_dataset.loc["coughvid"].tolist() == [7054, 7054]
    assert per_dataset.loc["icbhi"].tolist() == [539, 3234]
    assert per_dataset.loc["hf_lung"].tolist() == [3839, 3839]
    assert mixture["repeats"].sum() == 14127


def test_mixtures_with_audioset(recordings):
    """Every mixture of AudioSet and k copies of Resp, with three clips in AudioSet's place."""
    clips = pd.DataFrame({"id": ["a", "b", "c"], "patient": "", "quarantine": ""})
    rows = []
    for name, mixture in paper().mixtures.items():
        parts = {part["dataset"]: part for part in mixture["parts"]}
        if "exclude" not in mixture and {"audioset", "coughvid"} <= parts.keys():
            assert parts["audioset"]["expected"] == 2005132
            with pytest.raises(RespfmError, match="expected 2,005,132, found 3"):
                build_mixture(name, mixture, {**recordings, "audioset": clips}, {})
            built = build_mixture(name, mixture, {**recordings, "audioset": clips}, {}, allow_partial=True)
            rows.append(built.query("dataset != 'audioset'")["repeats"].sum())
    assert sorted(rows) == [98889, 211905, 310794, 409683, 508572]


def test_strict_mixture_leaves_out_test_recordings_and_patients(recordings, tasks):
    held_out = strict(tasks)
    mixture = build_mixture("resp_strict", paper().mixtures["resp_strict"], recordings, held_out)
    assert mixture["dataset"].value_counts().to_dict() == {"coughvid": 5091, "hf_lung": 3839, "icbhi": 526}
    patients = recordings["icbhi"].set_index("id")["patient"]
    icbhi = mixture.query("dataset == 'icbhi'")["recording"]
    assert not set(icbhi.map(patients)) & set(held_out["T7"].query("split == 'test'")["patient"])
    cough = set(mixture.query("dataset == 'coughvid'")["recording"])
    for name in ("T5", "T6"):
        assert not cough & set(held_out[name].query("split == 'test'")["recording"])


def test_real_annotation_list_names_every_coswara_recording(shared_data, recordings):
    listed = pd.read_csv(coswara_root(shared_data) / "annotations/cough-shallow_labels.csv")
    named = recordings["coswara"]["patient"] + "_cough-shallow"
    assert set(named) == set(listed["FILENAME"])
