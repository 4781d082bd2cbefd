"""A small synthetic respiratory corpus, written as a mirror of the publishers' servers.

The files have the publishers' names, archive formats, tables and quirks, so that the download and curation
rules of the real data sets run on them unchanged. One description of people and recordings
(`respfm.demo.cohort`) is shared by all data sets, the sounds come from `respfm.demo.acoustics` and
`respfm.demo.scenes`, and one module per data set knows its publisher's layout. Everything follows from (seed,
size): each data set can be written alone, in any order, with the same bytes.

The corpus is synthetic: scores on it say that the workflow runs, nothing about patients.
"""

import csv
import importlib
import importlib.util
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import unquote, urlsplit

from respfm.demo.cohort import build_cohort
from respfm.demo.containers import StandIns
from respfm.errors import RespfmError
from respfm.files import atomic_path, file_digest


def write_dataset(dataset: str, entry: dict, target: Path, size: float, seed: int) -> None:
    """Write the synthetic stand-in of every file of a registry entry below `target`.

    Each URL of `entry["files"]` becomes `<target>/<host>/<path>` (one file per part where the entry lists
    `parts`); `MANIFEST.csv` (path, sha256, bytes) is written last. `size` scales the number of people; 1.0 is
    the default demo and small values keep the few that every class needs in train, validation and test.

    Raises RespfmError for a data set or a URL that the demo has no stand-in for.
    """
    if importlib.util.find_spec(f"respfm.demo.{dataset}") is None:
        raise RespfmError(
            f"The demo has no synthetic stand-in for the data set {dataset!r}; leave it out of the config"
        )
    publisher = importlib.import_module(f"respfm.demo.{dataset}")
    stand_ins = publisher.stand_ins(build_cohort(seed, size))
    written = [
        path
        for file in entry["files"]
        for path in _write_parts(target, file, _stand_in(stand_ins, file["url"], dataset)())
    ]
    _write_manifest(target, written)


def _stand_in(stand_ins: StandIns, url: str, dataset: str) -> Callable[[], bytes]:
    for pattern, make in stand_ins.items():
        if fnmatchcase(unquote(url), pattern):
            return make
    raise RespfmError(
        f"The demo of {dataset} has no stand-in for {url}; it makes {', '.join(stand_ins)}. "
        "Correct the URL in the data set's entry or remove the file from it"
    )


def _write_parts(target: Path, file: dict, content: bytes) -> Iterator[Path]:
    url = urlsplit(file["url"])
    whole = target / url.netloc / unquote(url.path).lstrip("/")
    parts = file.get("parts")
    if not parts:
        yield _write(whole, content)
        return
    block = -(-len(content) // len(parts))
    for index, part in enumerate(parts):
        yield _write(whole.with_name(f"{whole.name}.{part}"), content[index * block : (index + 1) * block])


def _write(path: Path, content: bytes) -> Path:
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return path


def _write_manifest(target: Path, paths: list[Path]) -> None:
    with atomic_path(target / "MANIFEST.csv") as temporary, temporary.open("w", newline="") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(["path", "sha256", "bytes"])
        for path in sorted(paths):
            rows.writerow([path.relative_to(target).as_posix(), file_digest(path), path.stat().st_size])
