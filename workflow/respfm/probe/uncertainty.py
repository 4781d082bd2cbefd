"""How far a test score can be trusted: resampling by patient, operating point, calibration."""

import numpy as np
import pandas as pd

from respfm.errors import RespfmError
from respfm.probe.auroc import midranks, weighted_auroc

BOOTSTRAP_SAMPLES = 2000
PERMUTATIONS = 1000
CALIBRATION_BINS = 15
MIN_PATIENTS = 5
"""Patients of each class that an interval needs; resampling fewer says nothing about other patients."""


def auroc_interval(
    probabilities: np.ndarray,
    labels: np.ndarray,
    patients: np.ndarray,
    samples: int = BOOTSTRAP_SAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile bootstrap interval of the macro AUROC of probabilities `[N, C]`, by patient.

    Resamples that miss a class are left out. A recording whose patient is "" counts as a patient of its
    own. Both ends are NaN if a class has fewer than MIN_PATIENTS.
    """
    if _fewest_patients(labels, patients) < MIN_PATIENTS:
        return np.nan, np.nan
    resampled = weighted_auroc(probabilities, labels, _resamples(patients, samples, seed))
    low, high = np.nanquantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_bootstrap(
    first: pd.DataFrame,
    second: pd.DataFrame,
    samples: int = BOOTSTRAP_SAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, float]:
    """Difference of test AUROC, first minus second, on the same resampled patients.

    The frames hold one layer's predictions each: recording, patient, label, p0, p1, ... Returns
    `difference`, `low`, `high` and the two-sided `p_value`, of which the last three are NaN if a class has fewer
    than MIN_PATIENTS. Raises `RespfmError` unless both predict the same recordings.
    """
    joined = first.merge(second, on=["recording", "patient", "label"], suffixes=("_1", "_2"))
    if not len(joined) == len(first) == len(second):
        raise RespfmError(
            f"only {len(joined)} recordings are in both predictions ({len(first)} and {len(second)}); "
            "compare models on the same test set, one layer each"
        )
    joined = joined.sort_values("recording", ignore_index=True)
    labels = joined["label"].to_numpy()
    classes = sum(name[0] == "p" and name[1:].isdigit() for name in first.columns)
    both = [joined[[f"p{c}_{side}" for c in range(classes)]].to_numpy() for side in (1, 2)]
    observed = np.ones((1, len(labels)))
    difference = np.subtract(*(weighted_auroc(values, labels, observed)[0] for values in both))
    if _fewest_patients(labels, joined["patient"].to_numpy()) < MIN_PATIENTS:
        return {"difference": float(difference), **dict.fromkeys(("low", "high", "p_value"), np.nan)}
    weights = _resamples(joined["patient"].to_numpy(), samples, seed)
    resampled = np.subtract(*(weighted_auroc(values, labels, weights) for values in both))
    resampled = resampled[np.isfinite(resampled)]
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    tail = min((resampled <= 0).sum(), (resampled >= 0).sum())
    p_value = min(1.0, 2 * (1 + tail) / (1 + len(resampled)))
    return {
        "difference": float(difference),
        "low": float(low),
        "high": float(high),
        "p_value": float(p_value),
    }


def permutation_p_value(
    probabilities: np.ndarray,
    labels: np.ndarray,
    patients: np.ndarray,
    samples: int = PERMUTATIONS,
    seed: int = 0,
) -> float:
    """Share of AUROCs at least as high as the observed one when labels are permuted between patients.

    The predictions stay; the observed labelling counts as one permutation (Phipson & Smyth 2010). All
    recordings of a patient with one label move together; a patient with recordings of several classes
    counts as one unit per class.
    """
    classes = probabilities.shape[1]
    _, unit_row, unit = np.unique(
        np.char.add(_units(patients).astype(str), np.char.add("/", labels.astype(str))),
        return_index=True,
        return_inverse=True,
    )
    rng = np.random.default_rng([seed, 2])
    permuted = rng.permuted(np.tile(labels[unit_row], (samples, 1)), axis=1)[:, unit]
    order, ordered_ranks = midranks(probabilities.T)
    ranks = np.empty_like(ordered_ranks)
    np.put_along_axis(ranks, order, ordered_ranks, axis=1)
    score = np.zeros(samples + 1)
    for c in range(classes):
        own = np.vstack([labels, permuted]) == c
        positive = own.sum(axis=1)
        wins = own @ ranks[c] - positive * (positive + 1) / 2
        score += wins / (positive * (len(labels) - positive)) / classes
    return float((1 + (score[1:] >= score[0] - 1e-12).sum()) / (1 + samples))


def sensitivity_at_specificity(probabilities: np.ndarray, labels: np.ndarray, specificity: float = 0.9) -> float:
    """Highest sensitivity at that specificity: of class 1, or the mean over classes if more than two."""
    classes = range(1, 2) if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    values = []
    for c in classes:
        score, own = probabilities[:, c], labels == c
        thresholds = np.unique(score)
        false_alarms = len(score[~own]) - np.searchsorted(np.sort(score[~own]), thresholds)
        hits = own.sum() - np.searchsorted(np.sort(score[own]), thresholds)
        allowed = false_alarms <= (1 - specificity) * (~own).sum() + 1e-9
        values.append(hits[allowed].max(initial=0) / own.sum())
    return float(np.mean(values))


def calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = CALIBRATION_BINS) -> float:
    """Expected calibration error (Guo et al. 2017) of the most probable class, bins of equal width."""
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = np.bincount(index, weights=confidence - correct, minlength=bins)
    return float(np.abs(gap).sum() / len(labels))


def _units(patients: np.ndarray) -> np.ndarray:
    """Number of each recording's patient; recordings of unknown patients get numbers of their own."""
    patients = np.asarray(patients).astype(str)
    named = np.where(patients == "", np.char.add("/", np.arange(len(patients)).astype(str)), patients)
    return np.unique(named, return_inverse=True)[1]


def _fewest_patients(labels: np.ndarray, patients: np.ndarray) -> int:
    """Patients of the class that has the fewest."""
    units = _units(patients)
    return min(len(np.unique(units[labels == label])) for label in np.unique(labels))


def _resamples(patients: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """How often each recording is drawn, `[samples, N]`, when as many patients are drawn with replacement."""
    unit = _units(patients)
    count = unit.max() + 1
    rng = np.random.default_rng([seed, 1])
    return rng.multinomial(count, np.full(count, 1 / count), size=samples)[:, unit]
