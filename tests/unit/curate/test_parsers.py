"""Each publisher's layout and quirks, in small."""

import importlib
import os
from pathlib import Path

import openpyxl
import pandas as pd
import pytest
from respfm.cli.embed import list_audio
from respfm.curate import coswara, coughvid, folder, hf_lung, icbhi, kauh, respiratory_tr
from respfm.errors import RespfmError

UUIDS = ["00039425-7f3a-42aa-ac13-834aaa2b6b92", "0009eb28-d8be-4dc1-92bb-907e53bc5c7a"]


def write(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def coughvid_table(*rows: str) -> str:
    return "\n".join(["uuid,datetime,cough_detected,age,gender,respiratory_condition,fever_muscle_pain,status", *rows])


def test_coughvid_keeps_rows_with_audio(tmp_path):
    table = coughvid_table(
        f"{UUIDS[0]},2020-04-13T21:30:59+00:00,0.9609,15,male,False,False,healthy",
        f"{UUIDS[1]},2020-04-12T04:02:18+00:00,0.9301,,,,,",
        "no-audio,2020-04-12T04:02:18+00:00,0.5,,,,,",
    )
    files = {"metadata_compiled.csv": table, f"{UUIDS[0]}.webm": "", f"{UUIDS[1]}.ogg": "", "stray.webm": ""}
    frame = coughvid.list_recordings(write(tmp_path, {f"public_dataset/{k}": v for k, v in files.items()}), {})
    assert frame["id"].tolist() == UUIDS
    assert frame["path"].tolist() == [f"public_dataset/{UUIDS[0]}.webm", f"public_dataset/{UUIDS[1]}.ogg"]
    assert frame["patient"].tolist() == ["", ""]
    first = frame.iloc[0]
    assert (first["cough_detected"], first["age"], first["date"]) == (0.9609, 15, "2020-04-13")
    assert pd.isna(frame["age"].iloc[1])


def test_coughvid_two_files_of_one_uuid(tmp_path):
    table = coughvid_table(f"{UUIDS[0]},2020,0.9,,,,,")
    files = {"metadata_compiled.csv": table, f"a/{UUIDS[0]}.webm": "", f"b/{UUIDS[0]}.ogg": ""}
    with pytest.raises(RespfmError, match=r"a/.*webm and b/.*ogg have one id"):
        coughvid.list_recordings(write(tmp_path, files), {})


@pytest.mark.parametrize("probability", ["", "often", "nan", "1.5"])
def test_coughvid_probability_must_be_one(tmp_path, probability):
    files = {"metadata_compiled.csv": coughvid_table(f"{UUIDS[0]},2020,{probability},,,,,"), f"{UUIDS[0]}.webm": ""}
    with pytest.raises(RespfmError, match=f"cough_detected of '{UUIDS[0]}' is no number from 0 to 1"):
        coughvid.list_recordings(write(tmp_path, files), {})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "is empty"),
        ("uuid,status\na,b", "needs exactly one column 'cough_detected' and has 0"),
        (coughvid_table("a,b"), "line 2 has 2 cells and the header 8"),
        (coughvid_table("a,2020,1,,,,,", "a,2020,1,,,,,"), "uuid 'a' occurs more than once"),
        (coughvid_table(",2020,1,,,,,"), "a row has no uuid"),
        (coughvid_table('a,"2020,1,,,,,'), "not a well-formed table"),
        (b"uuid\xff", "is not UTF-8 text"),
    ],
)
def test_damaged_table_is_one_sentence(tmp_path, table, message):
    with pytest.raises(RespfmError, match=message):
        coughvid.list_recordings(write(tmp_path, {"metadata_compiled.csv": table, "a.webm": ""}), {})


