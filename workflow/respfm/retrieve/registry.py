"""What an entry of config/datasets.yaml says about its files."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from respfm.errors import RespfmError
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
    """The remote files behind one entry of `files`; their names are paths below the data set's downloads.

    Raises RespfmError if a file in parts has not as many digests or sizes as parts.
    """
    name = file_name(file)
    urls = (file["url"], *file.get("alternatives", ()))
    checks = {key: file[key] for key in _CHECKS if key in file}
    if "parts" not in file:
        return [Piece(urls, name, Expected(**checks))]
    for key, values in checks.items():
        if not isinstance(values, list) or len(values) != len(file["parts"]):
            raise RespfmError(f"{file['url']} is published in {len(file['parts'])} parts: give as many values of {key}")
    split_zip = file.get("unpack") == "zip-split"
    pieces = []
    for index, part in enumerate(file["parts"]):
        named = [f"{base.rpartition('.')[0] if split_zip else base}.{part}" for base in (*urls, name)]
        expected = Expected(**{key: values[index] for key, values in checks.items()})
        pieces.append(Piece(tuple(named[:-1]), named[-1], expected))
    return pieces
