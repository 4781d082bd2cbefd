"""Coswara (Bhattacharya et al. 2023): `<date>/<user>/<sound>.wav`, nine sounds per user."""

from pathlib import Path
from typing import Any

import pandas as pd

from respfm.curate import metadata
from respfm.errors import RespfmError

COLUMNS = [
    "date",
    "sound",
    "gender",
    "smoker",
    "answer_coding",
    "age",
    "quality",
    "covid_status",
    "record_date",
    "row",
]
CODING = {"True": "True/False", "False": "True/False", "y": "y/n", "n": "y/n"}


def list_recordings(root: Path, options: dict[str, Any]) -> pd.DataFrame:
    """Recordings of the kinds `sounds` (default `[cough-shallow]`) of the users in `combined_data.csv`.

    id is `<date folder>/<user>/<sound>`. `smoker` is the answer as stored; `answer_coding` says which version
    of the app stored it (True/False or y/n, empty for no answer). `quality` is the annotators' 0 bad, 1 good,
    2 excellent, NaN when not annotated. `row` is the user's position in the publisher's table.
    """
    sounds = options.get("sounds", ["cough-shallow"])
    users_path = metadata.find_file(root, "combined_data.csv")
    text = ["g", "a", "record_date", "covid_status"]
    users = metadata.read_table(users_path, text, key="id", optional=["smoker"]).to_dict("index")
    quality = {sound: _read_quality(root, sound) for sound in sounds}
    rows = []
    for path in metadata.audio_files(root, [".wav"]):
        parts = path.rsplit("/", 3)[-3:]
        sound = metadata.stem(path)
        if sound not in sounds or len(parts) != 3 or parts[1] not in users:
            continue
        date, user, _ = parts
        known = users[user]
        rows.append(
            {
                "id": f"{date}/{user}/{sound}",
                "path": path,
                "patient": user,
                "date": date,
                "sound": sound,
                "gender": known["g"],
                "smoker": known["smoker"],
                "answer_coding": CODING.get(known["smoker"], ""),
                "age": metadata.to_number(known["a"]),
                "quality": quality[sound].get(user, float("nan")),
                "covid_status": known["covid_status"],
                "record_date": known["record_date"],
                "row": known["row"],
            }
        )
    return metadata.to_recordings(rows, root, COLUMNS)


def _read_quality(root: Path, sound: str) -> dict[str, float]:
    """Quality per user; empty when this sound was not annotated (seven of the nine were)."""
    name = f"{sound}_labels.csv"
    if not any(path.rpartition("/")[2] == name for path in metadata.walk_files(root)):
        return {}
    path = metadata.find_file(root, name)
    table = metadata.read_table(path, ["QUALITY"], key="FILENAME")
    quality = {}
    for key, value in table["QUALITY"].items():
        if value not in ("0", "1", "2"):
            raise RespfmError(f"{path}: quality of {key} is {value!r}; it must be 0, 1 or 2")
        quality[str(key).removesuffix(f"_{sound}")] = float(value)
    return quality
