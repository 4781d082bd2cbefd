"""Unpacking without trust: nothing outside the target, no links, devices or bombs; names kept verbatim."""

import contextlib
import errno
import functools
import io
import lzma
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from tqdm import tqdm

from respfm.errors import RespfmError, why_not_written
from respfm.retrieve.volumes import open_joined, open_split_zip

KINDS = ("zip", "zip-split", "7z", "tar", "tar.gz", "tar.xz", "tar.bz2")
LARGEST_RATIO = 100
SMALLEST_BOUND = 64 << 20
LARGEST_HEADER = 1 << 20
_BLOCK = 1 << 20
_NAMES_AND_ATTRIBUTES = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_DAMAGE = (
    EOFError,
    NotImplementedError,
    ValueError,
    lzma.LZMAError,
    struct.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)


class _Entry(tarfile.TarInfo):
    """A tar header; one that announces a name or attributes of more than `LARGEST_HEADER` bytes is not read."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Entry":
        entry = super().frombuf(buf, encoding, errors)
        if entry.type in _NAMES_AND_ATTRIBUTES and entry.size > LARGEST_HEADER:
            raise tarfile.ReadError(f"a header of {entry.size} bytes")
        return entry


@dataclass(frozen=True)
class Member:
    """One entry of an archive; `open` gives its content and is None for a directory."""

    name: str
    size: int
    open: Callable[[], BinaryIO] | None


def archive_kind(name: str) -> str:
    """The kind of an archive by its suffix; RespfmError if that is of none of `KINDS`."""
    kinds = [kind for kind in KINDS if name.lower().endswith(f".{kind}")]
    if not kinds:
        raise RespfmError(f"{name} does not end like an archive: give `unpack` as one of {', '.join(KINDS)}")
    return kinds[0]


def unpack(paths: Sequence[Path], kind: str, directory: Path) -> int:
    """Unpack the archive that `paths` hold in pieces into `directory`; return the number of files.

    `kind` is one of `KINDS`; the pieces of a zip-split are its volumes .z01, .z02, ..., .zip.
    Directories may exist already, files may not. AppleDouble files (`__MACOSX/`) are left out. The archive
    may not grow to more than `LARGEST_RATIO` times its size (small ones: `SMALLEST_BOUND` bytes), nor to more
    than the free space. Raises RespfmError if the archive is damaged, hostile, too large, or would overwrite a file;
    what was written before is left to the caller to remove.
    """
    name = str(paths[0])
    directory.mkdir(parents=True, exist_ok=True)
    packed = sum(path.stat().st_size for path in paths)
    bound = min(max(SMALLEST_BOUND, LARGEST_RATIO * packed), shutil.disk_usage(directory).free)
    try:
        if kind == "7z":
            return _unpack_7z(paths, directory, bound, name)
        with _open_members(paths, kind) as members:
            bar = tqdm(members, desc=f"unpack {paths[0].name}", unit=" files", disable=None)
            return _write_members(bar, directory, bound, name)
    except _DAMAGE as error:
        raise _damaged(name, kind, error) from error
    except FileExistsError as error:
        raise RespfmError(f"{name} would write {error.filename} twice") from error
    except OSError as error:
        reason = why_not_written(error) or error
        raise RespfmError(f"{name} cannot be unpacked into {directory}: {reason} and run again") from error


def _write_members(members: Iterable[Member], directory: Path, bound: int, name: str) -> int:
    files = total = 0
    for member in members:
        target = _target(directory, member.name, name)
        if target is None:
            continue
        if member.open is None:
            target.mkdir(parents=True, exist_ok=True)
            continue
        total += member.size
        _check_bound(total, bound, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        with member.open() as source, open(target, "xb") as sink:
            _copy(source, sink, member, name)
        files += 1
    return files


def _copy(source: BinaryIO, sink: BinaryIO, member: Member, name: str) -> None:
    written = 0
    while block := source.read(_BLOCK):
        written += len(block)
        if written > member.size:
            break
        sink.write(block)
    if written != member.size:
        raise RespfmError(f"{name}: {member.name} does not have the {member.size} bytes that the archive states")


def _check_bound(total: int, bound: int, name: str) -> None:
    if total > bound:
        raise RespfmError(
            f"{name} would unpack to more than {bound} bytes, which is more than the disk has free or than "
            "an honest archive of its size holds: free some space, or do not trust this file"
        )


def _target(directory: Path, member: str, name: str) -> Path | None:
    """Where a member goes, None for what is left out; RespfmError if its name is absolute or leaves the directory.

    `tarfile` and `zipfile` would write such a member under another name.
    """
    pure = PurePosixPath(member)
    if pure.is_absolute() or ".." in pure.parts or "\0" in member:
        raise RespfmError(
            f"{name} holds {member!r}, which lies outside the folder to unpack into: do not trust this file"
        )
    if not pure.parts or pure.parts[0] == "__MACOSX":
        return None
    return directory / pure


@contextlib.contextmanager
def _open_members(paths: Sequence[Path], kind: str) -> Iterator[Iterator[Member]]:
    if kind.startswith("zip"):
        with (
            (open_split_zip if kind == "zip-split" else open_joined)(paths) as stream,
            zipfile.ZipFile(stream) as archive,
        ):
            yield _zip_members(archive)
    else:
        mode: Any = "r:" + kind.removeprefix("tar").removeprefix(".")
        with open_joined(paths) as stream, tarfile.open(fileobj=stream, mode=mode, tarinfo=_Entry) as archive:
            yield _tar_members(archive)


def _zip_members(archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        mode = info.external_attr >> 16
        if info.flag_bits & 1:
            raise _encrypted(info.filename)
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _special(info.filename)
        opener: Any = None if info.is_dir() else functools.partial(archive.open, info)
        yield Member(info.filename, info.file_size, opener)


def _tar_members(archive: tarfile.TarFile) -> Iterator[Member]:
    for info in archive:
        if not (info.isreg() or info.isdir()):
            raise _special(info.name)
        opener: Any = None if info.isdir() else functools.partial(archive.extractfile, info)
        yield Member(info.name, info.size, opener)
    if isinstance(archive.fileobj, io.BufferedReader):
        archive.fileobj.seek(archive.offset)
        if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("the mark of its end is missing")


def _damaged(name: str, kind: str, error: Exception) -> RespfmError:
    with open(name, "rb") as stream:
        if stream.read(256).lstrip().lower().startswith((b"<!doctype html", b"<html")):
            return RespfmError(f"{name} is a web page, not a {kind} archive: delete it and fetch the file itself")
    return RespfmError(f"{name} is not a whole {kind} archive ({error}): delete it and fetch it again")


def _encrypted(name: str) -> RespfmError:
    return RespfmError(f"{name} is encrypted: unpack it by hand and name the folder in `local:`")


def _special(member: str) -> RespfmError:
    return RespfmError(
        f"the archive holds {member!r}, a link or device, which no data set needs: do not trust this file"
    )


def _unpack_7z(paths: Sequence[Path], directory: Path, bound: int, name: str) -> int:
    import py7zr
    from py7zr.exceptions import ArchiveError

    try:
        with open_joined(paths) as stream, py7zr.SevenZipFile(stream) as archive:
            if archive.needs_password():
                raise _encrypted(name)
            targets: dict[Path, str] = {}
            total = 0
            for info in archive.files:
                if not (info.is_directory or info.is_file):
                    raise _special(info.filename)
                target = _target(directory, info.filename, name)
                if target is None or info.is_directory:
                    continue
                if target in targets or target.exists():
                    raise FileExistsError(errno.EEXIST, "exists", str(target))
                targets[target] = info.filename
                total += info.uncompressed
                _check_bound(total, bound, name)
            archive.extract(directory, targets=list(targets.values()))
    except ArchiveError as error:
        raise _damaged(name, "7z", error) from error
    for target in targets:
        target.chmod(0o644)
    return len(targets)
