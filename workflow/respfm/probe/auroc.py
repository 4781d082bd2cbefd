"""Area under the ROC curve for many models or resamples at once."""

import numpy as np


def midranks(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorting order `[..., N]` along the last axis and, in that order, ranks from 1 with ties averaged."""
    order = np.argsort(scores, axis=-1)
    ordered = np.take_along_axis(scores, order, axis=-1)
    count = scores.shape[-1]
    index = np.arange(count)
    new = ordered[..., 1:] != ordered[..., :-1]
    edge = np.ones((*scores.shape[:-1], 1), dtype=bool)
    first = np.maximum.accumulate(np.where(np.concatenate([edge, new], axis=-1), index, 0), axis=-1)
    last = np.where(np.concatenate([new, edge], axis=-1), index, count)
    last = np.minimum.accumulate(last[..., ::-1], axis=-1)[..., ::-1]
    return order, (first + last) / 2 + 1


def auroc(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Macro one-vs-rest AUROC `[...]` of class probabilities `[..., N, C]`, labels `[N]`.

    Each class's own probability is ranked in the precision it comes in, as in torchmetrics' multiclass
    AUROC: a saturated float32 softmax makes ties. A class without positives or negatives counts as 0.
    """
    classes = probabilities.shape[-1]
    order, ranks = midranks(np.moveaxis(probabilities, -1, -2))
    positive = (labels == np.arange(classes)[:, None]).sum(axis=1)
    own = labels[order] == np.arange(classes)[:, None]
    pairs = positive * (len(labels) - positive)
    wins = (ranks * own).sum(axis=-1) - positive * (positive + 1) / 2
    return np.divide(wins, pairs, out=np.zeros_like(wins), where=pairs > 0).mean(axis=-1)


def weighted_auroc(probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Macro AUROC `[B]` of `[N, C]` probabilities under weights `[B, N]`; NaN if a class is absent."""
    total = 0.0
    classes = probabilities.shape[1]
    for c in range(classes):
        order = np.argsort(probabilities[:, c], kind="stable")
        ordered = probabilities[order, c]
        starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        own = labels[order] == c
        positive = np.add.reduceat(weights[:, order] * own, starts, axis=1, dtype=float)
        negative = np.add.reduceat(weights[:, order] * ~own, starts, axis=1, dtype=float)
        wins = (positive * (negative.cumsum(axis=1) - negative / 2)).sum(axis=1)
        pairs = positive.sum(axis=1) * negative.sum(axis=1)
        total = total + np.divide(wins, pairs, out=np.full_like(wins, np.nan), where=pairs > 0)
    return total / classes
