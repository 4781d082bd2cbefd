"""The audit: leakage and metadata-only baselines of the real metadata, copies of made-up and real sounds."""

import io
import zipfile

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr
from curate_mirror import paper, real_recordings, real_tasks
from respfm.audit.duplicates import duplicates
from respfm.audit.fingerprint import find_copies, fingerprint
from respfm.audit.leakage import leakage
from respfm.audit.metadata_baselines import metadata_baselines
from respfm.curate import kauh
from respfm.curate.inspect import inspect_recordings
from respfm.curate.mixtures import build_mixture


@pytest.fixture(scope="module")
def shared_with_resp(shared_data):
    recordings, tasks = real_recordings(shared_data), real_tasks(shared_data)
    strict = {name: task for (protocol, name), task in tasks.items() if protocol == "strict"}
    mixtures = {
        name: build_mixture(name, paper().mixtures[name], recordings, strict) for name in ("resp", "resp_strict")
    }
    return leakage(tasks, mixtures, recordings).set_index(["protocol", "task", "split", "against", "class"])


@pytest.mark.parametrize(
    ("task", "split", "label", "shared", "recordings"),
    [
        ("T5", "test", "all", 1667, 2507),
        ("T5", "test", "healthy", 1539, 2301),
        ("T5", "test", "COVID-19", 128, 206),
        ("T5", "train", "all", 1849, 2749),
        ("T5", "val", "all", 634, 919),
        ("T6", "test", "all", 1963, 2955),
        ("T6", "test", "male", 1283, 1924),
        ("T6", "test", "female", 680, 1031),
        ("T6", "train", "all", 2157, 3218),
        ("T6", "val", "all", 747, 1090),
        ("T7", "test", "all", 0, 366),
        ("T7", "train", "all", 369, 369),
        ("T7", "val", "all", 93, 93),
    ],
)
def test_recordings_shared_with_the_published_mixture(shared_with_resp, task, split, label, shared, recordings):
    row = shared_with_resp.loc["published", task, split, "resp", label]
    assert (row["shared_recordings"], row["recordings"]) == (shared, recordings)


def test_patients_shared_by_published_splits(shared_with_resp):
    columns = ["shared_patients", "recordings_of_shared_patients"]
    assert shared_with_resp.loc[("published", "T7", "test", "resp", "all"), columns].tolist() == [2, 12]
    assert shared_with_resp.loc[("published", "T7", "test", "resp", "COPD"), columns].tolist() == [2, 12]
    assert shared_with_resp.loc[("published", "T7", "val", "train", "all"), columns[1]] == 90
    kauh_test = shared_with_resp.loc["published", "T10", "test", "train", "all"]
    assert (kauh_test["recordings_of_shared_patients"], kauh_test["recordings"]) == (63, 72)
    assert shared_with_resp.loc["published", "T10", "val", "train", "all"]["recordings_of_shared_patients"] == 17


def test_strict_shares_nothing_with_test(shared_with_resp):
    strict = shared_with_resp.loc["strict"].reset_index()
    held = strict[strict["against"].isin(["train", "val", "resp_strict"]) & (strict["split"] == "test")]
    assert len(held) > 40
    assert held[["shared_recordings", "shared_patients", "recordings_of_shared_patients"]].to_numpy().sum() == 0


@pytest.fixture(scope="module")
def baselines(shared_data):
    table = metadata_baselines(real_tasks(shared_data), real_recordings(shared_data))
    return table.set_index(["protocol", "task", "column"])["auroc_test"]


@pytest.mark.parametrize(
    ("task", "column", "auroc"),
    [
        ("T7", "device", 0.987),
        ("T8", "answer_coding", 0.781),
        ("T10", "patient", 0.993),
        ("T9", "date", 0.601),
        ("T8", "date", 0.772),
    ],
)
def test_metadata_alone(baselines, task, column, auroc):
    assert baselines["published", task, column] == pytest.approx(auroc, abs=5e-4)


def test_strict_splits_make_the_patient_useless(baselines):
    patient = baselines.loc["strict", :, "patient"]
    assert set(patient.index) == {"T7", "T8", "T9", "T10", "T11"}
    assert (patient == 0.5).all()


def made_up_task(splits: list[str], labels: list[int], **columns) -> tuple[dict, dict]:
    ids = [f"r{number:03}" for number in range(len(splits))]
    task = pd.DataFrame({"recording": ids, "label": labels, "split": splits, "patient": ""})
    task["label_name"] = [f"class {label}" for label in labels]
    task.attrs["dataset"] = "data"
    columns = {"path": [f"{name}.wav" for name in ids], "patient": "", "quarantine": "", **columns}
    return {("published", "T0"): task}, {"data": pd.DataFrame({"id": ids, **columns})}


def test_baseline_follows_the_column_and_not_the_noise():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 600)
    tasks, recordings = made_up_task(
        ["train"] * 400 + ["test"] * 200,
        labels.tolist(),
        age=labels * 10.0 + rng.normal(0, 1, 600),
        seconds=rng.normal(0, 1, 600),
        device=[f"device {label}" for label in labels],
        date="2020-04-13",
    )
    table = metadata_baselines(tasks, recordings).set_index("column")
    assert table.loc["device", "auroc_test"] == 1
    assert table.loc["age", "auroc_test"] > 0.95
    assert table.loc["all but patient", "auroc_test"] > 0.95
    assert abs(table.loc["seconds", "auroc_test"] - 0.5) < 0.08
    assert "date" not in table.index
    assert table["auroc_test"].is_monotonic_decreasing


def test_missing_numbers_are_a_value_of_their_own():
    labels = [0, 1] * 50
    age = [np.nan if label else 30.0 + number for number, label in enumerate(labels)]
    tasks, recordings = made_up_task(["train"] * 60 + ["test"] * 40, labels, age=age)
    assert metadata_baselines(tasks, recordings).set_index("column").loc["age", "auroc_test"] == 1


