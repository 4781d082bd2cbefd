"""The strict probe: a converged solver, no choice made on the test split, honest uncertainty."""

import numpy as np
import pandas as pd
import pytest
import torch
from opera_golden import load_task, make_features
from respfm.errors import RespfmError
from respfm.probe import linear_probe, logistic
from respfm.probe.logistic import PrincipalAxes, fit_logistic, predict_probability
from respfm.probe.uncertainty import (
    auroc_interval,
    calibration_error,
    paired_bootstrap,
    permutation_p_value,
    sensitivity_at_specificity,
)
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(("count", "dim"), [(80, 10), (40, 200)])
def test_solution_equals_scikit_learn(classes, count, dim):
    rng = np.random.default_rng(0)
    labels = np.arange(count) % classes
    values = rng.standard_normal((count, dim)) + rng.standard_normal((classes, dim))[labels]
    values -= values.mean(axis=0)
    new = rng.standard_normal((20, dim))
    strengths = [0.01, 1.0, 100.0]
    axes = PrincipalAxes.of(torch.from_numpy(values))
    train, test = (axes.project(torch.from_numpy(part)) for part in (values, new))
    assert train.shape[1] <= min(count - 1, dim)
    weights = fit_logistic(train, torch.from_numpy(labels), classes, torch.tensor(strengths).double())
    probability = predict_probability(test, weights).numpy()
    for strength, result in zip(strengths, probability, strict=True):
        reference = LogisticRegression(C=1 / strength, tol=1e-10, max_iter=10_000).fit(values, labels)
        np.testing.assert_allclose(result, reference.predict_proba(new), atol=1e-5)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("directly", [True, False])
def test_outliers_and_a_weak_penalty_converge(classes, directly, monkeypatch):
    """On four classes, the usual number of conjugate gradients is not enough."""
    if not directly:
        monkeypatch.setattr(logistic, "LARGEST_HESSIAN", 0)
    rng = np.random.default_rng(0)
    labels = np.repeat(range(classes), [12, 24, 40, 124] if classes == 4 else [60, 140])
    values = rng.standard_t(1.5, (200, 40)) + 0.5 * rng.standard_normal((classes, 40))[labels]
    values = (values - values.mean(axis=0)) * np.logspace(1, -2, 40)
    weights = fit_logistic(torch.from_numpy(values), torch.from_numpy(labels), classes, torch.tensor([0.01]).double())
    reference = LogisticRegression(C=100, solver="newton-cholesky", tol=1e-10, max_iter=1000).fit(values, labels)
    probability = predict_probability(torch.from_numpy(values), weights)[0].numpy()
    np.testing.assert_allclose(probability, reference.predict_proba(values), atol=1e-5)


