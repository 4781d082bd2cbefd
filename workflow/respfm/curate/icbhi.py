"""ICBHI 2017 lung sounds (Rocha et al. 2019): `<patient>_<index>_<location>_<mode>_<device>.wav`."""

from pathlib import Path
from typing import Any

import pandas as pd

from respfm.curate import metadata
from respfm.errors import RespfmError

COLUMNS = [
    "diagnosis",
    "official_split",
    "device",
    "chest_location",
    "acquisition",
    "age",
    "sex",
    "crackles",
    "wheezes",
]


def list_recordings(root: Path, options: dict[str, Any]) -> pd.DataFrame:
    """All recordings, with the patient's diagnosis and the challenge's split; id is the file stem.

    The official list is matched without the device, because about 90 device names were corrected after it was
    made (226_1b1_Pl_sc_Meditron is 226_1b1_Pl_sc_LittC2SE on disk). `crackles` and `wheezes` say whether any annotated
    respiratory cycle has one (yes, no; empty without annotation). No options.
    """
    diagnoses = _read_diagnoses(metadata.find_file(root, "ICBHI_Challenge_diagnosis.txt"))
    split_path = metadata.find_file(root, "ICBHI_challenge_train_test.txt")
    splits = _read_splits(split_path)
    people = _read_demographics(root)
    rows = []
    for path in metadata.audio_files(root, [".wav"]):
        name = metadata.stem(path)
        fields = name.split("_")
        if len(fields) != 5:
            raise RespfmError(
                f"{root / path}: an ICBHI name has five parts, <patient>_<index>_<location>_<mode>_<device>; "
                "move other files away"
            )
        patient, _, location, acquisition, device = fields
        if patient not in diagnoses:
            raise RespfmError(f"{root / path}: patient {patient} has no line in ICBHI_Challenge_diagnosis.txt; add it")
        if name.rpartition("_")[0] not in splits:
            raise RespfmError(f"{root / path}: {name} has no line in {split_path.name}; add it")
        age, sex = people.get(patient, (float("nan"), ""))
        crackles, wheezes = _read_annotation((root / path).with_suffix(".txt"))
        rows.append(
            {
                "id": name,
                "path": path,
                "patient": patient,
                "diagnosis": diagnoses[patient],
                "official_split": splits[name.rpartition("_")[0]],
                "device": device,
                "chest_location": location,
                "acquisition": acquisition,
                "age": age,
                "sex": sex,
                "crackles": crackles,
                "wheezes": wheezes,
            }
        )
    return metadata.to_recordings(rows, root, COLUMNS)


def _read_pairs(path: Path) -> list[tuple[str, str]]:
    pairs = []
    for line, row in metadata.read_rows(path, delimiter="\t"):
        if len(row) != 2 or not all(row):
            raise RespfmError(f"{path}: line {line} is not two cells separated by a tab; retrieve the file again")
        pairs.append((row[0], row[1]))
    return pairs


def _agreeing(pairs: list[tuple[str, str]], path: Path) -> dict[str, str]:
    table: dict[str, str] = {}
    for key, value in pairs:
        if table.setdefault(key, value) != value:
            raise RespfmError(f"{path}: {key} is both {table[key]} and {value}; keep one line")
    return table


def _read_diagnoses(path: Path) -> dict[str, str]:
    return _agreeing(_read_pairs(path), path)


def _read_splits(path: Path) -> dict[str, str]:
    pairs = _read_pairs(path)
    for name, split in pairs:
        if split not in ("train", "test"):
            raise RespfmError(f"{path}: {name} is {split!r}; it must be train or test")
    return _agreeing([(name.rpartition("_")[0], split) for name, split in pairs], path)


def _read_demographics(root: Path) -> dict[str, tuple[float, str]]:
    """Age in years and sex (F, M or empty) per patient; empty when the optional file is not there."""
    name = "ICBHI_Challenge_demographic_information.txt"
    if not any(path.rpartition("/")[2] == name for path in metadata.walk_files(root)):
        return {}
    people = {}
    for line, row in metadata.read_rows(metadata.find_file(root, name), delimiter="\t"):
        if len(row) < 3:
            raise RespfmError(f"{name}: line {line} has {len(row)} cells instead of six; retrieve the file again")
        people[row[0]] = (metadata.to_number(row[1]), row[2] if row[2] in ("F", "M") else "")
    return people


def _read_annotation(path: Path) -> tuple[str, str]:
    """Whether crackles and wheezes occur; a line is start, end (s), crackles, wheezes of one respiratory cycle."""
    if not path.exists():
        return "", ""
    cycles = []
    for line, row in metadata.read_rows(path, delimiter="\t"):
        if len(row) != 4 or not set(row[2:]) <= {"0", "1"}:
            raise RespfmError(
                f"{path}: line {line} is not a start, an end and two marks (0 or 1); retrieve the data set again"
            )
        cycles.append(row[2:])
    crackles, wheezes = (any(cycle[mark] == "1" for cycle in cycles) for mark in (0, 1))
    return ("yes" if crackles else "no"), ("yes" if wheezes else "no")
