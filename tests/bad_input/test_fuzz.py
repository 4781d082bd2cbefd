"""Damaged files from anywhere: a table comes out, or one sentence; never another exception."""

import contextlib
import importlib
import io
import tempfile
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from respfm.curate.arrays import load_arrays
from respfm.errors import RespfmError

FUZZ = settings(max_examples=60, deadline=None, derandomize=True, database=None)

COUGHVID = (
    "uuid,datetime,cough_detected,age,gender,respiratory_condition,fever_muscle_pain,status\n"
    "a,2020-04-13,0.9609,15,male,False,False,healthy\nb,2020-04-12,0.9301,,,,,COVID-19\n"
)
SPLIT = "101_1b1_Al_sc_Meditron\ttest\n226_1b1_Pl_sc_Meditron\ttrain\n"
DIAGNOSIS = "101\tURTI\n226\tPneumonia\n"
PEOPLE = "101\t3\tF\tNA\t19\t99\n226\tNA\tNA\tNA\tNA\tNA\n"
USERS = "id,a,covid_status,record_date,g,smoker\nu1,28,healthy,2020-04-13,male,True\nu2,,healthy,2020,female,\n"
QUALITY = "FILENAME, QUALITY\nu1_cough-shallow,2\nu2_cough-shallow,0\n"
LABELS = "Patient ID,Diagnosis,\nH002,COPD0,\nH005,COPD4,\n"

TABLES = [
    ("coughvid", "metadata_compiled.csv", COUGHVID),
    ("icbhi", "ICBHI_challenge_train_test.txt", SPLIT),
    ("icbhi", "ICBHI_Challenge_diagnosis.txt", DIAGNOSIS),
    ("icbhi", "ICBHI_Challenge_demographic_information.txt", PEOPLE),
    ("coswara", "combined_data.csv", USERS),
    ("coswara", "cough-shallow_labels.csv", QUALITY),
    ("respiratory_tr", "Labels.csv", LABELS),
]
AUDIO = {
    "coughvid": ["a.webm", "b.ogg"],
    "icbhi": ["101_1b1_Al_sc_Meditron.wav", "226_1b1_Pl_sc_LittC2SE.wav"],
    "coswara": ["20200413/u1/cough-shallow.wav", "20200415/u2/cough-shallow.wav"],
    "respiratory_tr": ["H002_L1.wav", "H005_R6.wav"],
}


def list_recordings(kind: str, files: dict[str, bytes]) -> pd.DataFrame:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return importlib.import_module(f"respfm.curate.{kind}").list_recordings(Path(folder), {})


def check(frame: pd.DataFrame) -> None:
    assert len(frame)
    assert frame["id"].is_unique
    assert frame["id"].is_monotonic_increasing
    assert not frame[["id", "path", "patient"]].isna().any().any()
    frame.to_parquet(io.BytesIO())


@st.composite
def damaged(draw, text: str) -> bytes:
    """The text with other line ends, a byte order mark, lost or repeated rows and columns, and strange bytes."""
    rows = text.splitlines()
    at = draw(st.integers(0, len(rows) - 1))
    change = draw(st.sampled_from(["none", "drop", "repeat", "cut column", "cell", "swap", "append"]))
    if change == "drop":
        del rows[at]
    elif change == "repeat":
        rows.insert(at, rows[at])
    elif change == "cut column":
        rows = [row.rpartition("," if "," in row else "\t")[0] for row in rows]
    elif change == "cell":
        separator = "," if "," in text else "\t"
        cells = rows[at].split(separator)
        cells[draw(st.integers(0, len(cells) - 1))] = draw(st.text(max_size=8))
        rows[at] = separator.join(cells)
    elif change == "swap":
        rows.reverse()
    elif change == "append":
        rows.append(draw(st.text(max_size=20)))
    content = draw(st.sampled_from(["\n", "\r\n", "\r"])).join(rows)
    content = draw(st.sampled_from(["", "\ufeff"])) + content + draw(st.sampled_from(["", "\n", "\n\n  \n"]))
    data = bytearray(content.encode(draw(st.sampled_from(["utf-8", "utf-8", "utf-16"])), "replace"))
    for _ in range(draw(st.integers(0, 2))):
        if data:
            position = draw(st.integers(0, len(data) - 1))
            data[position : position + 1] = draw(st.binary(max_size=3))
    return bytes(data[: draw(st.sampled_from([None, None, len(data) // 2]))])


@pytest.mark.parametrize(("kind", "name", "text"), TABLES, ids=[name for _, name, _ in TABLES])
def test_damaged_tables(kind, name, text):
    others = {other: content.encode() for k, other, content in TABLES if k == kind}
    audio = dict.fromkeys(AUDIO[kind], b"")
    check(list_recordings(kind, others | audio))

    @FUZZ
    @given(damaged(text))
    def survive(content):
        with contextlib.suppress(RespfmError):
            check(list_recordings(kind, others | audio | {name: content}))

    survive()


FILE_NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=30)


@pytest.mark.parametrize("kind", ["kauh", "icbhi", "folder", "hf_lung"])
def test_strange_file_names(kind):
    others = {other: content.encode() for k, other, content in TABLES if k == kind}

    @FUZZ
    @given(st.lists(FILE_NAMES, min_size=1, max_size=3), st.sampled_from(["", "BP1_N,", "101_1b1_", "steth_"]))
    def survive(names, prefix):
        with contextlib.suppress(RespfmError):
            check(list_recordings(kind, others | {f"{prefix}{name}.wav": b"" for name in names}))

    survive()


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def xlsx() -> bytes:
    stream, book = io.BytesIO(), openpyxl.Workbook()
    for row in (["Patient ID", "Diagnosis"], ["H002", "COPD0"], ["H005", "COPD4"]):
        book.active.append(row)
    book.save(stream)
    return stream.getvalue()


@st.composite
def corrupted(draw, content: bytes) -> bytes:
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.sampled_from([len(data), len(data) // 2, 0]))])


@FUZZ
@given(corrupted(npy(np.array(["a.wav", "b.wav"]))))
def test_damaged_arrays(content):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "files.npy").write_bytes(content)
        (Path(folder) / "labels.npy").write_bytes(npy(np.array([0, 1])))
        with contextlib.suppress(RespfmError):
            assert len(load_arrays(Path(folder), {"file": "files.npy", "value": "labels.npy"})) == 2


@settings(FUZZ, max_examples=30)
@given(corrupted(xlsx()))
def test_damaged_workbooks(content):
    with contextlib.suppress(RespfmError):
        check(list_recordings("respiratory_tr", {"Labels.xlsx": content, "H002_L1.wav": b"", "H005_R1.wav": b""}))