def breath(seed: int, seconds: float = 6, rate: int = 8000) -> np.ndarray:
    """Filtered noise whose level and colour change, float32 `[1, samples]`."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 1, int(seconds * rate))
    knots = rng.uniform(0.05, 1, (2, int(seconds * 4) + 2))
    at = np.linspace(0, knots.shape[1] - 1, len(noise))
    level, mix = (np.interp(at, np.arange(knots.shape[1]), row) for row in knots)
    low = np.convolve(noise, np.ones(24) / 24, "same")
    return (0.2 * level * (mix * low + (1 - mix) * noise))[None].astype(np.float32)


def ogg(samples: np.ndarray, rate: int) -> np.ndarray:
    stream = io.BytesIO()
    soundfile.write(stream, samples[0], rate, format="OGG", subtype="VORBIS")
    stream.seek(0)
    return soundfile.read(stream, dtype="float32")[0][None]


CHANGES = {
    "quieter": lambda x: (x / 10, 8000),
    "later start": lambda x: (x[:, 3001:], 8000),
    "other rate": lambda x: (soxr.resample(x[0], 8000, 44100)[None].astype(np.float32), 44100),
    "16 bit": lambda x: (np.round(x * 32767).astype(np.float32) / 32767, 8000),
    "stereo": lambda x: (np.concatenate([x, x]), 8000),
    "lossy": lambda x: (ogg(x, 8000), 8000),
    "low-pass": lambda x: (np.convolve(x[0], np.ones(6) / 6, "same")[None].astype(np.float32), 8000),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_are_found_among_others(change):
    sounds = [(breath(seed), 8000) for seed in range(8)]
    prints = [fingerprint(*sound) for sound in [*sounds, CHANGES[change](breath(3))]]
    copies = find_copies(prints)
    assert copies[["first", "second", "match"]].to_numpy().tolist() == [[3, 8, "near"]]
    assert copies["bit_error_rate"].iloc[0] < 0.3


def test_same_samples_are_exact_and_others_are_no_copies():
    prints = [fingerprint(breath(seed), 8000) for seed in (0, 1, 2, 1, 1)]
    copies = find_copies(prints)
    assert copies[["first", "second"]].to_numpy().tolist() == [[1, 3], [1, 4], [3, 4]]
    assert set(copies["match"]) == {"exact"}
    assert prints[0].content != fingerprint(breath(0), 16000).content


@pytest.mark.parametrize("samples", [np.zeros((1, 40000)), np.full((1, 40000), 0.1), np.zeros((2, 10))])
def test_silence_and_scraps_are_no_near_copies(samples):
    samples = samples.astype(np.float32)
    prints = [fingerprint(samples, 8000), fingerprint(samples[:, :-1], 8000), fingerprint(breath(0), 8000)]
    assert find_copies(prints).empty
    assert find_copies([]).empty


def test_duplicates_across_splits(tmp_path):
    sounds = {"r000": breath(0), "r001": breath(1), "r002": breath(0) / 2, "r003": breath(1), "r004": breath(0)}
    sounds |= {"r005": breath(1), "r006": breath(2)}
    for name, sound in sounds.items():
        soundfile.write(tmp_path / f"{name}.wav", sound[0], 8000, subtype="FLOAT")
    tasks, _ = made_up_task(["train", "train", "val", "test", "train"], [0, 1, 0, 0, 0])
    _, recordings = made_up_task(["train"] * 7, [0] * 7)
    mixtures = {
        "others": pd.DataFrame({"recording": ["r005", "r006"], "dataset": "data"}),
        "with test": pd.DataFrame({"recording": ["r003", "r005"], "dataset": "data"}),
        "elsewhere": pd.DataFrame({"recording": ["r005"], "dataset": "other data"}),
    }
    table, again = (duplicates(tasks, mixtures, recordings, {"data": tmp_path}, workers=workers) for workers in (1, 2))
    assert table.equals(again)
    found = table[["recording", "split", "copy", "against", "match", "same_label"]].to_numpy().tolist()
    assert found == [
        ["r003", "test", "r005", "others", "exact", ""],
        ["r003", "test", "r001", "train", "exact", False],
        ["r002", "val", "r000", "train", "near", True],
        ["r002", "val", "r004", "train", "near", True],
    ]
    assert (table["same_patient"] == "").all()


def test_duplicates_in_real_recordings(shared_data, tmp_path):
    """Two of KAUH's patients have one recording in common, one healthy, one with asthma."""
    with zipfile.ZipFile(shared_data / "real-sample/kauh/AudioFiles.zip") as archive:
        names = [name for name in archive.namelist() if name[2:5] in ("76_", "77_", "10_", "102", "11_")]
        archive.extractall(tmp_path, names)
    recordings = inspect_recordings(kauh.list_recordings(tmp_path, {}), tmp_path)
    task = recordings.rename(columns={"id": "recording"})[["recording", "patient"]]
    task["label"] = (recordings["group"] == "asthma").astype(int)
    task["split"] = np.where(task["patient"] == "77", "test", "train")
    task.attrs["dataset"] = "kauh"
    table = duplicates({("strict", "T10"): task}, {}, {"kauh": recordings}, {"kauh": tmp_path})
    exact = table[table["match"] == "exact"]
    assert exact[["recording", "copy"]].to_numpy().tolist() == [["EP77_Asthma,E W,A R L,40,M", "EP76_N,N,A L U,31,M"]]
    assert not table["same_patient"].any()
    assert not table["same_label"].any()
    assert set(table["copy"]) == {"EP76_N,N,A L U,31,M"}
