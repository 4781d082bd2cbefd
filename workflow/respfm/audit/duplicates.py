"""The same sound under two names: copies across the splits of a task, and between test and a mixture."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from respfm import audio
from respfm.audit.fingerprint import Fingerprint, find_copies, fingerprint
from respfm.workers import WorkerCrash, map_batches

COLUMNS = [
    "protocol",
    "task",
    "dataset",
    "recording",
    "split",
    "copy",
    "against",
    "match",
    "bit_error_rate",
    "seconds",
    "same_patient",
    "same_label",
]
BATCH_SIZE = 16


def duplicates(
    tasks: Mapping[tuple[str, str], pd.DataFrame],
    mixtures: Mapping[str, pd.DataFrame],
    recordings: Mapping[str, pd.DataFrame],
    roots: Mapping[str, Path],
    workers: int = 1,
) -> pd.DataFrame:
    """One row per recording of a task and copy of it in another split (`against`) or, for test, in a mixture.

    Compares all recordings of a data set that some task or mixture uses, by decoded content (`match` exact)
    and by fingerprint (near; see `find_copies`). A mixture that holds the recording itself is the business of
    `leakage`. `same_patient` is empty where patients are unknown, `same_label` where the copy is in no split
    of the task. Data sets without a task are not compared. `roots` are the data sets' raw folders.
    """
    rows = []
    for dataset in sorted({task.attrs["dataset"] for task in tasks.values()}):
        own = {key: task for key, task in sorted(tasks.items()) if task.attrs["dataset"] == dataset}
        mixed = {
            name: set(mixture["recording"][mixture["dataset"] == dataset]) for name, mixture in sorted(mixtures.items())
        }
        copies = _copies(
            recordings[dataset],
            set().union(*mixed.values(), *(t["recording"] for t in own.values())),
            roots[dataset],
            workers,
        )
        patients = recordings[dataset].set_index("id")["patient"]
        for (protocol, name), task in own.items():
            where = {"protocol": protocol, "task": name, "dataset": dataset}
            rows += [{**where, **row} for row in _across(task, copies, mixed, patients)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _copies(recordings: pd.DataFrame, used: set[str], root: Path, workers: int) -> pd.DataFrame:
    """Pairs (recording, copy, match, bit_error_rate, seconds), each in both directions."""
    chosen = recordings[recordings["id"].isin(list(used)) & (recordings["quarantine"] == "")]
    results = map_batches(functools.partial(_fingerprints, root), chosen["path"].tolist(), BATCH_SIZE, workers)
    prints = list(tqdm(results, "fingerprint", len(chosen), unit="recording", disable=None))
    whole = [index for index, one in enumerate(prints) if not isinstance(one, WorkerCrash)]
    pairs = find_copies([prints[index] for index in whole])
    ids = chosen["id"].to_numpy()[whole]
    pairs = pairs.assign(recording=ids[pairs.pop("first")], copy=ids[pairs.pop("second")])
    return pd.concat([pairs, pairs.rename(columns={"recording": "copy", "copy": "recording"})], ignore_index=True)


def _fingerprints(root: Path, paths: Sequence[str]) -> list[Fingerprint]:
    return [fingerprint(*audio.decode(root / path)) for path in paths]


def _across(task: pd.DataFrame, copies: pd.DataFrame, mixed: Mapping[str, set[str]], patients: pd.Series) -> list[dict]:
    split, label = (task.set_index("recording")[column].to_dict() for column in ("split", "label"))
    order = {"test": 2, "val": 1, "train": 0}
    rows = []
    for pair in copies.itertuples():
        if pair.recording not in split:
            continue
        own = split[pair.recording]
        sides = [split[pair.copy]] if pair.copy in split and order[split[pair.copy]] < order[own] else []
        if own == "test":
            sides += [name for name, ids in mixed.items() if pair.copy in ids and pair.recording not in ids]
        a, b = patients[pair.recording], patients[pair.copy]
        rows += [
            {
                "recording": pair.recording,
                "split": own,
                "copy": pair.copy,
                "against": side,
                "match": pair.match,
                "bit_error_rate": round(pair.bit_error_rate, 4),
                "seconds": round(pair.seconds, 2),
                "same_patient": a == b if a and b else "",
                "same_label": label[pair.recording] == label[pair.copy] if pair.copy in label else "",
            }
            for side in sides
        ]
    return sorted(rows, key=lambda row: (row["split"], row["recording"], row["against"], row["copy"]))
