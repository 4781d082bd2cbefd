"""The synthetic files beside the real ones: same columns, line ends, array types, member and file names."""

import io
import re
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import py7zr
import pytest
from respfm.demo import coswara, coughvid, esc10, hf_lung, icbhi, kauh, opera, respiratory_tr
from respfm.demo.cohort import build_cohort
from respfm.demo.containers import StandIns

COHORT = build_cohort(seed=3, size=0.1)


def content(stand_ins: StandIns, ending: str) -> bytes:
    (make,) = [make for pattern, make in stand_ins.items() if pattern.endswith(ending)]
    return make()


@pytest.fixture(scope="module")
def real(shared_data) -> Path:
    return shared_data / "mirror/raw.githubusercontent.com"


@pytest.fixture(scope="module")
def real_opera(real) -> Path:
    return real / "evelyn0414/OPERA/3622310e667afb8aa40169050b4dd45de75946a2"


def shape(text: bytes) -> str:
    """The first line with its words and numbers blotted out: separators and line end stay."""
    line = text.split(b"\n")[0] + b"\n"
    return re.sub(r"[\w.]+", "x", line.decode())


def test_arrays_have_the_real_types_and_values(real_opera):
    stand_ins = opera.stand_ins(COHORT)
    arrays = [pattern for pattern in stand_ins if pattern.endswith(".npy")]
    assert len(arrays) == 26
    for pattern in arrays:
        real = np.load(real_opera / pattern.removeprefix("*/"), allow_pickle=True)
        made = np.load(io.BytesIO(stand_ins[pattern]()), allow_pickle=True)
        assert (made.dtype.kind, made.ndim, type(made[0])) == (real.dtype.kind, real.ndim, type(real[0])), pattern
        if made.dtype.kind == "i":
            assert made.dtype == real.dtype
            assert set(made) == set(real), pattern
        elif "split" in pattern or pattern.endswith("train_test.npy"):
            assert set(made) == set(real), pattern
        elif "label" in pattern:
            assert set(made) <= set(real), pattern
        elif "sound_dir" in pattern or "filenames" in pattern:
            assert str(Path(made[0]).parents[-4]) == str(Path(real[0]).parents[-4]), pattern


def test_kauh_split_arrays_are_by_patient_and_by_file_as_published():
    stand_ins = opera.stand_ins(COHORT)
    files, by_patient, by_file = (
        np.load(io.BytesIO(content(stand_ins, f"kauh_eval/{name}.npy")))
        for name in ("sound_dir_loc_subset", "train_test", "train_test_split")
    )
    patient = [re.match(r"[BDE]P(\d+)_", Path(name).name)[1] for name in files]
    assert pd.Series(by_patient == "train").groupby(patient).nunique().max() == 1
    assert pd.Series(by_file == "train").groupby(patient).nunique().max() == 2


def test_coughvid_metadata_and_members(real_opera, shared_data):
    real = pd.read_csv(real_opera / "datasets/coughvid/metadata_compiled.csv", dtype=str)
    made = pd.read_csv(io.BytesIO(coughvid.metadata_csv(COHORT)), dtype=str)
    assert made.columns.tolist() == real.columns.tolist()
    assert made["uuid"].is_monotonic_increasing
    for column in ("gender", "status", "respiratory_condition", "quality_1", "cough_type_1", "diagnosis_1"):
        assert set(made[column].dropna()) <= set(real[column].dropna()), column
    assert made["datetime"].str.fullmatch(r"2020-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00").all()
    archive = shared_data / "real-sample/coughvid/public_dataset.zip"
    pattern = re.compile(r"public_dataset/([0-9a-f-]{36}\.(webm|ogg|json)|metadata_compiled\.csv)")
    names = zipfile.ZipFile(io.BytesIO(content(coughvid.stand_ins(COHORT), "zip"))).namelist()
    assert all(map(pattern.fullmatch, [*names, *zipfile.ZipFile(archive).namelist()]))


@pytest.mark.parametrize(
    "name",
    ["ICBHI_Challenge_diagnosis.txt", "ICBHI_challenge_train_test.txt", "ICBHI_Challenge_demographic_information.txt"],
)
def test_icbhi_tables(real_opera, name):
    real = (real_opera / "datasets/icbhi" / name).read_bytes()
    made = content(icbhi.stand_ins(COHORT), name)
    assert shape(made) == shape(real)
    assert made.endswith(b"\r\n") == real.endswith(b"\r\n")
    if "train_test" in name:
        assert b"226_1b1_Pl_sc_Meditron\ttrain\r\n" in made
        assert real.splitlines()[-1] == made.splitlines()[-1] == b"226_1b1_Pl_sc_LittC2SE\ttrain"


def test_icbhi_members_and_annotations(real):
    archive = zipfile.ZipFile(io.BytesIO(content(icbhi.stand_ins(COHORT), "zip")))
    name = re.compile(
        r"ICBHI_final_database/\d{3}_\db\d_(Tc|[APL][lr])_(sc|mc)_(AKGC417L|LittC2SE|Litt3200|Meditron)\.(txt|wav)"
    )
    assert all(map(name.fullmatch, archive.namelist()))
    published = next((real / "architgajpal").rglob("audio_and_txt_files/101_1b1_Al*.txt")).read_bytes()
    for member in archive.namelist():
        if member.endswith("txt"):
            assert shape(archive.read(member)) == shape(published)
            cycles = pd.read_csv(archive.open(member), sep="\t", header=None)
            assert (cycles[1] > cycles[0]).all()
            assert np.allclose(cycles[0][1:], cycles[1][:-1])
            assert cycles[[2, 3]].isin([0, 1]).all(axis=None)


