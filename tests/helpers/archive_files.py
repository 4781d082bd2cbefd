"""Archives of every kind that publishers use, whole and in parts."""

import io
import random
import struct
import tarfile
import zipfile
from pathlib import Path

import py7zr

# KAUH's names hold commas and blanks, also before the suffix and at the end of a folder's name.
FILES = {
    "Audio Files/BP1_Asthma,I E W,P L L,70,M.wav": b"one" * 5000,
    "Audio Files/EP4_Heart Failure + Lung Fibrosis ,I C,P R L ,72,F.wav": random.Random(0).randbytes(150_000),
    "Audio Files/Schlüssel/leer.txt": b"",
    "folder /x .txt": b"trailing blanks",
}


def read_tree(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def make_tar(path: Path, files: dict[str, bytes], mode: str) -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def make_7z(path: Path, files: dict[str, bytes]) -> Path:
    with py7zr.SevenZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(content, name)
    return path


def make(kind: str, path: Path, files: dict[str, bytes]) -> Path:
    if kind == "zip":
        return make_zip(path, files)
    if kind == "7z":
        return make_7z(path, files)
    return make_tar(path, files, "w:" + kind.removeprefix("tar").removeprefix("."))


def cut(path: Path, size: int) -> list[Path]:
    """Cut a file into parts of `size` bytes as split(1) does."""
    content = path.read_bytes()
    parts = []
    for number, start in enumerate(range(0, len(content), size)):
        parts.append(path.with_name(f"{path.name}.{number:03d}"))
        parts[-1].write_bytes(content[start : start + size])
    return parts


def make_split_zip(directory: Path, files: dict[str, bytes], size: int, zip64: bool = False) -> list[Path]:
    """Volumes as Info-ZIP writes them: a spanning mark first, positions as (volume, offset) in the directory."""
    body, places = b"PK\x07\x08", []
    for name, content in files.items():
        places.append(len(body))
        single = io.BytesIO()
        with zipfile.ZipFile(single, "w") as archive:
            archive.writestr(zipfile.ZipInfo(name), content)
            end = archive.start_dir
        body += single.getvalue()[:end]
    directory_at = len(body)
    for (name, content), place in zip(files.items(), places, strict=True):
        encoded = name.encode()
        extra, offset = b"", place % size
        if zip64:
            extra, offset = struct.pack("<2HQ", 1, 8, offset), 0xFFFFFFFF
        fields = (0x314, 20, 0x800, 0, 0, 33, zipfile.crc32(content), len(content), len(content), len(encoded))
        body += struct.pack("<4s6H3I", b"PK\x01\x02", *fields[:9])
        body += struct.pack("<5H2I", len(encoded), len(extra), 0, place // size, 0, 0o644 << 16, offset)
        body += encoded + extra
    length = len(body) - directory_at
    last, start = divmod(directory_at, size)
    count = len(files)
    if zip64:
        record = len(body)
        body += struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, last, last, count, count, length, start)
        body += struct.pack("<4sIQI", b"PK\x06\x07", record // size, record % size, last + 1)
        body += struct.pack("<4s4H2IH", b"PK\x05\x06", last, last, count, count, length, 0xFFFFFFFF, 0)
    else:
        body += struct.pack("<4s4H2IH", b"PK\x05\x06", last, last, count, count, length, start, 0)
    blocks = [body[i : i + size] for i in range(0, len(body), size)]
    volumes = [directory / f"a.z{n + 1:02d}" for n in range(len(blocks) - 1)] + [directory / "a.zip"]
    for path, block in zip(volumes, blocks, strict=True):
        path.write_bytes(block)
    return volumes
