"""The probe from files to files, and what it says about bad input."""

import subprocess
import sys

import h5py
import numpy as np
import pandas as pd
import pytest
from respfm.errors import RespfmError
from respfm.probe import linear_probe, probe_task, published, strict

PROBES = {"published": published.probe, "strict": strict.probe}
TASK = {"title": "sex", "dataset": "corpus", "batch": 16, "epochs": 6, "candidates": 2}


@pytest.fixture
def files(tmp_path):
    """An embedding file of 100 recordings and a task on 70 of them, in another order."""
    rng = np.random.default_rng(0)
    ids = [f"aufnahme-ü{i:03d}" for i in range(100)]
    labels = np.arange(100) % 2
    with h5py.File(tmp_path / "corpus.h5", "w") as file:
        file["ids"] = np.array(ids, dtype=h5py.string_dtype())
        file.attrs.update(model="toy", layers=["z", "a"], default_layer="a")
        for layer, dim in (("z", 8), ("a", 24)):
            values = rng.standard_normal((100, dim)) + 0.6 * labels[:, None]
            file[f"layers/{layer}"] = values.astype(np.float32)
    chosen = rng.permutation(100)[:70]
    split = np.repeat(["train", "val", "test"], [40, 12, 18])
    table = pd.DataFrame(
        {
            "recording": [ids[i] for i in chosen],
            "label": labels[chosen],
            "label_name": np.where(labels[chosen] == 1, "female", "male"),
            "split": split,
            "patient": [f"p{i // 2}" for i in range(70)],
            "order": np.concatenate([np.arange(n) for n in (40, 12, 18)]),
        }
    )
    table.to_parquet(tmp_path / "T9.parquet", index=False)
    return tmp_path


def run(files, protocol="published", name="scores.csv", **options):
    probe_task(
        files / "corpus.h5",
        files / "T9.parquet",
        TASK,
        PROBES[protocol],
        files / name,
        files / "predictions.parquet" if protocol == "strict" else None,
        **options,
    )
    return pd.read_csv(files / name)


def change_table(files, change):
    table = pd.read_parquet(files / "T9.parquet")
    change(table).to_parquet(files / "T9.parquet", index=False)


def test_published_scores(files):
    scores = run(files, runs=3, seed=2)
    assert scores["layer"].tolist() == ["z"] * 3 + ["a"] * 3
    assert scores["run"].tolist() == [0, 1, 2, 0, 1, 2]
    assert scores["seed"].tolist() == [2, 3, 4, 2, 3, 4]
    assert set(scores["epoch"]) <= {1, 3, 5}
    fixed = {"protocol": "published", "model": "toy", "task": "T9", "split": "test", "n_train": 40, "n_val": 12}
    for column, value in {**fixed, "n_test": 18, "patients_train": 20, "patients_test": 9}.items():
        assert set(scores[column]) == {value}

    table = pd.read_parquet(files / "T9.parquet")
    with h5py.File(files / "corpus.h5") as file:
        position = {name: i for i, name in enumerate(file["ids"].asstr()[:])}
        features = file["layers/a"][:][table["recording"].map(position)]
    expected = linear_probe(features, table["label"], table["split"], TASK, runs=3, seed=2, order=table["order"])
    np.testing.assert_allclose(scores["auroc_test"][3:], expected["auroc_test"], atol=1e-6)


@pytest.mark.parametrize("protocol", ["published", "strict"])
def test_the_layer_of_the_registry_comes_before_that_of_the_model(files, protocol):
    for options, layer in (({}, "a"), ({"default_layer": "z"}, "z")):
        scores = run(files, protocol, **options)
        assert set(scores.loc[scores["default_layer"], "layer"]) == {layer}
    with pytest.raises(RespfmError, match="no layer 'b', which is the default_layer of toy; choose from"):
        run(files, protocol, default_layer="b")