def test_coswara_tables_and_members(real):
    published = real / "iiscleap/Coswara-Data/4942c97e31de7180a93d17f2e7530a9c543cfd50"
    stand_ins = coswara.stand_ins(COHORT)
    users = pd.read_csv(published / "combined_data.csv", dtype=str, keep_default_na=False)
    made = pd.read_csv(io.BytesIO(content(stand_ins, "combined_data.csv")), dtype=str, keep_default_na=False)
    assert made.columns.tolist() == users.columns.tolist()
    for column in ("g", "smoker", "covid_status", "ep", "rU"):
        assert set(made[column]) <= set(users[column]), column
    labels = (published / "annotations/cough-shallow_labels.csv").read_bytes()
    for depth in ("shallow", "heavy"):
        lines = content(stand_ins, f"cough-{depth}_labels.csv").splitlines()
        assert lines[0] == labels.splitlines()[0]
        assert all(re.fullmatch(rb"\w{28}_cough-" + depth.encode() + rb",[012]", line) for line in lines[1:])
    with tarfile.open(fileobj=io.BytesIO(content(stand_ins, "20200413.tar.gz"))) as archive:
        assert all(re.fullmatch(r"20200413/\w{28}/cough-(shallow|heavy)\.wav", name) for name in archive.getnames())


def test_kauh_names(real_opera):
    name = re.compile(r"AudioFiles/[BDE]P\d+_[A-Za-z +]+,[A-Za-z ]+,[AP] [LR] [LMU]?( R| )?,\d+,[FM]\.wav")
    real = np.load(real_opera / "feature/kauh_eval/sound_dir_loc_subset.npy")
    assert sum(map(bool, map(name.fullmatch, (path.removeprefix("datasets/KAUH/") for path in real)))) > 0.9 * len(real)
    made = zipfile.ZipFile(io.BytesIO(content(kauh.stand_ins(COHORT), "file_downloaded"))).namelist()
    assert all(map(name.fullmatch, made))
    assert any(" ," in member for member in made)
    assert len(made) == 3 * len(COHORT.kauh)


def test_respiratory_tr_labels_and_names(real_opera):
    archive = zipfile.ZipFile(io.BytesIO(content(respiratory_tr.stand_ins(COHORT), "file_downloaded")))
    made = openpyxl.load_workbook(archive.open("RespiratoryDatabase@TR/Labels.xlsx"))
    real = openpyxl.load_workbook(real_opera / "datasets/copd/Labels.xlsx")
    assert made.sheetnames == real.sheetnames
    assert [cell.value for cell in made["Sayfa1"][1]] == [cell.value for cell in real["Sayfa1"][1]][:2]
    assert re.fullmatch(r"H\d{3} COPD[0-4]", " ".join(cell.value for cell in made["Sayfa1"][2]))
    table = content(opera.stand_ins(COHORT), "copd/Labels.csv")
    assert shape(table) == shape((real_opera / "datasets/copd/Labels.csv").read_bytes())
    waves = [name for name in archive.namelist() if name.endswith("wav")]
    assert all(re.fullmatch(r"RespiratoryDatabase@TR/H\d{3}_[LR][1-6]\.wav", name) for name in waves)
    assert len(waves) == 12 * len(COHORT.respiratory_tr)


def test_hf_lung_names_and_labels(real_opera):
    listed = pd.read_csv(real_opera / "datasets/hf_lung/metadata.csv")["filename"]
    name = re.compile(r"steth_\d{8}_\d\d_\d\d_\d\d|trunc_\d{4}(-\d\d){5}-L\d_\d+")
    assert listed.map(lambda text: bool(name.fullmatch(text))).mean() > 0.9
    with py7zr.SevenZipFile(io.BytesIO(content(hf_lung.stand_ins(COHORT), "/HF_Lung_V1/*/train.7z"))) as archive:
        members = archive.getnames()
    stems = [Path(member).name for member in members]
    assert all(name.fullmatch(re.sub(r"(_label\.txt|\.wav)$", "", stem)) for stem in stems)
    assert sum(stem.endswith(".wav") for stem in stems) == sum(stem.endswith("_label.txt") for stem in stems)


def test_esc10_folders(shared_data):
    real = zipfile.ZipFile(shared_data / "real-sample/esc10/ESC-10-master.zip").namelist()
    made = zipfile.ZipFile(io.BytesIO(content(esc10.stand_ins(COHORT), "zip"))).namelist()
    clip = re.compile(r"(ESC-10-master/\d{3} - [A-Z][a-z ]+)/\d-\d+-[A-Z]\.ogg")
    assert {clip.fullmatch(name)[1] for name in made} == {m[1] for m in map(clip.fullmatch, real) if m}
