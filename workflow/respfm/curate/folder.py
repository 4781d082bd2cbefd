"""Any folder of audio: AudioSet, FSD50K, LibriSpeech, ESC-10, or recordings of one's own."""

import re
from pathlib import Path
from typing import Any

import pandas as pd

from respfm.curate import metadata
from respfm.errors import RespfmError


def list_recordings(root: Path, options: dict[str, Any]) -> pd.DataFrame:
    """Every audio file under `root`; id is the relative path without suffix, `label` the name of its folder.

    `patient_pattern`: regular expression whose first group, searched in the id, is the patient; without it
    patients are unknown and the strict protocol can only keep recordings apart.
    """
    pattern = options.get("patient_pattern")
    try:
        expression = re.compile(pattern) if pattern else None
    except re.error as error:
        raise RespfmError(f"patient_pattern {pattern!r} is not a regular expression ({error}); correct it") from error
    if expression is not None and expression.groups < 1:
        raise RespfmError(f"patient_pattern {pattern!r} has no group; put the patient's part in parentheses")
    rows = []
    for path in metadata.audio_files(root):
        name = path.rpartition(".")[0]
        match = expression.search(name) if expression else None
        if expression and match is None:
            raise RespfmError(f"{root / path}: patient_pattern {pattern!r} does not match; correct it or move the file")
        label = path.split("/")[-2] if "/" in path else ""
        rows.append({"id": name, "path": path, "patient": match[1] if match else "", "label": label})
    return metadata.to_recordings(rows, root, ["label"])
