"""How well a task is solved without sound: classifiers of header, device, date and age."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

COLUMNS = (
    "format",
    "sample_rate",
    "channels",
    "seconds",
    "peak",
    "device",
    "acquisition",
    "chest_location",
    "location",
    "position",
    "mode",
    "date",
    "answer_coding",
    "age",
    "patient",
)
BINS = 10
ALL = "all but patient"


def metadata_baselines(
    tasks: Mapping[tuple[str, str], pd.DataFrame], recordings: Mapping[str, pd.DataFrame]
) -> pd.DataFrame:
    """Test AUROC per (protocol, task) and metadata column, sorted with the best column first.

    The classifier is the class frequencies of the training recordings with the same value, with one
    pseudo-recording of the overall frequencies added; numbers are cut into at most ten bins at the quantiles of the
    training recordings. `all but patient` adds up the columns' log likelihood ratios (naive Bayes). AUROC of more
    than two classes is the mean over classes, one against the rest. `seen` is the share of test recordings whose
    value occurs in train; columns with a single value are left out.
    """
    rows = []
    for (protocol, name), task in sorted(tasks.items()):
        table = recordings[task.attrs["dataset"]].set_index("id").loc[task["recording"]].reset_index()
        table["format"] = table["path"].str.rpartition(".")[2].str.lower()
        train, test = ((task["split"] == split).to_numpy() for split in ("train", "test"))
        labels = task["label"].to_numpy()
        where = {"protocol": protocol, "task": name}
        counts = {"n_train": int(train.sum()), "n_test": int(test.sum())}
        scored: list[dict[str, Any]] = [
            {**where, "column": column, "auroc_test": _auroc(labels[test], scores), "seen": seen, **counts}
            for column, scores, seen in _predict(table, labels, train, test)
        ]
        rows += sorted(scored, key=lambda row: (-row["auroc_test"], row["column"]))
    return pd.DataFrame(rows)


def _predict(
    table: pd.DataFrame, labels: np.ndarray, train: np.ndarray, test: np.ndarray
) -> Iterator[tuple[str, np.ndarray, float]]:
    """(column, scores of the test rows `[rows, classes]`, share of them with a value seen in train)."""
    classes = np.eye(labels.max() + 1)[labels]
    prior = classes[train].mean(axis=0)
    log_odds = np.zeros((int(test.sum()), len(prior)))
    for column in [column for column in COLUMNS if column in table]:
        values = _categories(table[column], train)
        if values.nunique() > 1:
            frequencies = _class_frequencies(values[train], classes[train], prior)
            scores = frequencies.reindex(values[test]).fillna(dict(enumerate(prior))).to_numpy()
            yield column, scores, float(values[test].isin(frequencies.index).mean())
            log_odds += np.log(scores / prior) if column != "patient" else 0
    yield ALL, np.log(prior) + log_odds, float("nan")


def _categories(values: pd.Series, train: np.ndarray) -> pd.Series:
    """Text as it is, numbers with many values as the number of their quantile bin, NaN as one value."""
    if not pd.api.types.is_numeric_dtype(values) or values[train].nunique() <= BINS:
        return values.astype(object).where(values.notna(), "unknown")
    edges = np.unique(np.nanquantile(values[train], np.linspace(0, 1, BINS + 1)[1:-1]))
    bins = pd.Series(np.searchsorted(edges, values, side="right"), index=values.index)
    return bins.where(values.notna(), -1)


def _class_frequencies(values: pd.Series, classes: np.ndarray, prior: np.ndarray) -> pd.DataFrame:
    grouped = pd.DataFrame(classes).groupby(values.to_numpy())
    return (grouped.sum() + prior).div(grouped.size() + 1, axis=0)


def _auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    if scores.shape[1] == 2:
        return float(roc_auc_score(labels, scores[:, 1] - scores[:, 0]))
    return float(np.mean([roc_auc_score(labels == c, scores[:, c]) for c in range(scores.shape[1])]))
