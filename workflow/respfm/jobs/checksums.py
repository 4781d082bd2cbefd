"""Checksums: the SHA-256 of every file that a job wrote, beside it, compared by every job that reads the file.

The checksum of `recordings/kauh.parquet` is in `recordings/.kauh.parquet.sha256`, in the format of sha256sum, so that
`sha256sum -c` reads it too. A file without one (the user's own, or one that is still being written) is not checked.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from respfm.errors import RespfmError
from respfm.files import file_digest, write_text

PATTERN = ".*.sha256"


def checksum_of(path: str | Path) -> Path:
    """The file that holds the checksum of `path`."""
    path = Path(path)
    return path.with_name(f".{path.name}.sha256")


def file_of(checksum: Path) -> Path:
    """Inverse of `checksum_of`."""
    return checksum.with_name(checksum.name.removeprefix(".").removesuffix(".sha256"))


def write_checksums(paths: Iterable[str | Path]) -> None:
    """Write the checksums of finished files."""
    for path in map(Path, paths):
        write_text(checksum_of(path), f"{file_digest(path)}  {path.name}\n")


def content_digest(path: str | Path) -> str:
    """SHA-256 of `path`: its checksum, without reading the file, if it has one."""
    checksum = checksum_of(path)
    return _recorded(checksum) if checksum.is_file() else file_digest(path)


def damage(path: str | Path) -> str | None:
    """A sentence with the fix if `path` does not match its checksum."""
    checksum = checksum_of(path)
    if not checksum.is_file() or file_digest(path) == _recorded(checksum):
        return None
    return (
        f"{path} is damaged: its sha256 is not the one that was noted when it was written. Delete it and let snakemake "
        f"make it again, alone at first (`snakemake <same options> -- {path}`), so that what was made from it stays; "
        f"if you changed it yourself, delete {checksum} instead"
    )


def _recorded(checksum: Path) -> str:
    return checksum.read_text(encoding="utf-8", errors="replace").split(" ")[0]


def check_files(paths: Iterable[str | Path]) -> None:
    """Compare all files that have a checksum with it; RespfmError names those that are damaged."""
    with ThreadPoolExecutor() as pool:
        if found := [text for text in pool.map(damage, paths) if text]:
            raise RespfmError("\n".join(found))
