"""Where a remote file is found: mirrors that are directories, earlier downloads, other mirrors, its address."""

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from respfm.errors import RespfmError
from respfm.files import write_text
from respfm.retrieve.checksums import Expected, verify
from respfm.retrieve.download import PATIENCE, Patience, download, read_text
from respfm.retrieve.mirror import Mirror
from respfm.retrieve.registry import Piece

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Obtained:
    """A verified local copy of a remote file.

    `against` is what it was verified against, "first use" if nothing was known of it; `fresh`: downloaded just now.
    """

    piece: Piece
    path: Path
    url: str
    sha256: str
    against: str
    origin: str
    fresh: bool = False

    def record(self) -> dict[str, str | int]:
        """What `.sources.json` says of it."""
        stat = self.path.stat()
        return {
            "url": self.url,
            "path": self.piece.name,
            "bytes": stat.st_size,
            "sha256": self.sha256,
            "verified_against": self.against,
            "origin": self.origin,
            "retrieved": datetime.fromtimestamp(int(stat.st_mtime), UTC).isoformat(),
        }


def check_local(piece: Piece, path: Path, expected: Expected, url: str, origin: str) -> Obtained:
    """Verify a file that is already here; RespfmError if it is not what is expected."""
    try:
        sha256 = verify(path, expected)
    except RespfmError as error:
        raise RespfmError(f"{error}. It is not the {piece.name} that was asked for: replace it") from error
    return Obtained(piece, path, url, sha256, expected.against, origin)


class FirstUse:
    """SHA-256 of downloads that no publisher's digest is known of, in a file that `sha256sum -c` reads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        self._known = {name: sha256 for sha256, _, name in (line.partition("  ") for line in lines)}

    def expected(self, piece: Piece) -> Expected:
        """What the registry says of a piece; where it gives no digest, the one of the first use."""
        known = piece.expected
        if known.digest or piece.name not in self._known:
            return known
        return Expected(bytes=known.bytes, sha256=self._known[piece.name], source="first use")

    def remember(self, files: Sequence[Obtained]) -> None:
        """Record downloads that proved usable."""
        new = {file.piece.name: file.sha256 for file in files if file.against == "first use"}
        if new.items() <= self._known.items():
            return
        self._known |= new
        write_text(self._path, "".join(f"{value}  {key}\n" for key, value in sorted(self._known.items())))


class Finder:
    """Looks for the files of one data set.

    A file is looked for in the mirrors that are directories (used in place), among the downloads, in the other mirrors
    and at its address, in this order.

    `downloads` is where downloads are kept and where files got by hand are put, under their `path` of the registry.
    `mirrors` are entries of the configuration's list (respfm.retrieve.mirror). `offline` never opens a socket; with
    `allow_partial` it leaves out what is not here, and names it in `left_out`.
    """

    def __init__(
        self,
        downloads: Path,
        mirrors: Sequence[dict[str, str]] = (),
        offline: bool = False,
        allow_partial: bool = False,
        patience: Patience = PATIENCE,
    ) -> None:
        self.downloads = downloads
        self.first_use = FirstUse(downloads / "SHA256SUMS")
        self.left_out: list[str] = []
        known = [Mirror(spec, functools.partial(read_text, patience=patience)) for spec in mirrors]
        self._here = [mirror for mirror in known if not mirror.remote]
        self._there = [mirror for mirror in known if mirror.remote and not offline]
        self._offline, self._allow_partial, self._patience = offline, allow_partial, patience

    def obtain(self, pieces: Sequence[Piece]) -> list[Obtained]:
        """Verified copies of the pieces of one file, in order; the first of them, or none, where some are left out.

        Raises RespfmError if a piece is found nowhere, is not what the registry says, or is missing in the middle.
        """
        found = [self._in_directories(piece) or self._over_network(piece) for piece in pieces]
        present = [file for file in found if file is not None]
        if found[: len(present)] != present:
            missing = pieces[found.index(None)].name
            raise RespfmError(f"{missing} is missing while later parts of the same archive are there: fetch it too")
        return present

    def _in_directories(self, piece: Piece) -> Obtained | None:
        expected = self.first_use.expected(piece)
        for mirror in self._here:
            for url in piece.urls:
                if copy := mirror.find(url):
                    origin = f"mirror {mirror.path}"
                    return check_local(piece, Path(copy.location), copy.expected or piece.expected, url, origin)
        path = self.downloads / piece.name
        if path.is_file():
            return check_local(piece, path, expected, piece.urls[0], "downloads")
        return None

    def _over_network(self, piece: Piece) -> Obtained | None:
        path = self.downloads / piece.name
        if self._offline and self._allow_partial:
            self.left_out.append(piece.urls[0])
            return None
        if self._offline:
            raise RespfmError(
                f"{piece.urls[0]} is in no mirror and `offline` is set: put the file at {path} by hand, or name a "
                "mirror that has it"
            )
        for mirror in self._there:
            copy = mirror.find(piece.urls[0])
            if copy is None:
                continue
            expected = copy.expected or self.first_use.expected(piece)
            try:
                _, sha256 = download([str(copy.location)], path, expected, self._patience)
            except RespfmError:
                log.warning("the mirror %s does not give %s: trying elsewhere", mirror.path, piece.name)
                continue
            origin = f"mirror {mirror.path}"
            return Obtained(piece, path, piece.urls[0], sha256, expected.against, origin, fresh=True)
        expected = self.first_use.expected(piece)
        url, sha256 = download(piece.urls, path, expected, self._patience)
        return Obtained(piece, path, url, sha256, expected.against, url.partition(":")[0], fresh=True)