def icbhi_files(**changes: str) -> dict[str, str]:
    files = {
        "ICBHI_Challenge_diagnosis.txt": "101\tURTI\n226\tPneumonia\n",
        "ICBHI_challenge_train_test.txt": "101_1b1_Al_sc_Meditron\ttest\r\n226_1b1_Pl_sc_Meditron\ttrain\r\n",
        "ICBHI_Challenge_demographic_information.txt": "101\t3\tF\tNA\t19\t99\r\n226\tNA\tNA\tNA\tNA\tNA\r\n",
        "ICBHI_final_database/101_1b1_Al_sc_Meditron.wav": "",
        "ICBHI_final_database/226_1b1_Pl_sc_LittC2SE.wav": "",
        "ICBHI_final_database/226_1b1_Pl_sc_LittC2SE.txt": "0\t1.2\t0\t0\r\n1.2\t2\t1\t0\r\n",
    }
    return files | changes


def test_icbhi_renamed_recording_and_missing_demographics(tmp_path):
    frame = icbhi.list_recordings(write(tmp_path, icbhi_files()), {}).set_index("id")
    assert frame.loc["226_1b1_Pl_sc_LittC2SE", "official_split"] == "train"
    assert frame.loc["226_1b1_Pl_sc_LittC2SE", "device"] == "LittC2SE"
    assert frame.loc["101_1b1_Al_sc_Meditron", ["patient", "age", "sex"]].tolist() == ["101", 3.0, "F"]
    assert pd.isna(frame.loc["226_1b1_Pl_sc_LittC2SE", "age"])
    marks = frame[["crackles", "wheezes"]]
    assert marks.loc["226_1b1_Pl_sc_LittC2SE"].tolist() == ["yes", "no"]
    assert marks.loc["101_1b1_Al_sc_Meditron"].tolist() == ["", ""]
    (tmp_path / "ICBHI_Challenge_demographic_information.txt").unlink()
    assert icbhi.list_recordings(tmp_path, {})["age"].isna().all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ICBHI_Challenge_diagnosis.txt": "101\tURTI"}, "patient 226 has no line in ICBHI_Challenge_diagnosis"),
        ({"ICBHI_Challenge_diagnosis.txt": "101\tURTI\n101\tCOPD"}, "101 is both URTI and COPD"),
        ({"ICBHI_Challenge_diagnosis.txt": "101 URTI"}, "line 1 is not two cells"),
        ({"ICBHI_challenge_train_test.txt": "101_1b1_Al_sc_Meditron\ttest"}, "has no line in ICBHI_challenge"),
        ({"ICBHI_challenge_train_test.txt": "101_1b1_Al_sc_Meditron\tdev"}, "is 'dev'; it must be train or test"),
        ({"ICBHI_final_database/notes.wav": ""}, "an ICBHI name has five parts"),
        (
            {"ICBHI_final_database/101_1b1_Al_sc_Meditron.txt": "0\t1\t0\t2"},
            "line 1 is not a start, an end and two marks",
        ),
    ],
)
def test_icbhi_mistakes(tmp_path, changes, message):
    with pytest.raises(RespfmError, match=message):
        icbhi.list_recordings(write(tmp_path, icbhi_files(**changes)), {})


def test_hf_lung_takes_train_steth(tmp_path):
    names = ["V1/train/steth_1", "V1/train/trunc_1", "V1/test/steth_2", "V1_IP/train/steth_1", "V1/train/steth_9_label"]
    files = {f"{name}.wav": "" for name in names[:4]} | {f"{names[4]}.txt": ""}
    frame = hf_lung.list_recordings(write(tmp_path, files), {})
    assert frame["id"].tolist() == ["V1/train/steth_1", "V1_IP/train/steth_1"]
    both = hf_lung.list_recordings(tmp_path, {"parts": ["train", "test"], "prefix": "s"})
    assert both["part"].tolist() == ["test", "train", "train"]


