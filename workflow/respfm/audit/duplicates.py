"""The same sound under two names: copies of a recording in another split of the task."""

import functools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from respfm import audio
from respfm.audit.fingerprint import Fingerprint, find_copies, fingerprint
from respfm.workers import WorkerCrash, map_batches

log = logging.getLogger(__name__)

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
RANK = {"train": 0, "val": 1, "test": 2}


def duplicates(
    tasks: Mapping[tuple[str, str], pd.DataFrame],
    mixtures: Mapping[str, pd.DataFrame],
    recordings: Mapping[str, pd.DataFrame],
    roots: Mapping[str, Path],
    workers: int = 1,
) -> pd.DataFrame:
    """One row per recording of a split and copy of it on another side (`against`).

    Test is compared with validation, train and every mixture, validation with train. `tasks` is keyed by
    (protocol, task), `roots` are the raw folders of the data sets. Copies are found by decoded content
    (`match` exact) and by fingerprint (near, over `seconds`; see `find_copies`) among all recordings of a
    data set that a task or a mixture uses. Test recordings that are in a mixture themselves are counted by
    `leakage`. `same_patient` is empty where patients are unknown, `same_label` where the copy is not in the task.
    """
    rows = []
    for dataset in sorted({task.attrs["dataset"] for task in tasks.values()}):
        own = {key: task for key, task in sorted(tasks.items()) if task.attrs["dataset"] == dataset}
        mixed = {
            name: set(mixture["recording"][mixture["dataset"] == dataset]) for name, mixture in sorted(mixtures.items())
        }
        used = set().union(*(task["recording"] for task in own.values()), *mixed.values())
        frame = recordings[dataset]
        copies = _copies(frame[frame["id"].isin(list(used))], roots[dataset], workers)
        patients = frame.set_index("id")["patient"].to_dict()
        for (protocol, name), task in own.items():
            where = {"protocol": protocol, "task": name, "dataset": dataset}
            rows += [{**where, **row} for row in _copies_elsewhere(task, mixed, copies, patients)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _copies(recordings: pd.DataFrame, root: Path, workers: int) -> pd.DataFrame:
    """Pairs (recording, copy, match, bit_error_rate, seconds), each in both directions."""
    worker = functools.partial(_fingerprints, root)
    results = map_batches(worker, recordings["path"].tolist(), BATCH_SIZE, workers)
    prints = list(tqdm(results, "fingerprint", len(recordings), unit="recording", disable=None))
    known = [index for index, one in enumerate(prints) if not isinstance(one, WorkerCrash)]
    if len(known) < len(prints):
        log.warning("%d recordings could not be fingerprinted; the decoder crashed", len(prints) - len(known))
    pairs = find_copies([prints[index] for index in known])
    ids = recordings["id"].to_numpy()[known]
    pairs = pairs.assign(recording=ids[pairs.pop("first")], copy=ids[pairs.pop("second")])
    mirrored = pairs.rename(columns={"recording": "copy", "copy": "recording"})
    return pd.concat([pairs, mirrored], ignore_index=True)


def _fingerprints(root: Path, paths: Sequence[str]) -> list[Fingerprint]:
    return [fingerprint(*audio.decode(root / path)) for path in paths]


def _copies_elsewhere(
    task: pd.DataFrame, mixed: Mapping[str, set[str]], copies: pd.DataFrame, patients: Mapping[str, str]
) -> list[dict]:
    split, label = (task.set_index("recording")[column].to_dict() for column in ("split", "label"))
    rows = []
    for pair in copies[copies["recording"].isin(split)].itertuples():
        own, other = split[pair.recording], split.get(pair.copy)
        sides = [other] if other and RANK[own] > RANK[other] else []
        if own == "test":
            sides += [name for name, ids in mixed.items() if pair.copy in ids and pair.recording not in ids]
        both = patients[pair.recording], patients[pair.copy]
        found = {
            "recording": pair.recording,
            "split": own,
            "copy": pair.copy,
            "match": pair.match,
            "bit_error_rate": round(pair.bit_error_rate, 4),
            "seconds": round(pair.seconds, 2),
            "same_patient": both[0] == both[1] if all(both) else "",
            "same_label": label[pair.recording] == label[pair.copy] if other else "",
        }
        rows += [{**found, "against": side} for side in sides]
    return sorted(rows, key=lambda row: (row["split"], row["recording"], row["against"], row["copy"]))
