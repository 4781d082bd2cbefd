"""Seals: the SHA-256 of every file that a job wrote, beside it, checked by every job that reads it.

The seal of `recordings/kauh.parquet` is `recordings/.kauh.parquet.sha256`, in the format of sha256sum, so that
`sha256sum -c` reads it too. A file without a seal (the user's own, or one that is still being written) is not checked.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from respfm.errors import RespfmError
from respfm.files import file_digest, write_text

PATTERN = ".*.sha256"


def seal_of(path: str | Path) -> Path:
    """Where the seal of `path` is."""
    path = Path(path)
    return path.with_name(f".{path.name}.sha256")


def sealed_file(seal: Path) -> Path:
    """The file that `seal` belongs to."""
    return seal.with_name(seal.name.removeprefix(".").removesuffix(".sha256"))


def write_seals(paths: Iterable[str | Path]) -> None:
    """Seal finished files."""
    for path in map(Path, paths):
        write_text(seal_of(path), f"{file_digest(path)}  {path.name}\n")


def content_digest(path: str | Path) -> str:
    """SHA-256 of `path`: the one in its seal, without reading the file, if it has one."""
    seal = seal_of(path)
    return _sealed(seal) if seal.is_file() else file_digest(path)


def damage(path: str | Path) -> str | None:
    """A sentence with the cure if `path` is not what its seal says."""
    seal = seal_of(path)
    if not seal.is_file() or file_digest(path) == _sealed(seal):
        return None
    return (
        f"{path} is damaged: its sha256 is not the one that was noted when it was written. Delete it and let snakemake "
        f"make it anew, alone at first (`snakemake <same options> -- {path}`), so that what was made from it stays; if "
        f"you changed it yourself, delete {seal} instead."
    )


def _sealed(seal: Path) -> str:
    return seal.read_text(encoding="utf-8", errors="replace").split(" ")[0]


def check_seals(paths: Iterable[str | Path]) -> None:
    """Read all sealed files among `paths` and compare; RespfmError names those that are damaged."""
    with ThreadPoolExecutor() as pool:
        if found := [text for text in pool.map(damage, paths) if text]:
            raise RespfmError("\n".join(found))
