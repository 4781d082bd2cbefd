"""Train, validation and test: stratified draws, of whole patients, and no patient on two sides."""

import logging
import math

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from respfm.errors import RespfmError
from respfm.recordings import SPLITS

log = logging.getLogger(__name__)

Parts = dict[str, np.ndarray]
"""Rows of a table for each split, in the order that the reference has them."""


def draw(
    name: str, table: pd.DataFrame, rows: np.ndarray, share: float, seed: int, by_patient: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Divide `rows` of `table` (columns label, patient) into (rest, drawn), stratified by label.

    Draws whole patients if `by_patient`; a recording without a known patient is its own patient. At least as
    many are drawn as there are classes. Both results have the order of scikit-learn's `train_test_split`.
    Raises RespfmError, naming the task `name`, when there are too few.
    """
    patients = table["patient"].to_numpy()[rows]
    groups = [patient if by_patient and patient else row for patient, row in zip(patients, rows, strict=True)]
    codes, _ = pd.factorize(pd.Series(groups, dtype=object))
    first = np.unique(codes, return_index=True)[1]
    labels = table["label"].to_numpy()[rows[first]]
    count = max(math.ceil(share * len(first)), len(set(labels)))
    try:
        sides = train_test_split(np.arange(len(first)), test_size=count, random_state=seed, stratify=labels)
    except ValueError as error:
        what = "patients" if by_patient else "recordings"
        raise RespfmError(
            f"{name}: {len(first)} {what} are too few to draw {count} of them by class ({error}); "
            "add recordings or leave the task out"
        ) from error
    rest, drawn = (rows[_members(codes, side)] for side in sides)
    return rest, drawn


def _members(codes: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Positions in `codes` of the members of `groups`, in the order of `groups`."""
    place = np.full(codes.max() + 1, -1)
    place[groups] = np.arange(len(groups))
    members = np.flatnonzero(place[codes] >= 0)
    return members[np.argsort(place[codes][members], kind="stable")]


def keep_patients_apart(name: str, table: pd.DataFrame, parts: Parts) -> Parts:
    """Drop the patients of test from validation, and those of either from train."""
    patients, apart, taken = table["patient"].to_numpy(), {}, set()
    for split in reversed(SPLITS):
        rows = parts[split]
        shared = np.array([patient in taken for patient in patients[rows]], dtype=bool)
        if shared.any():
            names = ", ".join(sorted(set(patients[rows][shared])))
            log.info("%s, strict: %d %s recordings of patients %s left out", name, shared.sum(), split, names)
        apart[split] = rows[~shared]
        taken |= set(patients[apart[split]]) - {""}
    return apart
