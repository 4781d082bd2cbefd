"""COUGHVID v1 (Orlandic et al. 2021; Zenodo 4048312): crowd-sourced coughs, one webm or ogg per uuid."""

from pathlib import Path
from typing import Any

import pandas as pd

from respfm.curate import metadata
from respfm.errors import RespfmError

COLUMNS = [
    "cough_detected",
    "status",
    "gender",
    "age",
    "datetime",
    "date",
    "respiratory_condition",
    "fever_muscle_pain",
    "row",
]


def list_recordings(root: Path, options: dict[str, Any]) -> pd.DataFrame:
    """Recordings of `metadata_compiled.csv` whose audio is under `root`; id is the uuid, patients unknown.

    `cough_detected` is the publisher's probability (0 to 1) that the file holds a cough, `row` the position
    in the publisher's table. No options.
    """
    table_path = metadata.find_file(root, "metadata_compiled.csv")
    text = ["status", "gender", "datetime", "respiratory_condition", "fever_muscle_pain"]
    table = metadata.read_table(table_path, ["cough_detected", *text, "age"], key="uuid")
    table["cough_detected"] = table["cough_detected"].map(metadata.to_number).astype(float)
    table["age"] = table["age"].map(metadata.to_number).astype(float)
    table["date"] = table["datetime"].str.slice(0, 10)
    bad = table.index[~table["cough_detected"].between(0, 1)]
    if len(bad):
        raise RespfmError(
            f"{table_path}: cough_detected of {bad[0]!r} is no number from 0 to 1; retrieve the file again"
        )
    known = table.to_dict("index")
    rows = [
        {"id": uuid, "path": path, "patient": "", **known[uuid]}
        for path in metadata.audio_files(root)
        if (uuid := metadata.stem(path)) in known
    ]
    return metadata.to_recordings(rows, root, COLUMNS)
