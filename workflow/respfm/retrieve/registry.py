"""What an entry of config/datasets.yaml says about its files."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from respfm.retrieve.checksums import Expected

_CHECKS = ("bytes", "sha256", "git_blob", "md5")


@dataclass(frozen=True)
class Piece:
    """One remote file: a whole file of the registry, or one part of it."""

    urls: tuple[str, ...]
    name: str
    expected: Expected


def file_name(file: dict) -> str:
    """Path of a registry file below its data set: `path`, or the last component of the URL."""
    return file.get("path") or PurePosixPath(unquote(urlsplit(file["url"]).path)).name


def pieces_of(file: dict) -> list[Piece]:
    """The remote files behind one entry of `files`; their names are paths below the data set's downloads."""
    name = file_name(file)
    urls = (file["url"], *file.get("alternatives", ()))
    if not file.get("parts"):
        return [Piece(urls, name, Expected(**{key: file[key] for key in _CHECKS if key in file}))]
    split_zip = file.get("unpack") == "zip-split"
    pieces = []
    for index, part in enumerate(file["parts"]):
        expected = Expected(**{key: file[key][index] for key in _CHECKS if key in file})
        named = [(base.rpartition(".")[0] if split_zip else base) + f".{part}" for base in (*urls, name)]
        pieces.append(Piece(tuple(named[:-1]), named[-1], expected))
    return pieces
