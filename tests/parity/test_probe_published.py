"""The published probe against OPERA's own numbers, against a plain loop, and against itself."""

import numpy as np
import pytest
import torch
from opera_golden import load_json, load_task, make_features
from respfm.probe import linear_probe
from sklearn.metrics import roc_auc_score

GOLDEN = load_json("probe_seed0.json")
CASES = [pytest.param(case, id=f"{case['task']}-{case['dim']}") for case in GOLDEN["cases"]]


@pytest.mark.parametrize("case", CASES)
def test_scores_are_those_of_the_reference(case):
    features = make_features(case["task"], case["dim"], case["strength"])
    np.testing.assert_allclose(features[0, :3], case["first_row_first3"], atol=1e-5)
    np.testing.assert_allclose(features[-1, -3:], case["last_row_last3"], atol=1e-5)
    scores = linear_probe(features, **load_task(case["task"]), task=case["task"])
    np.testing.assert_allclose(scores["auroc_test"], case["auroc"], atol=1e-6)
    np.testing.assert_allclose(scores["auroc_val"], case["selected_val_auroc"], atol=1e-6)
    assert scores["epoch"].tolist() == case["selected_epoch_0based"]
    assert scores["auroc_test"].std(ddof=0) == pytest.approx(case["std_ddof0"], abs=1e-6)


def test_penalty_is_inside_the_loss():
    case = GOLDEN["extra_cases"][0]
    assert case["extra_arguments"] == ["--l2_strength", "0.5"]
    scores = linear_probe(make_features("T8", 64, 0.5), **load_task("T8"), task={"batch": 32, "l2": 0.5})
    np.testing.assert_allclose(scores["auroc_test"], case["auroc"], atol=1e-6)


def plain_probe(features, labels, split, batch, epochs, seed):
    """One head, one step at a time, with PyTorch's loader, autograd and optimiser."""
    torch.manual_seed(seed)
    parts = {part: torch.from_numpy(features[split == part]) for part in ("train", "val", "test")}
    wanted = {part: torch.from_numpy(labels[split == part]) for part in parts}
    head = torch.nn.Linear(features.shape[1], int(labels.max()) + 1)
    torch.nn.init.normal_(head.weight, 0.0, 0.01)
    torch.nn.init.zeros_(head.bias)
    loaders = {
        part: torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(parts[part], wanted[part]), batch_size=batch, shuffle=True
        )
        for part in ("train", "val")
    }
    optimiser = torch.optim.Adam(head.parameters(), lr=1e-4)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.97)
    best, tested = -1.0, None
    for _ in range(epochs):
        for values, classes in loaders["train"]:
            loss = torch.nn.functional.cross_entropy(head(values), classes)
            loss = loss + 1e-5 * sum(parameter.square().sum() for parameter in head.parameters())
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
            optimiser.step()
        schedule.step()
        for _ in loaders["val"]:
            pass
        scores = {
            part: roc_auc_score(
                wanted[part] if labels.max() > 1 else torch.nn.functional.one_hot(wanted[part]),
                head(parts[part]).softmax(dim=1).detach().numpy(),
                multi_class="ovr",
            )
            for part in ("val", "test")
        }
        if np.float32(scores["val"]) > best:
            best, tested = np.float32(scores["val"]), scores["test"]
    return best, tested


def synthetic(classes=2, layers=3, dim=20, seed=0):
    rng = np.random.default_rng(seed)
    split = np.repeat(["train", "val", "test"], [70, 40, 60])
    labels = np.concatenate([np.arange(n) % classes for n in (70, 40, 60)])
    signal = rng.standard_normal((classes, dim))
    features = rng.standard_normal((layers, len(labels), dim)) + 0.5 * signal[labels]
    return features.astype(np.float32), labels, split


@pytest.mark.parametrize("classes", [2, 3])
def test_agrees_with_a_plain_loop(classes):
    features, labels, split = synthetic(classes)
    scores = linear_probe(features, labels, split, {"batch": 32, "epochs": 12}, runs=2, seed=5)
    for row in scores.itertuples():
        expected = plain_probe(features[int(row.layer)], labels, split, 32, 12, row.seed)
        assert (row.auroc_val, row.auroc_test) == pytest.approx(expected, abs=1e-6)


def test_layers_runs_and_threads_do_not_influence_each_other():
    features, labels, split = synthetic(layers=4)
    together = linear_probe(features, labels, split, "T10", runs=3)
    threaded = linear_probe(features, labels, split, "T10", runs=3, threads=2)
    assert together.equals(threaded)
    alone = linear_probe(features, labels, split, "T10", runs=2, seed=1, layers=["2"])
    expected = together[(together["layer"] == "2") & (together["run"] > 0)]
    np.testing.assert_allclose(alone["auroc_test"], expected["auroc_test"], atol=1e-6)


def test_layers_of_different_width_keep_their_order():
    features, labels, split = synthetic(layers=3)
    layers = {"a": features[0], "b": features[1][:, :7], "c": features[2]}
    scores = linear_probe(layers, labels, split, "T10", runs=2)
    assert scores["layer"].tolist() == ["a", "a", "b", "b", "c", "c"]
    assert scores["run"].tolist() == [0, 1, 0, 1, 0, 1]
    alone = linear_probe(layers["b"], labels, split, "T10", runs=2)
    np.testing.assert_allclose(scores["auroc_test"][2:4], alone["auroc_test"], atol=1e-6)


def test_only_candidate_epochs_are_selected():
    features, labels, split = synthetic()
    scores = linear_probe(features, labels, split, "T10")
    assert set((scores["epoch"] + 1) % 5) == {0}


def test_batches_follow_the_order_inside_the_split():
    features, labels, split = synthetic()
    shuffled = np.random.default_rng(1).permutation(len(labels))
    scores = linear_probe(features, labels, split, "T10")
    again = linear_probe(features[:, shuffled], labels[shuffled], split[shuffled], "T10", order=shuffled)
    assert scores.equals(again)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_agrees_with_cpu():
    case = GOLDEN["cases"][0]
    features = make_features(case["task"], case["dim"], case["strength"])
    scores = linear_probe(features, **load_task(case["task"]), task=case["task"], device="cuda")
    np.testing.assert_allclose(scores["auroc_test"], case["auroc"], atol=1e-3)
