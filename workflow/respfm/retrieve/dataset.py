"""A data set of the registry as a directory of verified, unpacked files, with a record of their origin."""

import functools
import logging
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from respfm.errors import RespfmError, why_not_written
from respfm.files import atomic_path, file_digest, write_json
from respfm.retrieve.archives import archive_kind, unpack
from respfm.retrieve.download import PATIENCE, Patience, read_text
from respfm.retrieve.finder import Finder, Obtained, check_local
from respfm.retrieve.mirror import Mirror
from respfm.retrieve.registry import file_name, pieces_of

SOURCES = ".sources.json"
logger = logging.getLogger(__name__)


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
        entry: the data set's entry of config/datasets.yaml; a file's `member` names the one file inside an
            archive that matters, which `.sources.json` then points to.
        mirrors: see `respfm.retrieve.mirror.Mirror`.
        offline: never open a socket.
        local: directory of a corpus that was collected by hand and is unpacked; it is used in place.
        allow_partial: what is nowhere to be had while offline is left out and listed in `.sources.json`, as
            long as an archive of the data set is there.
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
            f"{name} cannot be downloaded. {entry.get('how', 'Get it by hand.')} Then name its folder in the "
            f"configuration: `local: {{{name}: <folder>}}`."
        )
    finder = Finder(
        Path(downloads) if downloads else target.parent.parent / "downloads" / name,
        [Mirror(spec, functools.partial(read_text, patience=patience)) for spec in mirrors],
        offline,
        allow_partial,
        progress,
        patience,
    )
    files = [(file, finder.obtain(pieces_of(file))) for file in entry["files"]]
    essential = [parts for file, parts in files if file.get("unpack")] or [parts for _, parts in files]
    if not any(essential):
        raise RespfmError(
            f"Nothing of {name} is in the mirrors or in {finder.downloads}, and `offline` is set: put its files "
            "there, name a mirror that has them, or go online."
        )
    staging = target.with_name(f".{target.name}.unpacking")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir(parents=True)
        for file, parts in files:
            if parts:
                _place(file, parts, staging, progress)
        _swap(staging, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    obtained = [part for _, parts in files for part in parts]
    for against, count in Counter(part.against for part in obtained).items():
        logger.info("%s: %d file(s) verified against: %s", name, count, against)
    if finder.left_out:
        logger.info("%s: %d file(s) left out, in no mirror", name, len(finder.left_out))
    finder.first_use.remember([part for part in obtained if part.path.is_relative_to(finder.downloads)])
    member = next((file["member"] for file in entry["files"] if "member" in file), None)
    _write_sources(target, name, ".", [part.record() for part in obtained], finder.left_out, member)


def _place(file: dict, parts: Sequence[Obtained], staging: Path, progress: bool) -> None:
    """Put one file of the registry into the tree that is being built: unpacked, or copied."""
    path = staging / file_name(file)
    kind = file.get("unpack")
    if not kind:
        with atomic_path(path) as temporary, open(temporary, "wb") as sink:
            for part in parts:
                with open(part.path, "rb") as source:
                    shutil.copyfileobj(source, sink)
        return
    try:
        kind = archive_kind(path.name) if kind is True else kind
        unpack([part.path for part in parts], kind, path.parent, progress)
        if "member" in file and not (staging / file["member"]).is_file():
            raise RespfmError(f"{parts[0].path} does not hold {file['member']}: correct `member` in the registry.")
    except RespfmError as error:
        for part in parts:
            if part.fresh and part.against == "first use" and not why_not_written(error):
                part.path.unlink()
        if len(parts) < len(file.get("parts", ())):
            raise RespfmError(f"{error} Only {len(parts)} of its {len(file['parts'])} parts are here.") from error
        raise


def _swap(staging: Path, target: Path) -> None:
    """Put a finished tree in the place of an older one."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    staging.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _use_local(name: str, entry: dict, target: Path, corpus: Path) -> None:
    """Record a corpus that was collected by hand; what the registry knows of its single files is checked."""
    if not corpus.is_dir() or not any(corpus.iterdir()):
        raise RespfmError(
            f"local.{name} names {corpus}, which is not a folder with files in it: correct the configuration."
        )
    pieces = [piece for file in entry.get("files", ()) for piece in pieces_of(file)]
    checked = [
        check_local(piece, corpus / piece.name, piece.expected, piece.urls[0], "local")
        for piece in pieces
        if (corpus / piece.name).is_file()
    ]
    _write_sources(target, name, str(corpus.resolve()), [file.record() for file in checked])


def _write_sources(
    target: Path, name: str, root: str, files: list[dict], left_out: Sequence[str] = (), member: str | None = None
) -> None:
    """Write the record that makes a data set complete."""
    record = {"dataset": name, "root": root, "files": files, "left_out": list(left_out)}
    found = {"member": member, "member_sha256": file_digest(target / member)} if member else {}
    write_json(target / SOURCES, record | found)