def coswara_files() -> dict[str, str]:
    return {
        "combined_data.csv": (
            "id,a,covid_status,record_date,g,smoker\nu1,28,healthy,2020-04-13,male,True\n"
            "u2,,healthy,2020-04-15,female,\nu3,30,healthy,2021-04-15,other,n\n"
        ),
        "annotations/cough-shallow_labels.csv": "FILENAME, QUALITY\nu1_cough-shallow,2\nu2_cough-shallow,0\n",
        "20200413/u1/cough-shallow.wav": "",
        "20200413/u1/cough-heavy.wav": "",
        "Extracted_data/20200415/u2/cough-shallow.wav": "",
        "20200415/unknown/cough-shallow.wav": "",
    }


def test_coswara(tmp_path):
    frame = coswara.list_recordings(write(tmp_path, coswara_files()), {})
    assert frame["id"].tolist() == ["20200413/u1/cough-shallow", "20200415/u2/cough-shallow"]
    assert frame["patient"].tolist() == ["u1", "u2"]
    assert frame["quality"].tolist() == [2.0, 0.0]
    assert frame["answer_coding"].tolist() == ["True/False", ""]
    assert frame["row"].tolist() == [0, 1]
    both = coswara.list_recordings(tmp_path, {"sounds": ["cough-shallow", "cough-heavy"]})
    assert both["id"].tolist()[0] == "20200413/u1/cough-heavy"
    assert pd.isna(both["quality"].iloc[0])


def test_coswara_quality_is_checked(tmp_path):
    files = coswara_files() | {"annotations/cough-shallow_labels.csv": "FILENAME, QUALITY\nu1_cough-shallow,good\n"}
    with pytest.raises(RespfmError, match="quality of u1_cough-shallow is 'good'"):
        coswara.list_recordings(write(tmp_path, files), {})


@pytest.mark.parametrize(
    ("name", "diagnosis", "group"),
    [
        ("BP47_asthma,E W,P L M,60,M", "asthma", "asthma"),
        ("BP57_COPD,E W,P R L ,42,M", "COPD", "COPD"),
        ("DP3_copd,E W,P R L ,42,M", "copd", ""),
        ("EP10_Heart Failure + COPD,E W,P R L ,42,F", "Heart Failure + COPD", "COPD"),
        ("EP11_Asthma and lung fibrosis,C,P R L,90,F", "Asthma and lung fibrosis", "asthma"),
        ("EP12_N,N,A L U,31,M", "N", "healthy"),
        ("EP13_BRON,Crep,A L U,,M", "BRON", ""),
    ],
)
def test_kauh_names(tmp_path, name, diagnosis, group):
    frame = kauh.list_recordings(write(tmp_path, {f"Audio Files/{name}.wav": ""}), {})
    row = frame.iloc[0]
    assert (row["id"], row["path"]) == (name, f"Audio Files/{name}.wav")
    assert (row["diagnosis"], row["group"]) == (diagnosis, group)
    assert row["patient"] == name[2:].partition("_")[0]
    assert row["mode"] == name[:2]


def test_kauh_other_name(tmp_path):
    with pytest.raises(RespfmError, match="a KAUH name is"):
        kauh.list_recordings(write(tmp_path, {"XP1_N,N,A,1,M.wav": ""}), {})


def workbook(path: Path, rows: list[list]) -> None:
    book = openpyxl.Workbook()
    book.active.title = "Sayfa1"
    for row in rows:
        book.active.append(row)
    book.create_sheet("Sayfa2")
    book.create_sheet("Sayfa3")
    book.save(path)


