"""Task tables under two protocols: which recordings, which label, which split, in the reference's order.

`published` takes OPERA's arrays as they are. `strict` never has a patient on two sides: its draws are by
patient, and patients of the test split leave train and validation. Sources: OPERA's arrays and evaluation
code; the fractions and the seed 1337 are OPERA's.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from respfm.curate.arrays import load_arrays, match_recordings
from respfm.curate.expected import check_count
from respfm.curate.select import select
from respfm.curate.splits import Parts, draw, keep_patients_apart
from respfm.errors import RespfmError
from respfm.recordings import SPLITS

log = logging.getLogger(__name__)

OPERA_SEED = 1337
USUAL_SHARES = {"train": [64], "val": [16], "test": [20]}
"""Per cent; those of OPERA's own draws (T8, T9)."""


def build_task(
    name: str,
    task: dict[str, Any],
    protocol: str,
    recordings: pd.DataFrame,
    opera_root: Path | None,
    seed: int,
    allow_partial: bool = False,
) -> pd.DataFrame:
    """Rows (recording, label, label_name, split, patient, order); `order` is the position inside the split.

    With OPERA's arrays, rows, labels and splits are theirs, joined with the recordings that are there and
    good. With `splits: redraw`, or for a task without arrays, labels come from the metadata and splits are
    drawn with `seed` in the proportions of the task's `counts` (else 64, 16, 20 %). attrs: task, protocol,
    dataset, redrawn, missing and quarantined (numbers of recordings).

    Raises RespfmError when recordings are missing (unless `allow_partial`), when labels disagree with the
    metadata, when counts differ from the task's `counts`, and when a split lacks a class.
    """
    arrays = None if "opera" not in task or task.get("splits") == "redraw" else opera_root
    redrawn = arrays is None
    if arrays is None:
        table = _from_metadata(name, task, recordings)
        parts = _redraw(name, task, protocol, table, seed)
    else:
        table = _from_arrays(name, task, protocol, recordings, arrays)
        check_count(f"{name}: recordings", len(table), int(table["recording"].notna().sum()), allow_partial)
        parts = _opera_parts(name, task, protocol, table)
        if protocol == "published" and "counts" in task and not allow_partial:
            _check_counts(name, task, table, parts)
    if protocol == "strict":
        parts = keep_patients_apart(name, table, parts)
    usable = {split: rows[table["usable"].to_numpy()[rows]] for split, rows in parts.items()}
    frame = _tabulate(table, usable, task["classes"])
    _check_classes(f"{name}, {protocol}", task["classes"], frame, redrawn)
    frame.attrs = {
        "task": name,
        "protocol": protocol,
        "dataset": task["dataset"],
        "redrawn": redrawn,
        "missing": int(table["recording"].isna().sum()),
        "quarantined": int((table["recording"].notna() & ~table["usable"]).sum()),
    }
    log.info(
        "%s, %s (%s): %s; %d recordings missing, %d quarantined",
        *(name, protocol, "redrawn" if redrawn else "OPERA's arrays", _count_text(frame)),
        *(frame.attrs["missing"], frame.attrs["quarantined"]),
    )
    return frame


def _labels(task: dict[str, Any], values: pd.Series) -> pd.Series:
    """Class number of each value, NaN where it belongs to no class."""
    by_value = {
        value: number
        for number, name in enumerate(task["classes"])
        for value in task.get("values", {}).get(name, [name])
    }
    return values.map(by_value)


def _from_metadata(name: str, task: dict[str, Any], recordings: pd.DataFrame) -> pd.DataFrame:
    """Good, labelled recordings in the publisher's order (column `row`, else the id)."""
    pool = select(recordings[recordings["quarantine"] == ""], task.get("where", {}), name)
    pool = pool.assign(label=_labels(task, _target(name, task, pool))).dropna(subset="label")
    pool = pool.sort_values([column for column in ("row", "id") if column in pool], ignore_index=True)
    if pool.empty:
        raise RespfmError(f"{name}: no recording of {task['dataset']} has a label; check the task's target and values")
    return pd.DataFrame(
        {
            "recording": pool["id"],
            "label": pool["label"].astype("int64"),
            "patient": pool["patient"],
            "usable": True,
        }
    )