def test_strict_scores_and_predictions(files):
    scores = run(files, "strict")
    assert scores["layer"].tolist() == ["z", "a"]
    assert scores["chosen"].sum() == 1
    predictions = pd.read_parquet(files / "predictions.parquet")
    assert predictions.columns.tolist() == ["recording", "patient", "label", "layer", "p0", "p1"]
    np.testing.assert_allclose(predictions["p0"] + predictions["p1"], 1)
    table = pd.read_parquet(files / "T9.parquet").set_index("recording")
    for layer, part in predictions.groupby("layer"):
        assert part["recording"].tolist() == table.index[table["split"] == "test"].tolist(), layer
        assert part["label"].tolist() == table.loc[part["recording"], "label"].tolist()
        assert part["patient"].tolist() == table.loc[part["recording"], "patient"].tolist()


@pytest.mark.parametrize("protocol", ["published", "strict"])
def test_a_rerun_gives_the_same_bytes(files, protocol):
    run(files, protocol, "first.csv")
    run(files, protocol, "second.csv", threads=2)
    assert (files / "first.csv").read_bytes() == (files / "second.csv").read_bytes()


@pytest.mark.parametrize("protocol", ["published", "strict"])
def test_a_split_without_a_class_is_refused_and_leaves_nothing(files, protocol):
    change_table(files, lambda table: table[(table["split"] != "val") | (table["label"] == 0)])
    with pytest.raises(RespfmError, match=r"T9: the val split \(\d recordings\) has no recording of class 1"):
        run(files, protocol)
    assert sorted(path.name for path in files.iterdir()) == ["T9.parquet", "corpus.h5"]


def test_recordings_without_embedding_are_named(files):
    change_table(files, lambda table: table.replace({"recording": {table["recording"][5]: "stranger"}}))
    with pytest.raises(RespfmError, match=r"corpus.h5: 1 of 70 .* first is stranger; extract"):
        run(files)


@pytest.mark.parametrize("protocol", ["published", "strict"])
def test_features_that_are_not_finite_are_refused(files, protocol):
    table = pd.read_parquet(files / "T9.parquet")
    with h5py.File(files / "corpus.h5", "a") as file:
        row = file["ids"].asstr()[:].tolist().index(table["recording"][45])
        file["layers/a"][row, 3] = np.nan
    with pytest.raises(RespfmError, match=r"T9: layer a has NaN or infinite features in 1 recordings .* val split"):
        run(files, protocol)
    assert not (files / "scores.csv").exists()


def test_a_truncated_embedding_file_is_refused(files):
    content = (files / "corpus.h5").read_bytes()
    (files / "corpus.h5").write_bytes(content[: len(content) // 2])
    with pytest.raises(RespfmError, match=r"corpus.h5 is not a whole embedding file"):
        run(files)


def arrays():
    features = np.random.default_rng(0).standard_normal((60, 5)).astype(np.float32)
    return {"features": features, "labels": np.arange(60) % 2, "split": np.repeat(["train", "val", "test"], 20)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.arange(59) % 2}, "59 labels and 60 split names"),
        ({"features": np.ones((59, 5), dtype=np.float32)}, r"shape \(59, 5\) for 60 labels"),
        ({"labels": np.zeros(60, dtype=int)}, "all labels are 0"),
        ({"labels": np.arange(60) % 2 + 0.5}, "integers from 0"),
        ({"split": np.repeat(["train", "valid", "test"], 20)}, "called 'valid'; use train, val and test"),
        ({"split": np.repeat(["train", "test"], 30)}, r"val split \(0 recordings\) has no recording of class 0"),
        ({"layers": ["12"]}, "no layer '12'; the features have 0"),
        ({"patients": np.array(["a"])}, "1 patients for 60 recordings"),
        ({"order": np.arange(3)}, "3 positions for 60 recordings"),
        ({"features": np.ones(60, dtype=np.float32)}, r"shape \(60,\) for 60 labels"),
        ({"task": {"name": "T10", "epochs": 4, "candidates": 5}}, "T10: .* 4 epochs leave nothing to select"),
        ({"task": "T12"}, "T12: no such task; known are T5"),
    ],
)
def test_bad_arrays(change, message):
    with pytest.raises(RespfmError, match=message):
        linear_probe(**{**arrays(), **change})


def test_importing_the_probe_needs_neither_torch_nor_scikit_learn():
    code = "import sys, respfm.probe; assert not {'torch', 'sklearn'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_protocol():
    with pytest.raises(RespfmError, match="protocol 'loose' is not known"):
        linear_probe(**arrays(), protocol="loose")