@pytest.mark.parametrize("suffix", ["xlsx", "csv"])
def test_respiratory_tr_labels(tmp_path, suffix):
    write(tmp_path, {"RespiratoryDatabase@TR/H002_L1.wav": "", "RespiratoryDatabase@TR/H005_R6.wav": ""})
    if suffix == "xlsx":
        workbook(tmp_path / "Labels.xlsx", [["Patient ID", "Diagnosis"], ["H005", "COPD4"], ["H002 ", "COPD0"]])
    else:
        text = "\ufeffPatient ID,Diagnosis,\r\nH005,COPD4,\r\nH002,COPD0,\r\n"
        write(tmp_path, {"Labels.csv": text})
    frame = respiratory_tr.list_recordings(tmp_path, {})
    assert frame["id"].tolist() == ["H002_L1", "H005_R6"]
    assert frame["diagnosis"].tolist() == ["COPD0", "COPD4"]
    assert frame["row"].tolist() == [1, 0]
    assert frame["position"].tolist() == ["L1", "R6"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["Patient ID", "Diagnosis"], ["H002", "COPD7"]], "diagnosis of H002 is 'COPD7'"),
        ([["Patient", "Diagnosis"], ["H002", "COPD1"]], "has no sheet with the columns"),
        ([["Patient ID", "Diagnosis"], ["H002", "COPD1"], ["H002", "COPD1"]], "'H002' occurs more than once"),
    ],
)
def test_respiratory_tr_mistakes(tmp_path, rows, message):
    write(tmp_path, {"H002_L1.wav": ""})
    workbook(tmp_path / "Labels.xlsx", rows)
    with pytest.raises(RespfmError, match=message):
        respiratory_tr.list_recordings(tmp_path, {})


def test_folder_ids_labels_and_patients(tmp_path):
    names = [
        "001 - Dog bark/1-100032-A.ogg",
        "002 - Rain/ünï.flac",
        "top.wav",
        ".hidden.wav",
        "__MACOSX/._top.wav",
        "a.txt",
    ]
    frame = folder.list_recordings(write(tmp_path, dict.fromkeys(names, "")), {})
    assert frame["id"].tolist() == ["001 - Dog bark/1-100032-A", "002 - Rain/ünï", "top"]
    assert frame["label"].tolist() == ["001 - Dog bark", "002 - Rain", ""]
    assert frame["patient"].tolist() == ["", "", ""]


def test_a_data_set_and_the_command_take_the_same_files_of_a_folder(tmp_path):
    names = [
        "a.wav",
        "deep/er/B.AIFF",
        "deep/c.3gp",
        ".hidden/d.wav",
        ".e.wav",
        "__MACOSX/f.wav",
        "notes.txt",
        "g.wav/h",
    ]
    write(tmp_path, dict.fromkeys(names, ""))
    listed = folder.list_recordings(tmp_path, {})["path"].tolist()
    assert sorted(listed) == ["a.wav", "deep/c.3gp", "deep/er/B.AIFF"]
    assert sorted(list_audio([tmp_path])["id"]) == [str(tmp_path / path) for path in sorted(listed)]


def test_folder_patient_pattern(tmp_path):
    write(tmp_path, {"p07/visit1.wav": "", "p08/visit1.wav": ""})
    assert folder.list_recordings(tmp_path, {"patient_pattern": r"^(p\d+)/"})["patient"].tolist() == ["p07", "p08"]
    for pattern, message in [("(p07)", "does not match"), ("p", "has no group"), ("(", "not a regular expression")]:
        with pytest.raises(RespfmError, match=message):
            folder.list_recordings(tmp_path, {"patient_pattern": pattern})


def test_two_formats_of_one_name(tmp_path):
    with pytest.raises(RespfmError, match=r"a\.mp3 and a\.wav have one id"):
        folder.list_recordings(write(tmp_path, {"a.wav": "", "a.mp3": ""}), {})


def test_file_name_that_is_not_utf8(tmp_path):
    try:
        (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.wav"))).touch()
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    with pytest.raises(RespfmError, match="is not UTF-8; rename the file"):
        folder.list_recordings(tmp_path, {})


@pytest.mark.parametrize("kind", ["coughvid", "icbhi", "hf_lung", "coswara", "kauh", "respiratory_tr", "folder"])
def test_nothing_there(tmp_path, kind):
    module = importlib.import_module(f"respfm.curate.{kind}")
    with pytest.raises(RespfmError, match="retrieve"):
        module.list_recordings(tmp_path, {})
    with pytest.raises(RespfmError, match="is not a directory"):
        module.list_recordings(tmp_path / "absent", {})
