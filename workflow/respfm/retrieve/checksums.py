"""What is known of a remote file beforehand, and checking a local file against it."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from respfm.errors import RespfmError

_BLOCK = 1 << 20
_PUBLISHED = {"sha256": "publisher sha256", "git_blob": "publisher git object", "md5": "publisher md5"}


@dataclass(frozen=True)
class Expected:
    """Size in bytes and hexadecimal digests; `git_blob` is the file's object id in a git tree (SHA-1)."""

    bytes: int | None = None
    sha256: str | None = None
    git_blob: str | None = None
    md5: str | None = None
    source: str = ""

    @property
    def digest(self) -> str | None:
        """The strongest digest that is known."""
        return self.sha256 or self.git_blob or self.md5

    @property
    def against(self) -> str:
        """What a file that passes has been verified against."""
        return self.source or next((text for key, text in _PUBLISHED.items() if getattr(self, key)), "first use")


UNKNOWN = Expected()


def verify(path: Path, expected: Expected) -> str:
    """Compare a file with what is expected of it; return its SHA-256. RespfmError if size or digest differ."""
    size = path.stat().st_size
    if expected.bytes is not None and size != expected.bytes:
        raise RespfmError(f"{path} has {size} bytes instead of {expected.bytes}")
    digests = {"sha256": hashlib.sha256()}
    if expected.md5:
        digests["md5"] = hashlib.md5(usedforsecurity=False)
    if expected.git_blob:
        digests["git_blob"] = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    with open(path, "rb") as stream:
        while block := stream.read(_BLOCK):
            for running in digests.values():
                running.update(block)
    found = {name: running.hexdigest() for name, running in digests.items()}
    for name, value in found.items():
        wanted = getattr(expected, name)
        if wanted and value != wanted.lower():
            raise RespfmError(f"{path} has the {name} {value} instead of {wanted} ({expected.against})")
    return found["sha256"]
