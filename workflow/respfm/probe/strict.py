"""The strict probe: standardised features, converged logistic regression, all choices made on validation.

Features are standardised by the training split. Every layer is fitted at every strength; validation AUROC
chooses the strength of each layer and then the layer. The test split only reports.
"""

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from respfm.probe.auroc import auroc
from respfm.probe.data import ProbeData
from respfm.probe.logistic import PrincipalAxes, fit_logistic, predict_probability
from respfm.probe.uncertainty import (
    auroc_interval,
    calibration_error,
    permutation_p_value,
    sensitivity_at_specificity,
)

STRENGTHS = tuple(10.0**power for power in range(5, -3, -1))
"""Penalties on the summed cross-entropy, strongest first: it wins on ties."""


def probe_strict(data: ProbeData, seed: int = 0, device: str = "cpu") -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row of scores per layer, and the test predictions: row, patient, label, layer, p0, p1, ..."""
    test = data.rows["test"]
    labels = data.labels[test]
    patients = np.full(len(test), "") if data.patients is None else data.patients[test]
    scores, predictions = [], []
    for layer in tqdm(data.layers, desc=f"probe {data.task}", unit="layer", disable=None):
        strength, auroc_val, probability = fit_layer(data.layer(layer), data, device)
        low, high = auroc_interval(probability, labels, patients, seed=seed)
        scores.append(
            {
                "protocol": "strict",
                "task": data.task,
                "layer": layer,
                "run": 0,
                "split": "test",
                "auroc_val": auroc_val,
                "auroc_test": float(auroc(probability, labels)),
                "seed": seed,
                "auroc_low": low,
                "auroc_high": high,
                "strength": strength,
                "sensitivity_at_90_specificity": sensitivity_at_specificity(probability, labels, 0.9),
                "ece": calibration_error(probability, labels),
                "p_value": permutation_p_value(probability, labels, patients, seed=seed),
                **data.counts(),
            }
        )
        predicted = pd.DataFrame({"row": test, "patient": patients, "label": labels, "layer": layer})
        predictions.append(predicted.assign(**{f"p{c}": probability[:, c] for c in range(data.classes)}))
    scores = pd.DataFrame(scores)
    scores["chosen"] = scores.index == scores["auroc_val"].idxmax()
    return scores, pd.concat(predictions, ignore_index=True)


def fit_layer(values: np.ndarray, data: ProbeData, device: str = "cpu") -> tuple[float, float, np.ndarray]:
    """Strength chosen on validation, validation AUROC and test probabilities `[N, C]` of one layer."""
    features = torch.from_numpy(values).to(device, torch.float64)
    parts = {part: features[torch.from_numpy(rows).to(device)] for part, rows in data.rows.items()}
    mean = parts["train"].mean(dim=0)
    scale = parts["train"].std(dim=0, correction=0)
    scale[scale == 0] = 1.0
    parts = {part: (values - mean) / scale for part, values in parts.items()}
    axes = PrincipalAxes.of(parts["train"])
    train, val, test = (axes.project(parts[part]) for part in ("train", "val", "test"))
    labels = torch.from_numpy(data.labels[data.rows["train"]]).to(device)
    strengths = torch.tensor(STRENGTHS, dtype=torch.float64, device=device)
    weights = fit_logistic(train, labels, data.classes, strengths)
    val_scores = auroc(predict_probability(val, weights).cpu().numpy(), data.labels[data.rows["val"]])
    best = int(val_scores.argmax())
    probability = predict_probability(test, weights[best : best + 1])[0]
    return STRENGTHS[best], float(val_scores[best]), probability.cpu().numpy()
