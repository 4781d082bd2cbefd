"""A data set of the registry as a directory of verified, unpacked files, with a record of their origin."""

import functools
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from respfm.errors import RespfmError
from respfm.files import atomic_path, write_json, write_text
from respfm.retrieve.archives import archive_kind, unpack
from respfm.retrieve.checksums import Expected, verify
from respfm.retrieve.download import PATIENCE, Patience, download, read_text
from respfm.retrieve.mirror import Mirror
from respfm.retrieve.registry import Piece, file_name, pieces_of

SOURCES = ".sources.json"


@dataclass
class Obtained:
    """A verified local copy of a piece."""

    piece: Piece
    path: Path
    record: dict = field(default_factory=dict)


def fetch_dataset(
    name: str,
    entry: dict,
    target: Path,
    mirrors: Sequence[dict | str] = (),
    offline: bool = False,
    local: str | None = None,
    progress: bool = True,
    allow_partial: bool = False,
    downloads: Path | None = None,
    patience: Patience = PATIENCE,
) -> None:
    """Make `target` hold the files of one data set, unpacked; write `target/.sources.json` last.

    A file is looked for in the mirrors that are directories (used in place), among the downloads, in the
    other mirrors and at its address, in this order. `target` is replaced as a whole, at the end.

    Args:
        entry: the data set's entry of config/datasets.yaml.
        mirrors: see `respfm.retrieve.mirror.Mirror`.
        offline: never open a socket.
        local: directory of a corpus that was collected by hand; it is used in place.
        allow_partial: what is nowhere to be had while offline is left out and listed in `.sources.json`, as
            long as something is there.
        downloads: where downloads are kept and where files got by hand are put, under their `path` of the
            registry; default `<target>/../../downloads/<name>`.

    Raises:
        RespfmError: something is missing, damaged or not what the registry says; `target` is then as it was.
    """
    target = Path(target)
    if local is not None:
        _use_local(name, entry, target, Path(local))
        return
    if not entry.get("files"):
        raise RespfmError(
            f"The data set {name} is got by hand: {entry.get('how', entry['title'])} Then name its folder in "
            f"`local: {{{name}: <folder>}}` of the configuration."
        )
    finder = _Finder(
        Path(downloads) if downloads else target.parent.parent / "downloads" / name,
        [Mirror(spec, functools.partial(read_text, patience=patience)) for spec in mirrors],
        offline,
        allow_partial,
        progress,
        patience,
    )
    obtained = [finder.obtain_parts(pieces_of(file)) for file in entry["files"]]
    archives = [parts for file, parts in zip(entry["files"], obtained, strict=True) if file.get("unpack")]
    if not any(archives or obtained):
        raise RespfmError(
            f"Nothing of {name} is in the mirrors or in {finder.downloads}, and `offline` is set: put its "
            "files there, name a mirror that has them, or go online."
        )
    staging = target.with_name(f".{target.name}.unpacking")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir(parents=True)
        for file, parts in zip(entry["files"], obtained, strict=True):
            if parts:
                _place(file, parts, staging)
        _swap(staging, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    records = [part.record for parts in obtained for part in parts]
    _write_sources(target, name, ".", records, finder.left_out)


class _Finder:
    """Looks for pieces in mirrors, downloads and at their addresses, and verifies what it finds."""

    def __init__(
        self,
        downloads: Path,
        mirrors: Sequence[Mirror],
        offline: bool,
        allow_partial: bool,
        progress: bool,
        patience: Patience,
    ) -> None:
        self.downloads = downloads
        self._here = [mirror for mirror in mirrors if not mirror.remote]
        self._there = [] if offline else [mirror for mirror in mirrors if mirror.remote]
        self._offline, self._allow_partial = offline, allow_partial
        self._progress, self._patience = progress, patience
        self._first_use = _FirstUse(downloads / "SHA256SUMS")
        self.left_out: list[str] = []

    def obtain_parts(self, pieces: Sequence[Piece]) -> list[Obtained]:
        """The pieces of one file, in order; leading ones only if the rest may be left out, or none."""
        found = [self._obtain(piece) for piece in pieces]
        present = [item for item in found if item is not None]
        if present and found[: len(present)] != present:
            missing = pieces[found.index(None)]
            raise RespfmError(
                f"{missing.name} is missing while later parts of the same archive are there: fetch it too."
            )
        return present

    def _obtain(self, piece: Piece) -> Obtained | None:
        for mirror in self._here:
            for url in piece.urls:
                if copy := mirror.find(url):
                    return self._accept(piece, copy.location, copy.expected, url, f"mirror {copy.mirror}")
        path = self.downloads / piece.name
        if path.is_file():
            return self._accept(piece, path, None, piece.urls[0], "downloads")
        for mirror in self._there:
            if copy := mirror.find(piece.urls[0]):
                expected = copy.expected or self._first_use.expected(piece)
                try:
                    download([str(copy.location)], path, expected, self._progress, self._patience)
                except RespfmError:
                    continue
                return self._accept(piece, path, copy.expected, piece.urls[0], f"mirror {copy.mirror}")
        if not self._offline:
            expected = self._first_use.expected(piece)
            url, _ = download(piece.urls, path, expected, self._progress, self._patience)
            return self._accept(piece, path, None, url, "https" if url.startswith("https") else "http")
        if self._allow_partial:
            self.left_out.append(piece.urls[0])
            return None
        raise RespfmError(
            f"{piece.urls[0]} is in no mirror and `offline` is set: put the file at {path} by hand, or name "
            "a mirror that has it."
        )

    def _accept(self, piece: Piece, path: Path, manifest: Expected | None, url: str, origin: str) -> Obtained:
        """Verify a file that is here, against the mirror's manifest if there is one, else the registry."""
        expected = manifest or self._first_use.expected(piece)
        try:
            sha256 = verify(path, expected)
        except RespfmError as error:
            raise RespfmError(
                f"{error} Delete or replace it: it is not the {piece.name} that was asked for."
            ) from error
        if path.is_relative_to(self.downloads) and expected.against == "first use":
            self._first_use.record(piece.name, sha256)
        stat = path.stat()
        return Obtained(
            piece,
            path,
            {
                "url": url,
                "path": piece.name,
                "bytes": stat.st_size,
                "sha256": sha256,
                "verified_against": expected.against,
                "origin": origin,
                "retrieved": datetime.fromtimestamp(int(stat.st_mtime), UTC).isoformat(),
            },
        )


class _FirstUse:
    """SHA-256 of downloads that no publisher's digest is known of, in a file that `sha256sum -c` reads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        self._known = {name: sha256 for sha256, _, name in (line.partition("  ") for line in lines)}

    def expected(self, piece: Piece) -> Expected:
        """What the registry says of a piece; where it gives no digest, the one of the first use."""
        known = piece.expected
        if known.sha256 or known.md5 or known.git_blob or piece.name not in self._known:
            return known
        return Expected(bytes=known.bytes, sha256=self._known[piece.name], source="first use")

    def record(self, name: str, sha256: str) -> None:
        if self._known.get(name) != sha256:
            self._known[name] = sha256
            write_text(self._path, "".join(f"{value}  {key}\n" for key, value in sorted(self._known.items())))


def _place(file: dict, parts: Sequence[Obtained], staging: Path) -> None:
    """Put one file of the registry into the tree that is being built: unpacked, or copied."""
    path = file_name(file)
    kind = file.get("unpack")
    if kind:
        kind = archive_kind(path) if kind is True else kind
        unpack([part.path for part in parts], kind, (staging / path).parent, path)
        return
    with atomic_path(staging / path) as temporary, open(temporary, "wb") as sink:
        for part in parts:
            with open(part.path, "rb") as source:
                shutil.copyfileobj(source, sink)


def _swap(staging: Path, target: Path) -> None:
    """Put a finished tree in the place of an older one."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.replace(old)
    os.replace(staging, target)
    shutil.rmtree(old, ignore_errors=True)


def _use_local(name: str, entry: dict, target: Path, corpus: Path) -> None:
    """Record a corpus that was collected by hand; what the registry knows of its single files is checked."""
    if not corpus.is_dir() or not any(corpus.iterdir()):
        raise RespfmError(
            f"local.{name} names {corpus}, which is not a folder with files in it: correct the configuration."
        )
    records = []
    for file in entry.get("files", ()):
        for piece in pieces_of(file):
            path = corpus / piece.name
            if path.is_file():
                sha256 = verify(path, piece.expected)
                records.append(
                    {
                        "url": piece.urls[0],
                        "path": piece.name,
                        "bytes": path.stat().st_size,
                        "sha256": sha256,
                        "verified_against": piece.expected.against,
                        "origin": "local",
                        "retrieved": datetime.fromtimestamp(int(path.stat().st_mtime), UTC).isoformat(),
                    }
                )
    _write_sources(target, name, str(corpus.resolve()), records, [])


def _write_sources(target: Path, name: str, root: str, files: list[dict], left_out: list[str]) -> None:
    write_json(target / SOURCES, {"dataset": name, "root": root, "files": files, "left_out": left_out})
