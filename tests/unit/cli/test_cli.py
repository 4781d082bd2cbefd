"""The command `respfm`, run in this process on small real files."""

import shlex
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import soundfile
from respfm.cli.main import main
from respfm.embed.dataset import embed_dataset, read_embeddings
from respfm.encoders import load_encoder
from respfm.jobs.checksums import write_checksums
from respfm.logmel.build import write_shard

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def recordings(tmp_path) -> Path:
    """A folder with three tones of different rate and length, and a file that is no audio."""
    folder = tmp_path / "my recordings"
    folder.mkdir()
    for name, rate, seconds in (("a", 16000, 1.0), ("b", 8000, 12.5), ("c,d ", 44100, 0.4)):
        time = np.arange(int(rate * seconds)) / rate
        soundfile.write(folder / f"{name}.wav", 0.1 * np.sin(2 * np.pi * 300 * time), rate)
    (folder / "broken.wav").write_bytes(b"no audio")
    return folder


def test_embed_gives_the_numbers_of_the_workflow_and_lists_bad_files(recordings, tmp_path, capsys):
    out = tmp_path / "out.h5"
    assert main(["embed", str(recordings), "--model", "logmel_stats", "--device", "cpu", "-o", str(out)]) == 0
    assert "broken.wav" in capsys.readouterr().err
    ids, vectors = read_embeddings(out, ["statistics"])
    assert [Path(name).name for name in ids] == ["a.wav", "b.wav", "c,d .wav"]

    table = pd.DataFrame({"id": ids, "path": [Path(name).name for name in ids]})
    embed_dataset(load_encoder("logmel_stats"), table, recordings, "strict", tmp_path / "workflow.h5", batch_size=1)
    assert np.allclose(
        vectors["statistics"], read_embeddings(tmp_path / "workflow.h5", ["statistics"])[1]["statistics"]
    )


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_embed_writes_tables(recordings, tmp_path, suffix):
    out = tmp_path / f"out.{suffix}"
    assert main(["embed", str(recordings / "a.wav"), "--model", "logmel_stats", "--device", "cpu", "-o", str(out)]) == 0
    table = pd.read_csv(out) if suffix == "csv" else pd.read_parquet(out)
    assert table.shape == (1, 161)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere.wav", "--model", "logmel_stats", "-o", "x.h5"], "nowhere.wav does not exist"),
        (["a.wav", "--model", "m2d_dmo", "-o", "x.h5"], "did you mean 'm2d_demo'?"),
        (["a.wav", "--model", "logmel_stats", "-o", "x.txt"], "write embeddings to a file .h5, .csv or .parquet"),
        (["a.wav", "--model", "logmel_stats", "--layer", "block3", "-o", "x.h5"], "has no layer 'block3'"),
        (["broken.wav", "--model", "logmel_stats", "-o", "x.h5"], "none of the 1 recordings can be used"),
    ],
)
def test_embed_says_what_is_wrong(recordings, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(recordings)
    assert main(["embed", *arguments, "--device", "cpu"]) == 1
    assert sentence in capsys.readouterr().err
    assert not list(recordings.glob("x.*"))


def test_embed_refuses_weights_that_are_not_the_published_ones(recordings, tmp_path, capsys):
    (tmp_path / "encoder-operaCT.ckpt").write_bytes(b"something else")
    command = ["embed", str(recordings), "--model", "opera_ct", "--device", "cpu", "-o", str(tmp_path / "x.h5")]
    assert main([*command, "--checkpoint", str(tmp_path / "encoder-operaCT.ckpt")]) == 1
    error = capsys.readouterr().err
    assert "encoder-operaCT.ckpt has the sha256" in error
    assert "instead of 83c35b43" in error
    assert "get it again, or give a checkpoint of your own" in error


def test_store_shows_and_checks_a_shard(recordings, tmp_path, capsys):
    shard = tmp_path / "000.h5"
    write_shard(shard, ["a", "b"], [recordings / "a.wav", recordings / "b.wav"], {}, min_seconds=2.0)
    assert main(["store", "show", str(shard)]) == 0
    assert "float16" in capsys.readouterr().out
    assert main(["store", "check", str(shard)]) == 0
    assert capsys.readouterr().out == f"{shard}: of full length; no checksum beside it to compare with\n"
    write_checksums([shard])
    assert main(["store", "check", str(shard)]) == 0
    assert capsys.readouterr().out == f"{shard}: whole\n"
    content = bytearray(shard.read_bytes())
    content[-10] ^= 1
    shard.write_bytes(content)
    assert main(["store", "check", str(shard)]) == 1
    assert f"{shard} is damaged" in capsys.readouterr().err


def test_plan_lists_downloads_and_what_to_get_by_hand(capsys):
    assert main(["plan", "--configfile", str(REPOSITORY / "config" / "paper.yaml")]) == 0
    text = capsys.readouterr().out
    assert "audioset" in text
    assert "by hand" in text
    assert "GPU hours" in text


def test_a_reader_may_go_away():
    code = "import time; from respfm.cli.main import main; time.sleep(1); raise SystemExit(main(['plan']))"
    command = f"{sys.executable} -c {shlex.quote(code)} | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stderr == ""


def test_doctor_finds_a_damaged_shard_and_a_left_over(tmp_path, capsys):
    config = (REPOSITORY / "config" / "config.yaml").read_text().replace("results/demo", str(tmp_path / "results"))
    path = tmp_path / "config.yaml"
    path.write_text(config)
    shard = tmp_path / "results" / "logmel" / "icbhi" / "000.h5"
    shard.parent.mkdir(parents=True)
    with h5py.File(shard, "w") as file:
        file["frames"] = np.zeros(3)
    left_over = tmp_path / "results" / "tables" / ".table1.123.tmp.csv"
    left_over.parent.mkdir()
    left_over.touch()
    assert main(["doctor", "--configfile", str(path)]) == 1
    text = capsys.readouterr().out
    assert str(shard) in text
    assert str(left_over) in text


def test_a_configuration_that_does_not_exist(capsys):
    assert main(["plan", "--configfile", "nowhere.yaml"]) == 1
    assert "nowhere.yaml does not exist" in capsys.readouterr().err
