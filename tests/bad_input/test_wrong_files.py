"""Wrong archives, interpreters and specs: the message names the thing and the fix."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from respfm.errors import RespfmError
from respfm.retrieve.dataset import fetch_dataset
from respfm.retrieve.download import Patience
from respfm.retrieve.finder import Finder
from workspace import REPOSITORY

FILE = "https://example.org/data/corpus.zip"
HURRY = Patience(attempts=2, first_wait=0.01, longest_wait=0.01, connect=1, stall=1)


def retrieval_error(tmp_path: Path, content: bytes | None, offline: bool = True, **mirror: str) -> str:
    """What is said when a data set of one zip is looked for in a mirror that holds `content`."""
    archive = tmp_path / "mirror" / "example.org" / "data" / "corpus.zip"
    archive.parent.mkdir(parents=True)
    if content is not None:
        archive.write_bytes(content)
    (tmp_path / "mirror" / "SUMS.csv").write_text(f"path,sha256,bytes\nexample.org/data/corpus.zip,{'0' * 64},\n")
    entry = {"title": "Corpus", "files": [{"url": FILE, "unpack": "zip"}]}
    mirrors = [{"path": str(tmp_path / "mirror"), **mirror}]
    finder = Finder(tmp_path / "downloads" / "corpus", mirrors, offline, patience=HURRY)
    with pytest.raises(RespfmError) as caught:
        fetch_dataset("corpus", entry, tmp_path / "raw" / "corpus", finder)
    assert not (tmp_path / "raw" / "corpus").exists()
    return str(caught.value)


def test_an_archive_with_another_checksum(tmp_path):
    text = retrieval_error(tmp_path, b"PK\x03\x04", checksums="SUMS.csv")
    assert str(tmp_path / "mirror") in text
    assert "sha256" in text
    assert "replace it" in text


def test_a_web_page_in_the_place_of_an_archive(tmp_path):
    text = retrieval_error(tmp_path, b"<html><body>Please sign in</body></html>")
    assert "corpus.zip" in text
    assert "is a web page, not a zip archive" in text


def test_an_archive_that_no_mirror_has(tmp_path):
    text = retrieval_error(tmp_path, None)
    assert FILE in text
    assert "put the file at" in text


def test_a_mirror_with_a_closed_port(tmp_path):
    text = retrieval_error(tmp_path, None, offline=False, path="http://127.0.0.1:9", checksums="SUMS.csv")
    assert "SUMS.csv of the mirror http://127.0.0.1:9 cannot be read" in text


@pytest.mark.parametrize(
    ("interpreter", "said"),
    [
        ("no-such-python", "no-such-python is not here; set PYTHON=<Python 3.11 or newer>"),
        ("./old-python", "./old-python is too old, respfm needs Python 3.11 or newer; set PYTHON="),
    ],
)
def test_make_without_a_python_that_will_do(tmp_path, interpreter, said):
    (tmp_path / "envs").mkdir()
    for name in ("Makefile", "pyproject.toml", "envs/lock.txt"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    old = tmp_path / "old-python"
    pretend = "import sys; sys.version_info = (3, 9, 18); exec(sys.argv[1])"
    old.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{pretend}' \"$2\"\n")
    old.chmod(old.stat().st_mode | stat.S_IXUSR)
    done = subprocess.run(
        ["make", "demo", f"PYTHON={interpreter}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={key: value for key, value in os.environ.items() if not key.startswith("MAKE")},
    )
    assert done.returncode
    assert said in done.stderr
    assert not (tmp_path / ".venv").exists()


@pytest.mark.slow
def test_make_completes_an_environment_without_pip(tmp_path):
    """As Debian's Python leaves it behind where the package python3-venv is missing."""
    for name in ("Makefile", "pyproject.toml"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "lock.txt").write_text("./nothing-to-install\n")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / ".venv"], check=True)
    done = subprocess.run(
        ["make", "setup", f"PYTHON={sys.executable}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={key: value for key, value in os.environ.items() if not key.startswith("MAKE")},
    )
    assert "(from line 1 of envs/lock.txt)" in done.stderr
    assert (tmp_path / ".venv" / "bin" / "pip").is_file()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "spec.json cannot be read (No such file or directory)"),
        ("{", "spec.json is not JSON"),
        ("[]", "spec.json lacks run, mixture"),
        ('{"run": {}}', "lacks mixture, shards, statistics, outdir"),
    ],
    ids=["no file", "no JSON", "a list", "keys missing"],
)
def test_a_pretraining_rank_without_its_spec(tmp_path, monkeypatch, capsys, content, said):
    from respfm.pretrain.__main__ import main as train

    path = tmp_path / "spec.json"
    if content is not None:
        path.write_text(content)
    monkeypatch.setattr(sys, "argv", ["respfm.pretrain", "--spec", str(path)])
    assert train() == 1
    assert said in capsys.readouterr().err
