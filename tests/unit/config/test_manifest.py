"""A manifest says in one line a file what `files` of config/datasets.yaml say in several."""

from pathlib import Path

import pytest
from respfm.config.manifest import read_manifest
from respfm.errors import RespfmError
from respfm.retrieve.registry import pieces_of

REPOSITORY = Path(__file__).resolve().parents[3]
BASE = "https://example.org/x/"


def read(folder: Path, text: str) -> list[dict]:
    """The files of a manifest."""
    path = folder / "files.txt"
    path.write_text(text)
    return read_manifest(path, BASE)


def test_files_archives_and_parts(tmp_path):
    sha, blob = "ab" * 32, ["01" * 20, "23" * 20]
    text = f"# a comment\n\ntable.csv\nlabels/a.csv sha256:{sha} 12\nin/b.zip\n"
    text += "".join(f"c/c.tar.gz.{part} git_blob:{digest}\n" for part, digest in zip(("aa", "ab"), blob, strict=True))
    assert read(tmp_path, text) == [
        {"url": BASE + "table.csv"},
        {"url": BASE + "labels/a.csv", "path": "labels/a.csv", "sha256": sha, "bytes": 12},
        {"url": BASE + "in/b.zip", "unpack": "zip"},
        {"url": BASE + "c/c.tar.gz", "unpack": "tar.gz", "parts": ["aa", "ab"], "git_blob": blob},
    ]


@pytest.mark.parametrize(
    "line",
    [
        "a.csv sha256:ab",
        f"a.csv sha512:{'ab' * 32}",
        "a.csv 12 12",
        "../a.csv",
        "a/../b",
        "/a.csv",
        "a.csv  12",
        "a b.csv",
    ],
)
def test_a_damaged_line_is_named(tmp_path, line):
    with pytest.raises(RespfmError, match=r"files\.txt: line 2 is damaged; write `<path> <sha256"):
        read(tmp_path, f"good.csv\n{line}\n")


@pytest.mark.parametrize("lines", ["a.csv\na.csv", "a.zip.01\na.zip.01", f"a.zip.01 md5:{'ab' * 16}\na.zip.02"])
def test_lines_that_do_not_go_together_are_named(tmp_path, lines):
    with pytest.raises(RespfmError, match="line 2 does not go with an earlier line of a"):
        read(tmp_path, lines)


def test_a_manifest_that_is_not_there(tmp_path):
    with pytest.raises(RespfmError, match=r"nowhere\.txt does not exist"):
        read_manifest(tmp_path / "nowhere.txt", BASE)


@pytest.mark.parametrize(("name", "remote"), [("coswara", 156), ("opera", 28)])
def test_every_file_of_the_shipped_manifests_can_be_verified(name, remote):
    files = read_manifest(REPOSITORY / "config" / "manifests" / f"{name}.txt", BASE)
    pieces = [piece for file in files for piece in pieces_of(file)]
    assert len({piece.name for piece in pieces}) == remote
    assert all(piece.expected.sha256 or piece.expected.git_blob for piece in pieces)
