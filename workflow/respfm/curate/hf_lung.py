"""HF_Lung V1 and V1_IP (Hsu et al. 2021): 15 s lung and tracheal sounds of several recorders."""

from pathlib import Path
from typing import Any

import pandas as pd

from respfm.curate import metadata


def list_recordings(root: Path, options: dict[str, Any]) -> pd.DataFrame:
    """Recordings named `<prefix>*.wav` (default `steth`) of the folders `parts` (default train only).

    The paper's 3,839 are the `steth*.wav` of the train parts of V1 and V1_IP. id is the path without suffix;
    `part` is `train` or `test`, from the folder; patients are unknown.
    """
    prefix, parts = options.get("prefix", "steth"), options.get("parts", ["train"])
    rows = []
    for path in metadata.audio_files(root, [".wav"]):
        folders = path.lower().split("/")[:-1]
        part = "test" if "test" in folders else "train"
        if metadata.stem(path).startswith(prefix) and part in parts:
            rows.append({"id": path.rpartition(".")[0], "path": path, "patient": "", "part": part})
    return metadata.to_recordings(rows, root, ["part"])
