"""Unpacking of honest, damaged and hostile archives."""

import contextlib
import io
import random
import shutil
import stat
import struct
import subprocess
import tarfile
import zipfile
from pathlib import Path

import py7zr
import pytest
from archive_files import FILES, cut, make, make_split_zip, make_zip, read_tree
from respfm.errors import RespfmError
from respfm.retrieve.archives import archive_kind, unpack
from respfm.retrieve.volumes import JoinedFile


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.xz", "tar.bz2", "7z"])
@pytest.mark.parametrize("parts", [1, 7])
def test_names_and_bytes_come_out_as_they_went_in(tmp_path, kind, parts):
    archive = make(kind, tmp_path / "a", FILES)
    pieces = cut(archive, -(-archive.stat().st_size // parts))
    assert len(pieces) == parts
    assert unpack(pieces, kind, tmp_path / "out") == len(FILES)
    assert read_tree(tmp_path / "out") == FILES


@pytest.mark.parametrize("zip64", [False, True])
def test_split_zip_of_several_volumes(tmp_path, zip64):
    volumes = make_split_zip(tmp_path, FILES, 40_000, zip64)
    assert len(volumes) == 5
    unpack(volumes, "zip-split", tmp_path / "out")
    assert read_tree(tmp_path / "out") == FILES


def test_split_zip_beyond_four_gigabytes(tmp_path):
    """A member far inside the second of two volumes of 3 GiB, which are holes but for it."""
    whole = make_zip(tmp_path / "small.zip", {"far.txt": b"away"}).read_bytes()
    directory = whole.index(b"PK\x01\x02")
    entry = bytearray(whole[directory:])
    struct.pack_into("<H", entry, 34, 1)
    struct.pack_into("<I", entry, 42, 2_000_000_000)
    struct.pack_into("<2H", entry, entry.index(b"PK\x05\x06") + 4, 2, 2)
    struct.pack_into("<I", entry, entry.index(b"PK\x05\x06") + 16, 0)
    volumes = [tmp_path / "a.z01", tmp_path / "a.z02", tmp_path / "a.zip"]
    for volume in volumes[:2]:
        with open(volume, "wb") as stream:
            stream.truncate(3 << 30)
    with open(volumes[1], "r+b") as stream:
        stream.seek(2_000_000_000)
        stream.write(whole[:directory])
    volumes[2].write_bytes(entry)
    unpack(volumes, "zip-split", tmp_path / "out")
    assert read_tree(tmp_path / "out") == {"far.txt": b"away"}


@pytest.mark.skipif(shutil.which("zip") is None, reason="Info-ZIP is not installed")
def test_split_zip_made_by_info_zip(tmp_path):
    source = tmp_path / "source"
    files = {name.replace("ü", "ue"): content for name, content in FILES.items()}
    for name, content in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    subprocess.run(["zip", "-q", "-r", "-s", "64k", "../a.zip", "."], cwd=source, check=True)
    volumes = [*sorted(tmp_path.glob("a.z[0-9]*")), tmp_path / "a.zip"]
    assert len(volumes) == 3
    unpack(volumes, "zip-split", tmp_path / "out")
    assert read_tree(tmp_path / "out") == files


def test_kind_by_suffix():
    assert archive_kind("20200413.tar.gz") == "tar.gz"
    assert archive_kind("A b.ZIP") == "zip"
    assert archive_kind("train.7z") == "7z"
    with pytest.raises(RespfmError, match="does not end like an archive"):
        archive_kind("file_downloaded")


def test_missing_volume_of_a_split_zip(tmp_path):
    volumes = make_split_zip(tmp_path, FILES, 40_000)
    with pytest.raises(RespfmError, match="refers to volume 5 of a split zip, but only 4 were given"):
        unpack(volumes[1:], "zip-split", tmp_path / "out")


def test_joined_file_reads_like_one_file(tmp_path):
    content = random.Random(1).randbytes(10_000)
    (tmp_path / "whole").write_bytes(content)
    generator = random.Random(2)
    with JoinedFile([*cut(tmp_path / "whole", 999), b"tail"]) as joined:
        for _ in range(200):
            start, length = generator.randrange(10_100), generator.randrange(3000)
            joined.seek(start)
            read = (
                b"".join(iter(lambda n=length: joined.read(min(n, 100)), b"")) if length == 0 else joined.read(length)
            )
            assert (content + b"tail")[start:].startswith(read)
            assert read or start >= 10_004 or length == 0
        assert joined.seek(-4, io.SEEK_END) == 10_000
        assert joined.read() == b"tail"


HOSTILE_NAMES = ["../escaped", "a/../../escaped", "/tmp/respfm-escaped"]


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "7z"])
@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_nothing_is_written_outside(tmp_path, kind, name):
    archive = make(kind, tmp_path / "a", {"fine.txt": b"x", "placeholder": b"y"})
    if kind == "7z":
        archive.unlink()
        with py7zr.SevenZipFile(archive, "w") as seven:
            seven.writestr(b"y", "placeholder")
            next(iter(seven.files))._file_info["filename"] = name
            seven.header.files_info.files[0]["filename"] = name
    else:
        archive = make(kind, tmp_path / "b", {"fine.txt": b"x", name: b"y"})
    before = set(tmp_path.iterdir())
    with pytest.raises(RespfmError, match="lies outside the folder to unpack into"):
        unpack([archive], kind, tmp_path / "out")
    assert set(tmp_path.iterdir()) - before == {tmp_path / "out"}
    assert not Path("/tmp/respfm-escaped").exists()


