"""What tables and figures take from the audit's csv files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from respfm.errors import RespfmError

LOOKUP = "patient"
"""Not a property of the recording: knowing the patient measures how far the splits overlap."""


def best_metadata(path: Path, protocol: str) -> pd.DataFrame:
    """Per task of `protocol` the metadata with the highest test AUROC: columns metadata, auroc, n_test."""
    table = _read(path, ("protocol", "task", "column", "auroc_test", "n_test"))
    table = table[(table["protocol"] == protocol) & (table["column"] != LOOKUP)]
    best = table.sort_values("auroc_test", ascending=False, kind="stable").drop_duplicates("task")
    return best.set_index("task").rename(columns={"column": "metadata", "auroc_test": "auroc"})[
        ["metadata", "auroc", "n_test"]
    ]


def leaked_shares(path: Path, mixtures: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Per protocol and task the share of test recordings that are in a pre-training list of that protocol (the one
    of `mixtures[protocol]` that holds most; NaN if there is none), and the share whose patient is in the training
    split: columns protocol, task, listed, same_patient."""
    columns = ("protocol", "task", "split", "against", "class", "recordings", "shared_recordings")
    table = _read(path, (*columns, "recordings_of_shared_patients"))
    table = table[(table["split"] == "test") & (table["class"] == "all") & (table["against"] != "val")]
    keys = ["protocol", "task"]
    in_train = table[table["against"] == "train"].set_index(keys)
    own = [against in mixtures[protocol] for protocol, against in zip(table["protocol"], table["against"], strict=True)]
    listed = table[own].groupby(keys)["shared_recordings"].max()
    shares = pd.DataFrame(
        {
            "listed": listed.reindex(in_train.index) / in_train["recordings"],
            "same_patient": in_train["recordings_of_shared_patients"] / in_train["recordings"],
        }
    )
    return shares.reset_index().sort_values(keys, key=_natural, ignore_index=True)


def _natural(values: pd.Series) -> pd.Series:
    """Sort key that puts T10 after T9."""
    return values.str.replace(r"\d+", lambda digits: digits[0].zfill(4), regex=True)


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    table = pd.read_csv(path)
    missing = [column for column in columns if column not in table]
    if missing:
        raise RespfmError(f"{path} lacks the columns {', '.join(missing)}; remove it and run again")
    return table
