"""KAUH lung sounds (Fraiwan et al. 2021, Mendeley jwyy9np4gv v3): everything is in the file name.

`<mode><patient>_<diagnosis>,<sound>,<location>,<age>,<sex>.wav`; the modes BP, DP and EP are the bell,
diaphragm and extended filters of the same recording. Commas and blanks, also trailing ones, belong to the
name.
"""

import re
from pathlib import Path
from typing import Any

import pandas as pd

from respfm.curate import metadata
from respfm.errors import RespfmError

COLUMNS = ["mode", "diagnosis", "group", "sound", "location", "age", "sex"]
NAME = re.compile(r"(?P<mode>BP|DP|EP)(?P<patient>\d+)_(?P<diagnosis>[^,]*),(?P<rest>.*)", re.DOTALL)


def list_recordings(root: Path, options: dict[str, Any]) -> pd.DataFrame:
    """All recordings; id is the file stem as it is, `group` OPERA's reading of the diagnosis. No options."""
    rows = []
    for path in metadata.audio_files(root, [".wav"]):
        name = metadata.stem(path)
        match = NAME.fullmatch(name)
        if match is None:
            raise RespfmError(
                f"{root / path}: a KAUH name is <BP|DP|EP><patient>_<diagnosis>,<sound>,<location>,<age>,"
                "<sex>; move other files away"
            )
        diagnosis = match["diagnosis"].rpartition("_")[2].strip()
        sound, location, age, sex = (*match["rest"].split(","), "", "", "", "")[:4]
        rows.append(
            {
                "id": name,
                "path": path,
                "patient": match["patient"],
                "mode": match["mode"],
                "diagnosis": diagnosis,
                "group": diagnosis_group(diagnosis),
                "sound": sound.strip(),
                "location": location.strip(),
                "age": metadata.to_number(age),
                "sex": sex.strip(),
            }
        )
    return metadata.to_recordings(rows, root, COLUMNS)


def diagnosis_group(diagnosis: str) -> str:
    """healthy, asthma, COPD or empty, as OPERA's task T10 reads it.

    Case matters for COPD: the one patient written "copd" is in no group, as in the published task.
    """
    if diagnosis == "N":
        return "healthy"
    if "asthma" in diagnosis or "Asthma" in diagnosis:
        return "asthma"
    return "COPD" if "COPD" in diagnosis else ""