@pytest.mark.parametrize(
    ("type", "target"),
    [
        (tarfile.SYMTYPE, "/etc/passwd"),
        (tarfile.SYMTYPE, "../../outside"),
        (tarfile.LNKTYPE, "../outside"),
        (tarfile.CHRTYPE, ""),
        (tarfile.FIFOTYPE, ""),
    ],
)
def test_tar_with_link_or_device_is_refused(tmp_path, type, target):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        info = tarfile.TarInfo("member")
        info.type, info.linkname = type, target
        archive.addfile(info)
    with pytest.raises(RespfmError, match="a link or device"):
        unpack([tmp_path / "a.tar"], "tar", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_zip_with_symbolic_link_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(RespfmError, match="a link or device"):
        unpack([tmp_path / "a.zip"], "zip", tmp_path / "out")


def test_7z_with_symbolic_link_is_refused(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "link").symlink_to("/etc/passwd")
    with py7zr.SevenZipFile(tmp_path / "a.7z", "w") as archive:
        archive.writeall(tmp_path / "source", "source")
    with pytest.raises(RespfmError, match="a link or device"):
        unpack([tmp_path / "a.7z"], "7z", tmp_path / "out")


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "7z"])
def test_bombs_are_refused(tmp_path, kind):
    archive = make(kind, tmp_path / "a", {f"zeros{n}": bytes(9 << 20) for n in range(8)})
    with pytest.raises(RespfmError, match="would unpack to more than"):
        unpack([archive], kind, tmp_path / "out")
    assert sum(len(content) for content in read_tree(tmp_path / "out").values()) <= 64 << 20


@pytest.mark.parametrize("kind", ["zip", "tar", "7z"])
def test_nothing_is_overwritten(tmp_path, kind):
    archive = make(kind, tmp_path / "a", {"same": b"new"})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "same").write_bytes(b"old")
    with pytest.raises(RespfmError, match="same twice"):
        unpack([archive], kind, tmp_path / "out")
    assert (tmp_path / "out" / "same").read_bytes() == b"old"


def test_resource_forks_of_macos_are_left_out(tmp_path):
    make_zip(tmp_path / "a.zip", {"AudioFiles/x.wav": b"x", "__MACOSX/AudioFiles/._x.wav": b"fork"})
    unpack([tmp_path / "a.zip"], "zip", tmp_path / "out")
    assert read_tree(tmp_path / "out") == {"AudioFiles/x.wav": b"x"}


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.xz", "tar.bz2", "7z", "zip-split"])
def test_truncated_and_garbled_archives_give_one_sentence(tmp_path, kind):
    """Damage anywhere ends in the project's own error, or does no harm."""
    pieces = make_split_zip(tmp_path, FILES, 100_000) if kind == "zip-split" else [make(kind, tmp_path / "a", FILES)]
    content = pieces[-1].read_bytes()
    generator = random.Random(3)
    refused = 0
    for trial in range(40):
        damaged = bytearray(content)
        if trial % 2:
            del damaged[generator.randrange(len(damaged)) :]
        else:
            for _ in range(3):
                damaged[generator.choice([-1, 1]) * generator.randrange(min(1000, len(damaged)))] ^= 0xFF
        (tmp_path / "damaged").write_bytes(damaged)
        with contextlib.suppress(RespfmError):
            unpack([*pieces[:-1], tmp_path / "damaged"], kind, tmp_path / f"out{trial}")
            refused -= 1
        refused += 1
    assert refused > 20
    (tmp_path / "damaged").write_bytes(b"<html>not found</html>")
    with pytest.raises(RespfmError) as caught:
        unpack([*pieces[:-1], tmp_path / "damaged"], kind, tmp_path / "out")
    assert "\n" not in str(caught.value)
