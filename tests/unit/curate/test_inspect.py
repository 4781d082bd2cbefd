"""Inspection of real sound files, good and bad, and the counts that stop a run."""

import os
import signal
import zipfile

import numpy as np
import pandas as pd
import pytest
import soundfile
from respfm.curate import icbhi, kauh
from respfm.curate.inspect import check_recordings, inspect_recordings, summarise
from respfm.errors import RespfmError

COLUMNS = ["id", "path", "patient", "sample_rate", "channels", "seconds", "peak", "quarantine"]


def listed(root) -> pd.DataFrame:
    names = sorted(path.name for path in root.iterdir())
    return pd.DataFrame({"id": [name.partition(".")[0] for name in names], "path": names, "patient": ""})


@pytest.fixture
def folder(tmp_path):
    tone = 0.5 * np.sin(np.arange(4000) / 10).astype(np.float32)
    soundfile.write(tmp_path / "a_mono.wav", tone, 4000)
    soundfile.write(tmp_path / "b_stereo.flac", np.stack([tone, tone], axis=1), 8000)
    soundfile.write(tmp_path / "c_silent.wav", np.zeros(100), 16000)
    soundfile.write(tmp_path / "d_header.wav", np.zeros(0), 16000)
    (tmp_path / "e_zero.wav").touch()
    (tmp_path / "f_text.wav").write_text("this is no sound")
    (tmp_path / "g_cut.wav").write_bytes((tmp_path / "a_mono.wav").read_bytes()[:3000])
    return tmp_path


def test_every_recording_is_described(folder):
    frame = inspect_recordings(listed(folder).assign(status="x"), folder)
    assert frame.columns.tolist() == [*COLUMNS, "status"]
    rows = frame.set_index("id")
    assert rows.loc["a_mono", COLUMNS[3:6]].tolist() == [4000, 1, 1.0]
    assert rows.loc["a_mono", "peak"] == pytest.approx(0.5, abs=1e-3)
    assert rows.loc["b_stereo", COLUMNS[3:6]].tolist() == [8000, 2, 0.5]
    assert rows.loc[["a_mono", "b_stereo"], "quarantine"].tolist() == ["", ""]
    assert rows.loc["c_silent", "quarantine"] == "silent"
    assert rows.loc["d_header", "quarantine"] == "empty"
    assert rows.loc["e_zero", "quarantine"] == "empty"
    assert rows.loc["f_text", "quarantine"].startswith("unreadable")
    assert rows.loc["g_cut", "quarantine"] == "truncated"
    kinds = frame.dtypes[["sample_rate", "channels", "seconds", "peak"]].astype(str).tolist()
    assert kinds == ["int32", "int16", "float64", "float32"]


def test_number_of_workers_changes_nothing(folder, tmp_path):
    one, three = (inspect_recordings(listed(folder), folder, workers=workers) for workers in (1, 3))
    one.to_parquet(tmp_path / "one.parquet")
    three.to_parquet(tmp_path / "three.parquet")
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "three.parquet").read_bytes()


class Killer(os.PathLike):
    """A path that ends the process that opens it, as a crash in a decoder would."""

    def __fspath__(self):
        os.kill(os.getpid(), signal.SIGSEGV)


def test_recording_that_kills_its_process_is_quarantined(folder):
    frame = listed(folder)
    frame["path"] = frame["path"].astype(object)
    assert frame["id"].iloc[1] == "b_stereo"
    frame.at[1, "path"] = Killer()
    rows = inspect_recordings(frame, folder, workers=2).set_index("id")
    assert rows.loc["b_stereo", "quarantine"] == "unreadable: the decoder crashed"
    assert rows.loc["a_mono", "quarantine"] == ""
    assert rows.loc["g_cut", "quarantine"] == "truncated"


def frame_of(quarantine: list[str]) -> pd.DataFrame:
    size = len(quarantine)
    ids, patients = [f"r{i}" for i in range(size)], [f"p{i // 2}" for i in range(size)]
    return pd.DataFrame({"id": ids, "patient": patients, "seconds": 1800.0, "quarantine": quarantine})


def test_summary_counts_reasons(caplog):
    frame = frame_of(["", "", "silent", "empty", "silent", ""])
    with caplog.at_level("INFO"):
        check_recordings("x", frame, {}, max_quarantine_share=0.5)
    assert summarise(frame) == {"recordings": 6, "patients": 3, "hours": 3.0, "quarantined": 3, "empty": 1, "silent": 2}
    assert "x: recordings 6, patients 3, hours 3, quarantined 3, empty 1, silent 2" in caplog.text


def test_expected_counts():
    frame = frame_of([""] * 6)
    check_recordings("x", frame, {"recordings": 6, "patients": 3})
    with pytest.raises(RespfmError, match="x: recordings: expected 1,000, found 6; retrieve the data set again"):
        check_recordings("x", frame, {"recordings": 1000})
    check_recordings("x", frame, {"recordings": 1000}, allow_partial=True)
    with pytest.raises(RespfmError, match="expected 2, found 3; this is another version"):
        check_recordings("x", frame, {"patients": 2}, allow_partial=True)
    with pytest.raises(RespfmError, match="expected names 'hours'; it can name"):
        check_recordings("x", frame, {"hours": 3})


def test_too_many_bad_recordings_stop_the_run():
    frame = frame_of(["", "silent", "empty", ""])
    check_recordings("x", frame, {}, max_quarantine_share=0.5)
    with pytest.raises(RespfmError, match=r"2 of 4 recordings cannot be used \(r1: silent; r2: empty\)"):
        check_recordings("x", frame, {}, max_quarantine_share=0.4)


def test_real_recordings(shared_data, tmp_path):
    sample = shared_data / "real-sample"
    with zipfile.ZipFile(sample / "kauh/AudioFiles.zip") as archive:
        archive.extractall(tmp_path / "kauh", archive.namelist()[:12])
    frame = inspect_recordings(kauh.list_recordings(tmp_path / "kauh", {}), tmp_path / "kauh")
    assert (frame["sample_rate"] == 4000).all()
    assert (frame["seconds"] == 10).all()
    assert (frame["quarantine"] == "").all()
    with zipfile.ZipFile(sample / "icbhi/ICBHI_final_database.zip") as archive:
        archive.extractall(tmp_path / "icbhi", archive.namelist()[:8])
    for name in ("ICBHI_Challenge_diagnosis.txt", "ICBHI_challenge_train_test.txt"):
        (tmp_path / "icbhi" / name).symlink_to(sample / "icbhi" / name)
    frame = inspect_recordings(icbhi.list_recordings(tmp_path / "icbhi", {}), tmp_path / "icbhi")
    manifest = pd.read_csv(sample / "icbhi/RECORDINGS.csv").set_index("recording")
    assert frame["seconds"].tolist() == pytest.approx(manifest.loc[frame["id"], "seconds"].tolist())
    assert frame["peak"].tolist() == pytest.approx(manifest.loc[frame["id"], "peak"].tolist(), rel=1e-4)