def synthetic(seed=0, signal=0.7, layers=3, dim=30):
    rng = np.random.default_rng(seed)
    split = np.repeat(["train", "val", "test"], [80, 40, 60])
    labels = rng.permutation(np.arange(180) % 2)
    features = rng.standard_normal((layers, 180, dim)).astype(np.float32)
    features[layers // 2, :, :3] += signal * labels[:, None]
    patients = np.array([f"p{i // 2}" for i in range(180)])
    return features, labels, split, patients


def test_what_does_not_converge_is_named(monkeypatch):
    monkeypatch.setattr(logistic, "NEWTON_STEPS", 1)
    features, labels, split, patients = synthetic()
    with pytest.raises(RespfmError, match=r"task T9, layer 0: .* not converged in 1 Newton steps; look for extreme"):
        linear_probe(features, labels, split, "T9", protocol="strict", patients=patients)


def test_scores_say_what_they_rest_on():
    features, labels, split, patients = synthetic()
    scores = linear_probe(features, labels, split, "T9", protocol="strict", patients=patients)
    assert scores["layer"].tolist() == ["0", "1", "2"]
    assert scores["chosen"].tolist() == [False, True, False]
    best = scores.loc[1]
    assert best["auroc_low"] < best["auroc_test"] < best["auroc_high"]
    assert best["p_value"] < 0.01
    assert 0 <= best["ece"] <= 1
    assert [best[f"n_{part}"] for part in ("train", "val", "test")] == [80, 40, 60]
    assert [best[f"patients_{part}"] for part in ("train", "val", "test")] == [40, 20, 30]


def test_test_labels_choose_nothing():
    features, labels, split, patients = synthetic()
    other = labels.copy()
    other[split == "test"] = 1 - other[split == "test"]
    before, after = (
        linear_probe(features, y, split, "T9", protocol="strict", patients=patients) for y in (labels, other)
    )
    for column in ("strength", "auroc_val", "chosen"):
        assert before[column].equals(after[column])
    np.testing.assert_allclose(after["auroc_test"], 1 - before["auroc_test"], atol=1e-9)


def test_scale_offset_and_constant_features_do_not_matter():
    features, labels, split, patients = synthetic(layers=2)
    scaled = features * np.geomspace(0.1, 10, 30, dtype=np.float32) + 3
    scaled = np.concatenate([scaled, np.full((2, 180, 1), 7, dtype=np.float32)], axis=2)
    before, after = (
        linear_probe(x, labels, split, "T9", protocol="strict", patients=patients) for x in (features, scaled)
    )
    np.testing.assert_allclose(before["auroc_test"], after["auroc_test"], atol=1e-3)
    assert before["strength"].equals(after["strength"])


def test_unknown_patients_are_not_counted():
    features, labels, split, _ = synthetic(layers=1)
    scores = linear_probe(features, labels, split, "T9", protocol="strict", patients=np.full(180, ""))
    assert scores[["patients_train", "patients_val", "patients_test"]].isna().all(axis=None)


def test_opera_features_are_separated_better_than_by_the_published_probe():
    features = make_features("T9", 64, 0.35)
    scores = linear_probe(features, **load_task("T9"), task="T9", protocol="strict")
    assert scores["auroc_test"][0] > 0.85


def two_classes(rng, count, distance):
    labels = np.arange(count) % 2
    p1 = norm.cdf(rng.standard_normal(count) + distance * (labels - 0.5))
    return np.stack([1 - p1, p1], axis=1), labels


def test_interval_covers_the_true_auroc():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        probability, labels = two_classes(rng, 80, 1.0)
        low, high = auroc_interval(probability, labels, np.full(80, ""), samples=300)
        covered += low <= norm.cdf(1 / np.sqrt(2)) <= high
    assert 88 <= covered <= 100


@pytest.mark.parametrize("few", [4, 5])
def test_fewer_than_five_patients_of_a_class_give_no_interval(few):
    probability, labels = two_classes(np.random.default_rng(0), 200, 0.5)
    patients = np.where(labels == 0, np.arange(200), -1 - np.arange(200) // 2 % few).astype(str)
    low, high = auroc_interval(probability, labels, patients, samples=200)
    assert np.isnan([low, high]).all() == (few < 5)
    first, second = (frame(scores, labels).assign(patient=patients) for scores in (probability, probability[:, ::-1]))
    found = paired_bootstrap(first, second, samples=200)
    assert np.isfinite(found["difference"])
    assert np.isnan([found[name] for name in ("low", "high", "p_value")]).all() == (few < 5)


def test_more_recordings_of_the_same_patients_are_no_more_evidence():
    probability, labels = two_classes(np.random.default_rng(0), 40, 1.0)
    patients = np.arange(40).astype(str)
    once = auroc_interval(probability, labels, patients)
    repeated = auroc_interval(*(np.repeat(x, 5, axis=0) for x in (probability, labels, patients)))
    assert repeated == pytest.approx(once, abs=1e-12)
    forgotten = auroc_interval(probability.repeat(5, axis=0), labels.repeat(5), np.full(200, ""))
    assert forgotten[1] - forgotten[0] < 0.6 * (once[1] - once[0])


def test_permutation_null():
    rng = np.random.default_rng(0)
    p_values = []
    for _ in range(60):
        probability, labels = two_classes(rng, 60, 0.0)
        p_values.append(permutation_p_value(probability, labels, np.full(60, ""), samples=200))
    assert 0.4 < np.mean(p_values) < 0.6
    probability, labels = two_classes(rng, 60, 2.0)
    assert permutation_p_value(probability, labels, np.full(60, "")) == pytest.approx(1 / 1001)


def test_labels_are_permuted_between_patients():
    labels = np.repeat([0, 0, 0, 1, 1, 1], 10)
    p1 = np.linspace(0, 1, 60)
    probability = np.stack([1 - p1, p1], axis=1)
    p_value = permutation_p_value(probability, labels, np.repeat(list("abcdef"), 10), samples=10_000)
    assert p_value == pytest.approx(1 / 20, abs=0.01)


def frame(probability, labels):
    names = [f"r{i}" for i in range(len(labels))]
    columns = {"recording": names, "patient": names, "label": labels}
    return pd.DataFrame({**columns, "p0": probability[:, 0], "p1": probability[:, 1]})


def test_paired_bootstrap():
    rng = np.random.default_rng(0)
    probability, labels = two_classes(rng, 200, 1.5)
    good, weak = frame(probability, labels), frame(two_classes(rng, 200, 0.2)[0], labels)
    same = paired_bootstrap(good, good.sample(frac=1, random_state=0))
    assert (same["difference"], same["low"], same["high"], same["p_value"]) == (0, 0, 0, 1)
    better = paired_bootstrap(good, weak)
    assert 0 < better["low"] < better["difference"] < better["high"]
    assert better["p_value"] < 0.01
    worse = paired_bootstrap(weak, good)
    assert worse["low"] == pytest.approx(-better["high"])
    with pytest.raises(RespfmError, match="only 199 recordings"):
        paired_bootstrap(good, weak[1:])


def test_sensitivity_at_specificity():
    labels = np.array([0] * 10 + [1] * 4)
    p1 = np.array([0.1] * 8 + [0.5, 0.6] + [0.4, 0.5, 0.55, 0.7])
    probability = np.stack([1 - p1, p1], axis=1)
    assert sensitivity_at_specificity(probability, labels, 0.9) == 0.5
    assert sensitivity_at_specificity(probability, labels, 1.0) == 0.25


def test_calibration_error():
    p1 = np.array([0.9] * 10 + [0.2] * 10)
    probability = np.stack([1 - p1, p1], axis=1)
    labels = np.array([1] * 9 + [0] + [0] * 6 + [1] * 4)
    assert calibration_error(probability, labels) == pytest.approx(0.5 * 0.0 + 0.5 * 0.2)
