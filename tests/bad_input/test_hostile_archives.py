"""Hostile archives and workbooks leave nothing outside their folder, and fill neither disk nor memory."""

import io
import stat
import struct
import tarfile
import zipfile
from pathlib import Path

import py7zr
import pytest
from archive_files import make, make_split_zip
from respfm.curate import respiratory_tr
from respfm.errors import RespfmError
from respfm.retrieve.archives import unpack


def make_hostile(kind: str, path: Path, members: list[tuple[str, bytes, int]]) -> list[Path]:
    """An archive of (name, content, mode); links carry their target as content."""
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content, mode in members:
                info = zipfile.ZipInfo(name)
                info.external_attr = mode << 16
                archive.writestr(info, content)
        return [path]
    if kind == "zip-split":
        volumes = make_split_zip(path.parent, {name: content for name, content, _ in members}, 100_000)
        last = bytearray(volumes[-1].read_bytes())
        for _, _, mode in members:
            at = last.index(b"PK\x01\x02")
            struct.pack_into("<I", last, at + 38, mode << 16)
            last[at : at + 4] = b"done"
        volumes[-1].write_bytes(last.replace(b"done", b"PK\x01\x02"))
        return volumes
    types = {stat.S_IFLNK: tarfile.SYMTYPE, stat.S_IFCHR: tarfile.CHRTYPE, stat.S_IFIFO: tarfile.FIFOTYPE}
    with tarfile.open(path, "w:" + kind.removeprefix("tar").removeprefix(".")) as archive:
        for name, content, mode in members:
            info = tarfile.TarInfo(name)
            info.type = types.get(stat.S_IFMT(mode), tarfile.REGTYPE)
            if info.type == tarfile.REGTYPE:
                info.size = len(content)
            else:
                info.linkname = content.decode()
            archive.addfile(info, io.BytesIO(content))
    return [path]


OUTSIDE, LINK, TWICE = "lies outside the folder", "a link or device", "b twice"
ATTACKS = {
    "absolute path": (OUTSIDE, [("/tmp/respfm-PWNED", b"x", stat.S_IFREG | 0o644)]),
    "parent folder": (OUTSIDE, [("good/../../PWNED", b"x", stat.S_IFREG | 0o644)]),
    "symbolic link": (LINK, [("PWNED", b"/etc/passwd", stat.S_IFLNK | 0o777)]),
    "file through a link": (LINK, [("d", b"..", stat.S_IFLNK | 0o777), ("d/PWNED", b"x", stat.S_IFREG | 0o644)]),
    "device": (LINK, [("PWNED", b"", stat.S_IFCHR | 0o666)]),
    "pipe": (LINK, [("PWNED", b"", stat.S_IFIFO | 0o666)]),
    "one name twice": (TWICE, [("a/b", b"x", stat.S_IFREG | 0o644), ("a//b", b"y", stat.S_IFREG | 0o644)]),
}


@pytest.mark.parametrize("kind", ["zip", "zip-split", "tar", "tar.gz"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_hostile_members_are_refused(tmp_path, marker, kind, attack):
    reason, members = ATTACKS[attack]
    pieces = make_hostile(kind, tmp_path / "here" / "archive.zip", members)
    before = set(tmp_path.rglob("*"))
    with pytest.raises(RespfmError, match=reason):
        unpack(pieces, kind, tmp_path / "out")
    made = set(tmp_path.rglob("*")) - before
    assert all(path.is_relative_to(tmp_path / "out") and not path.is_symlink() for path in made)
    assert not Path("/tmp/respfm-PWNED").exists()


def test_hostile_members_of_a_7z_are_refused(tmp_path, marker):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "link").symlink_to("/etc/passwd")
    (tmp_path / "source" / "file").write_bytes(b"x")
    attacks = {
        "link": lambda archive: archive.writeall(tmp_path / "source", "source"),
        "twice": lambda archive: [archive.writestr(b"x", name) for name in ("a/b", "a//b")],
        "absolute": lambda archive: archive.writestr(b"x", "placeholder"),
        "parent": lambda archive: archive.writestr(b"x", "placeholder"),
    }
    for name, fill in attacks.items():
        with py7zr.SevenZipFile(tmp_path / f"{name}.7z", "w") as archive:
            fill(archive)
            for file, written in zip(archive.files, archive.header.files_info.files, strict=True):
                # The library refuses to write such names; an attacker's does not.
                wanted = {"absolute": "/tmp/respfm-PWNED", "parent": "a/../../here/PWNED"}.get(name)
                if wanted:
                    file._file_info["filename"] = written["filename"] = wanted
        with pytest.raises(RespfmError, match=OUTSIDE if name in ("absolute", "parent") else f"{LINK}|{TWICE}"):
            unpack([tmp_path / f"{name}.7z"], "7z", tmp_path / "out" / name)
        assert not [path for path in (tmp_path / "out").rglob("*") if path.is_symlink()]
    assert not Path("/tmp/respfm-PWNED").exists()


def test_a_hard_link_is_refused(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, kind in (("file", tarfile.REGTYPE), ("again", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "file"
            archive.addfile(info)
    with pytest.raises(RespfmError, match="'again', a link or device"):
        unpack([tmp_path / "a.tar"], "tar", tmp_path / "out")


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.xz", "tar.bz2", "7z"])
def test_a_bomb_is_not_unpacked(tmp_path, kind):
    archive = make(kind, tmp_path / "bomb", {f"zeros{n}": bytes(24 << 20) for n in range(3)})
    with pytest.raises(RespfmError, match="would unpack to more than"):
        unpack([archive], kind, tmp_path / "out")


def test_a_member_gives_no_more_than_the_archive_states(tmp_path):
    make("zip", tmp_path / "a.zip", {"zeros": bytes(1 << 20)})
    content = bytearray((tmp_path / "a.zip").read_bytes())
    struct.pack_into("<I", content, 22, 10)
    struct.pack_into("<I", content, content.index(b"PK\x01\x02") + 24, 10)
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(RespfmError):
        unpack([tmp_path / "a.zip"], "zip", tmp_path / "out")
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*")) <= 10


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_that_would_fill_the_memory_is_not_read(tmp_path, kind):
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz", compresslevel=1) as archive:
        info = tarfile.TarInfo("header")
        info.type, info.size = kind, 100 << 20
        archive.addfile(info, io.BytesIO(bytes(info.size)))
    with pytest.raises(RespfmError, match="a header of 104857600 bytes"):
        unpack([tmp_path / "a.tar.gz"], "tar.gz", tmp_path / "out")


def test_a_workbook_that_would_fill_the_memory_is_not_read(tmp_path):
    make("zip", tmp_path / "Labels.xlsx", {"xl/sharedStrings.xml": bytes(65 << 20)})
    with pytest.raises(RespfmError, match=r"Labels\.xlsx is not a readable Excel workbook \(it would unpack to more"):
        respiratory_tr.list_recordings(tmp_path, {})
