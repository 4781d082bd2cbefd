"""AUROC against torchmetrics' numbers and scikit-learn's."""

import numpy as np
import pytest
import torch
from opera_golden import load_json
from respfm.probe.auroc import auroc, weighted_auroc
from sklearn.metrics import roc_auc_score

CASES = load_json("auroc_cases.json")["cases"]


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in CASES])
def test_golden_cases(case):
    probability = torch.tensor(case["logits"]).softmax(dim=1).numpy()
    assert auroc(probability, np.array(case["labels"])) == pytest.approx(case["auroc"], abs=1e-6)


def test_many_tied_tables_at_once():
    rng = np.random.default_rng(0)
    labels = np.arange(50) % 3
    tables = rng.integers(1, 6, size=(2, 4, 50, 3)).astype(float)
    tables /= tables.sum(axis=-1, keepdims=True)
    scores = auroc(tables, labels)
    assert scores.shape == (2, 4)
    for index in np.ndindex(2, 4):
        expected = roc_auc_score(labels, tables[index], multi_class="ovr")
        assert scores[index] == pytest.approx(expected, abs=1e-12)


def test_a_class_without_recordings_counts_as_zero():
    probability = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1]])
    assert auroc(probability, np.array([0, 1, 0])) == pytest.approx(2 / 3)


def test_weights_count_recordings():
    rng = np.random.default_rng(1)
    labels = np.arange(30) % 2
    probability = rng.integers(0, 5, size=(30, 2)) / 5
    weights = rng.integers(0, 4, size=(6, 30))
    expected = [auroc(probability.repeat(w, axis=0), labels.repeat(w)) for w in weights]
    np.testing.assert_allclose(weighted_auroc(probability, labels, weights), expected, atol=1e-12)


def test_weights_without_a_class_give_nan():
    labels = np.array([0, 1, 1])
    probability = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]])
    result = weighted_auroc(probability, labels, np.array([[1, 1, 0], [0, 1, 2]]))
    assert result[0] == 1.0
    assert np.isnan(result[1])
