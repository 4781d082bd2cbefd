"""Recordings and patients that a split shares with training data or with a pre-training mixture."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from respfm.recordings import SPLITS

COLUMNS = [
    "protocol",
    "task",
    "dataset",
    "split",
    "against",
    "class",
    "recordings",
    "shared_recordings",
    "patients",
    "shared_patients",
    "recordings_of_shared_patients",
]


def leakage(
    tasks: Mapping[tuple[str, str], pd.DataFrame],
    mixtures: Mapping[str, pd.DataFrame],
    recordings: Mapping[str, pd.DataFrame],
) -> pd.DataFrame:
    """Count what every split of a task shares with another side, for all classes together and for each class.

    `tasks` is keyed by (protocol, task). Test is compared with train and val, val with train, and every
    split with every mixture. `recordings` and `patients` are those of the split; patients count where they
    are known (COUGHVID has none). `recordings_of_shared_patients` are recordings of the split whose patient
    is on the other side too, the shared recordings themselves included.
    """
    patient_of = {
        (dataset, recording): patient
        for dataset, frame in recordings.items()
        for recording, patient in zip(frame["id"], frame["patient"], strict=True)
    }
    used = {task.attrs["dataset"] for task in tasks.values()}
    mixed = {
        (name, dataset): set(mixture["recording"][mixture["dataset"] == dataset])
        for name, mixture in sorted(mixtures.items())
        for dataset in used
    }
    rows = []
    for (protocol, name), task in sorted(tasks.items()):
        dataset = task.attrs["dataset"]
        sides = {split: task[task["split"] == split] for split in SPLITS}
        for split, against, ids in _comparisons(sides, mixed, dataset):
            patients = {patient_of.get((dataset, recording), "") for recording in ids} - {""}
            where = {
                "protocol": protocol,
                "task": name,
                "dataset": dataset,
                "split": split,
                "against": against,
            }
            groups = [("all", sides[split]), *sides[split].groupby("label_name", sort=True)]
            rows += [{**where, "class": label, **_shared(group, ids, patients)} for label, group in groups]
    return pd.DataFrame(rows, columns=COLUMNS)


def _comparisons(
    sides: Mapping[str, pd.DataFrame], mixed: Mapping[tuple[str, str], set[str]], dataset: str
) -> Iterator[tuple[str, str, set[str]]]:
    for split, against in (("test", "train"), ("test", "val"), ("val", "train")):
        yield split, against, set(sides[against]["recording"])
    for (name, mixture_dataset), ids in mixed.items():
        if mixture_dataset == dataset:
            yield from ((split, name, ids) for split in ("test", "val", "train"))


def _shared(group: pd.DataFrame, ids: set[str], patients: set[str]) -> dict[str, Any]:
    known = group["patient"][group["patient"] != ""].tolist()
    of_shared = [patient for patient in known if patient in patients]
    return {
        "recordings": len(group),
        "shared_recordings": len(ids.intersection(group["recording"])),
        "patients": len(set(known)),
        "shared_patients": len(set(of_shared)),
        "recordings_of_shared_patients": len(of_shared),
    }
