"""RespiratoryDatabase@TR (Altan et al. 2017, Mendeley p9z4h98s6j v1): `H###_<L|R><1-6>.wav`."""

import re
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd

from respfm.curate import metadata
from respfm.errors import RespfmError

NAME = re.compile(r"(?P<patient>H\d+)_(?P<position>[LR][1-6])")
HEADER = ["Patient ID", "Diagnosis"]
LARGEST_WORKBOOK = 64 << 20


def list_recordings(root: Path, options: dict[str, Any]) -> pd.DataFrame:
    """All recordings; id is the file stem, `row` the patient's row in the label file.

    Labels come from `Labels.xlsx` (sheet Sayfa1; two more sheets are empty) or `Labels.csv`. No options.
    """
    path = metadata.find_file(root, "Labels.xlsx", "Labels.csv")
    labels = _read_workbook(path) if path.suffix == ".xlsx" else metadata.read_table(path, HEADER[1:], key=HEADER[0])
    for patient, diagnosis in labels["Diagnosis"].items():
        if not re.fullmatch("COPD[0-4]", diagnosis):
            raise RespfmError(f"{path}: diagnosis of {patient} is {diagnosis!r}; it must be COPD0 to COPD4")
    known = labels.to_dict("index")
    rows = []
    for audio in metadata.audio_files(root, [".wav"]):
        match = NAME.fullmatch(metadata.stem(audio))
        if match and match["patient"] in known:
            patient = known[match["patient"]]
            rows.append(
                {
                    "id": match[0],
                    "path": audio,
                    "patient": match["patient"],
                    "position": match["position"],
                    "diagnosis": patient["Diagnosis"],
                    "row": patient["row"],
                }
            )
    return metadata.to_recordings(rows, root, ["position", "diagnosis", "row"])


def _read_workbook(path: Path) -> pd.DataFrame:
    for rows in _read_sheets(path):
        if rows and rows[0][:2] == HEADER:
            rows = [row for row in rows[1:] if any(row)]
            diagnoses, patients = [row[1] for row in rows], [row[0] for row in rows]
            table = pd.DataFrame({"Diagnosis": diagnoses, "row": range(len(rows))}, index=patients)
            return metadata.check_unique(table, path, HEADER[0])
    raise RespfmError(f"{path} has no sheet with the columns {' and '.join(HEADER)}; retrieve it again")


def _read_sheets(path: Path) -> list[list[list[str]]]:
    """Cells of every sheet as stripped text."""
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(info.file_size for info in archive.infolist()) > LARGEST_WORKBOOK:
                raise ValueError(f"it would unpack to more than {LARGEST_WORKBOOK} bytes")
        workbook = openpyxl.load_workbook(path, read_only=True, data_only=True)
        return [
            [["" if cell is None else str(cell).strip() for cell in row] for row in sheet.iter_rows(values_only=True)]
            for sheet in workbook.worksheets
        ]
    except Exception as error:  # a damaged workbook makes openpyxl raise errors of many kinds
        raise RespfmError(f"{path} is not a readable Excel workbook ({error}); retrieve it again") from error
