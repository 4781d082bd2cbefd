"""A data set of the registry as a directory of verified, unpacked files, with a record of their origin."""

import contextlib
import logging
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from respfm.errors import RespfmError, why_not_written
from respfm.files import atomic_path, file_digest, write_json
from respfm.retrieve.archives import archive_kind, unpack
from respfm.retrieve.finder import Finder, Obtained, check_local
from respfm.retrieve.registry import file_name, pieces_of

SOURCES = ".sources.json"
log = logging.getLogger(__name__)


def fetch_dataset(name: str, entry: dict, target: Path, finder: Finder) -> None:
    """Make `target` hold the files of one data set, unpacked; write `target/.sources.json` last.

    `entry` is that of config/datasets.yaml; the `member` of a file names the one file inside an archive that matters,
    which `.sources.json` then points to. Single files may be left out by `finder`, but of an archived data set not all
    archives. `target` is replaced as a whole, at the end. Raises RespfmError if something is missing, damaged or not
    what the registry says; `target` is then as it was.

    Examples:
        >>> datasets = read_yaml(Path("config/datasets.yaml"))
        >>> finder = Finder(Path("downloads/icbhi"), mirrors=[{"path": "/data/mirror"}])
        >>> fetch_dataset("icbhi", datasets["icbhi"], Path("raw/icbhi"), finder)
    """
    if not entry.get("files"):
        raise RespfmError(
            f"{name} cannot be downloaded. {entry.get('how', 'Get it by hand.')} Then name its folder in the "
            f"configuration: `local: {{{name}: <folder>}}`"
        )
    files = [(file, finder.obtain(pieces_of(file))) for file in entry["files"]]
    archives = [parts for file, parts in files if file.get("unpack")]
    if not any(archives or [parts for _, parts in files]):
        raise RespfmError(
            f"Nothing of {name} is in the mirrors or in {finder.downloads}, and `offline` is set: put its files "
            "there, name a mirror that has them, or go online"
        )
    with _replacing(target) as staging:
        for file, parts in files:
            if parts:
                _place(file, parts, staging)
    obtained = [part for _, parts in files for part in parts]
    for against, count in Counter(part.against for part in obtained).items():
        log.info("%s: %d file(s) verified against: %s", name, count, against)
    if finder.left_out:
        log.info("%s: %d file(s) left out, in no mirror", name, len(finder.left_out))
    finder.first_use.remember([part for part in obtained if part.path.is_relative_to(finder.downloads)])
    member = next((file["member"] for file in entry["files"] if "member" in file), None)
    _write_sources(target, name, ".", obtained, finder.left_out, member)


def use_local(name: str, entry: dict, target: Path, corpus: Path) -> None:
    """Write `target/.sources.json` for a corpus that was collected by hand and unpacked; it is used in place.

    What the registry knows of its single files is checked. Raises RespfmError if one differs or nothing is there.
    """
    if not corpus.is_dir() or not any(corpus.iterdir()):
        raise RespfmError(
            f"local.{name} names {corpus}, which is not a folder with files in it: correct the configuration"
        )
    pieces = [piece for file in entry.get("files", ()) for piece in pieces_of(file)]
    checked = [
        check_local(piece, corpus / piece.name, piece.expected, piece.urls[0], "local")
        for piece in pieces
        if (corpus / piece.name).is_file()
    ]
    _write_sources(target, name, str(corpus.resolve()), checked)


@contextlib.contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """Yield an empty folder; put it in the place of `target` if the block succeeds, else remove it."""
    staging, old = (target.with_name(f".{target.name}.{kind}") for kind in ("unpacking", "old"))
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir(parents=True)
        yield staging
        shutil.rmtree(old, ignore_errors=True)
        if target.exists():
            target.rename(old)
        staging.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _place(file: dict, parts: Sequence[Obtained], staging: Path) -> None:
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
        unpack([part.path for part in parts], kind, path.parent)
        if "member" in file and not (staging / file["member"]).is_file():
            raise RespfmError(f"{parts[0].path} does not hold {file['member']}: correct `member` in the registry")
    except RespfmError as error:
        for part in parts:
            if part.fresh and part.against == "first use" and not why_not_written(error):
                part.path.unlink()
        if len(parts) < len(file.get("parts", ())):
            raise RespfmError(f"{error}. Only {len(parts)} of its {len(file['parts'])} parts are here") from error
        raise


def _write_sources(
    target: Path,
    name: str,
    root: str,
    files: Sequence[Obtained],
    left_out: Sequence[str] = (),
    member: str | None = None,
) -> None:
    """Write the record that makes a data set complete."""
    record = {"dataset": name, "root": root, "files": [file.record() for file in files], "left_out": list(left_out)}
    found = {"member": member, "member_sha256": file_digest(target / member)} if member else {}
    write_json(target / SOURCES, record | found)