def _from_arrays(
    name: str, task: dict[str, Any], protocol: str, recordings: pd.DataFrame, opera_root: Path
) -> pd.DataFrame:
    """OPERA's labelled files in array order, with recording (missing: None), patient and split."""
    opera = task["opera"]
    names = {"file": opera["recordings"], "value": opera["labels"]}
    split = opera.get("strict_split") if protocol == "strict" else None
    if split := split or opera.get("split"):
        names["split"] = split
    table = load_arrays(opera_root, names)
    numbers = {str(number): number for number in range(len(task["classes"]))}
    table["label"] = table["value"].map(numbers).fillna(_labels(task, table["value"]))
    table = table.dropna(subset="label").reset_index(drop=True)
    table["label"] = table["label"].astype("int64")
    table["recording"] = match_recordings(table["file"], recordings["id"], task["dataset"])
    present = table["recording"].notna()
    known = recordings.set_index("id").reindex(table["recording"])
    table["patient"] = known["patient"].fillna("").to_numpy()
    table["usable"] = (known["quarantine"] == "").to_numpy()
    stored = _labels(task, _target(name, task, known)).to_numpy()
    wrong = table[present & (stored != table["label"])]
    if len(wrong):
        first = wrong.iloc[0]
        raise RespfmError(
            f"{name}: OPERA's label of {first['recording']!r} is {task['classes'][first['label']]!r}, its "
            f"{task['target']} is {known[task['target']][first['recording']]!r} ({len(wrong)} such); this is "
            "another version of the data set, or the task's values are wrong"
        )
    return table


def _target(name: str, task: dict[str, Any], recordings: pd.DataFrame) -> pd.Series:
    if task["target"] not in recordings:
        raise RespfmError(
            f"{name}: target {task['target']!r} is no column of {task['dataset']}; choose from "
            f"{', '.join(recordings.columns)}"
        )
    return recordings[task["target"]]


def _opera_parts(name: str, task: dict[str, Any], protocol: str, table: pd.DataFrame) -> Parts:
    """Splits of the arrays, and the draws that OPERA's evaluation makes from them (`test`, `validation`).

    Draws of the strict protocol are made among the recordings that are there, whose patients are known.
    """
    opera, by_patient = task["opera"], protocol == "strict"
    rows = np.flatnonzero(table["recording"].notna()) if by_patient else np.arange(len(table))
    if "split" in table:
        stored = table["split"].to_numpy()[rows]
        parts = {split: rows[stored == split] for split in SPLITS}
        if "validation" in opera:
            parts = {"train": parts["train"], "test": rows[stored != "train"]}
    else:
        train, test = draw(name, table, rows, opera["test"], OPERA_SEED, by_patient)
        parts = {"train": train, "test": test}
    if "validation" in opera:
        train, val = draw(name, table, parts["train"], opera["validation"], OPERA_SEED, by_patient)
        parts |= {"train": train, "val": val}
    return parts


def _redraw(name: str, task: dict[str, Any], protocol: str, table: pd.DataFrame, seed: int) -> Parts:
    """Stratified splits in the proportions of the task's `counts`; by patient if strict or OPERA's are."""
    counts = task.get("counts", USUAL_SHARES)
    train, val, test = (sum(counts[split]) for split in SPLITS)
    by_patient = protocol == "strict" or task.get("by_patient", False)
    rest, tested = draw(name, table, np.arange(len(table)), test / (train + val + test), seed, by_patient)
    trained, validated = draw(name, table, rest, val / (train + val), seed, by_patient)
    return {"train": trained, "val": validated, "test": tested}


def _tabulate(table: pd.DataFrame, parts: Parts, classes: list[str]) -> pd.DataFrame:
    """One row per recording of `parts`, in table order."""
    rows = np.concatenate([parts[split] for split in SPLITS])
    labels = table["label"].to_numpy()[rows]
    frame = pd.DataFrame(
        {
            "recording": table["recording"].to_numpy()[rows],
            "label": labels,
            "label_name": [classes[label] for label in labels],
            "split": np.repeat(SPLITS, [len(parts[split]) for split in SPLITS]),
            "patient": table["patient"].to_numpy()[rows],
            "order": np.concatenate([np.arange(len(parts[split])) for split in SPLITS]),
        }
    )
    return frame.iloc[np.argsort(rows)].reset_index(drop=True)


def _check_counts(name: str, task: dict[str, Any], table: pd.DataFrame, parts: Parts) -> None:
    for split in SPLITS:
        found = np.bincount(table["label"].to_numpy()[parts[split]], minlength=len(task["classes"])).tolist()
        if found != task["counts"][split]:
            raise RespfmError(
                f"{name}: expected {task['counts'][split]} {split} recordings per class, found {found}; "
                "retrieve opera again, or correct the task's counts"
            )


def _check_classes(context: str, classes: list[str], frame: pd.DataFrame, redrawn: bool) -> None:
    fix = "check the task's values" if redrawn else "set splits: redraw for the task"
    for split in SPLITS:
        present = set(frame.loc[frame["split"] == split, "label_name"])
        if absent := [label for label in classes if label not in present]:
            raise RespfmError(
                f"{context}: the {split} split has no recording of {', '.join(absent)} ({_count_text(frame)}); "
                f"add recordings, {fix}, or leave the task out"
            )


def _count_text(frame: pd.DataFrame) -> str:
    counts = pd.crosstab(frame["split"], frame["label_name"])
    return ", ".join(
        f"{split} " + "/".join(f"{number} {label}" for label, number in counts.loc[split].items())
        for split in SPLITS
        if split in counts.index
    )
