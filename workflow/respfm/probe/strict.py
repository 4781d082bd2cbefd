"""The strict probe: standardised features, converged logistic regression, all choices made on validation.

Features are standardised by the training split. Every layer is fitted at every strength; validation AUROC, and
on ties validation cross-entropy, chooses the strength of each layer and then the layer. The test split only
reports.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from respfm.errors import RespfmError
from respfm.probe.auroc import auroc
from respfm.probe.data import ProbeData, ProbeOptions
from respfm.probe.logistic import PrincipalAxes, fit_logistic, predict_probability
from respfm.probe.threads import map_in_threads
from respfm.probe.uncertainty import (
    auroc_interval,
    calibration_error,
    permutation_p_value,
    sensitivity_at_specificity,
)
from respfm.recordings import SPLITS

STRENGTHS = tuple(10.0**power for power in range(-2, 7))
"""Penalties on the summed cross-entropy, the inverse of scikit-learn's C."""


class Fit(NamedTuple):
    """A layer's best fit on validation: its penalty, AUROC and mean cross-entropy, test probabilities `[N, C]`."""

    strength: float
    auroc_val: float
    loss_val: float
    probability: np.ndarray


def probe(data: ProbeData, options: ProbeOptions) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row of scores per layer, and the test predictions: row, patient, label, layer, p0, p1, ..."""

    def fit_one(layer: str) -> Fit:
        try:
            return fit_layer(data.layer(layer), data, options.device)
        except ArithmeticError as error:
            raise RespfmError(
                f"task {data.task}, layer {layer}: {error}; look for extreme values in its embeddings, or leave the "
                "model out of `models`"
            ) from error

    fits = map_in_threads(fit_one, data.layers, options.threads)
    test = data.rows["test"]
    labels = data.labels[test]
    patients = np.full(len(test), "") if data.patients is None else data.patients[test]
    scores, predictions, quality = [], [], []
    for layer, fit in zip(tqdm(data.layers, desc=f"probe {data.task}", unit="layer", disable=None), fits, strict=True):
        scores.append(
            {
                "protocol": "strict",
                "task": data.task,
                "layer": layer,
                "run": 0,
                "split": "test",
                "auroc_val": fit.auroc_val,
                **_test_scores(fit.probability, labels, patients, options.seed),
                "strength": fit.strength,
                "seed": options.seed,
                **data.counts(),
            }
        )
        predicted = pd.DataFrame({"row": test, "patient": patients, "label": labels, "layer": layer})
        predictions.append(predicted.assign(**{f"p{c}": fit.probability[:, c] for c in range(data.classes)}))
        quality.append((fit.auroc_val, -fit.loss_val))
    chosen = max(range(len(quality)), key=quality.__getitem__)
    scores = pd.DataFrame(scores).assign(chosen=np.arange(len(scores)) == chosen)
    return scores, pd.concat(predictions, ignore_index=True)


def _test_scores(probability: np.ndarray, labels: np.ndarray, patients: np.ndarray, seed: int) -> dict[str, float]:
    low, high = auroc_interval(probability, labels, patients, seed=seed)
    return {
        "auroc_test": float(auroc(probability, labels)),
        "auroc_low": low,
        "auroc_high": high,
        "sensitivity_at_90_specificity": sensitivity_at_specificity(probability, labels, 0.9),
        "ece": calibration_error(probability, labels),
        "p_value": permutation_p_value(probability, labels, patients, seed=seed),
    }


def fit_layer(values: np.ndarray, data: ProbeData, device: str = "cpu") -> Fit:
    """Fit features `[N, D]` of a layer at every strength and keep the best on validation."""
    parts = {part: torch.from_numpy(values[rows]).to(device, torch.float64) for part, rows in data.rows.items()}
    mean = parts["train"].mean(dim=0)
    scale = parts["train"].std(dim=0, correction=0)
    scale[scale == 0] = 1.0
    for features in parts.values():
        features.sub_(mean).div_(scale)
    axes = PrincipalAxes.of(parts["train"])
    train, val, test = (axes.project(parts[part]) for part in SPLITS)
    labels = torch.from_numpy(data.labels[data.rows["train"]]).to(device)
    strengths = torch.tensor(STRENGTHS, dtype=torch.float64, device=device)
    weights = fit_logistic(train, labels, data.classes, strengths)

    labels_val = data.labels[data.rows["val"]]
    probability = predict_probability(val, weights).cpu().numpy()
    auroc_val = auroc(probability, labels_val)
    loss_val = -np.log(probability[:, np.arange(len(labels_val)), labels_val]).mean(axis=1)
    best = np.lexsort((loss_val, -auroc_val))[0]
    tested = predict_probability(test, weights[[best]])[0].cpu().numpy()
    return Fit(STRENGTHS[best], float(auroc_val[best]), float(loss_val[best]), tested)
