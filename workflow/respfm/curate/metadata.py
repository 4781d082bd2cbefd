"""What publishers ship: delimited text of many habits, and folders of audio."""

import csv
import io
import math
import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import pandas as pd

from respfm.errors import RespfmError

# What publishers, phones and recorders write; respfm.audio decodes them all.
AUDIO_SUFFIXES = (
    ".3g2", ".3gp", ".aac", ".aif", ".aifc", ".aiff", ".amr", ".au", ".caf", ".flac", ".m4a", ".m4b", ".mka", ".mp2",
    ".mp3", ".mp4", ".oga", ".ogg", ".opus", ".rf64", ".w64", ".wav", ".webm", ".wma",
)  # fmt: skip


def walk_files(root: Path) -> Iterator[str]:
    """Relative paths of all files under `root`, sorted; hidden files and macOS junk are left out."""
    if not root.is_dir():
        raise RespfmError(f"{root} is not a directory; retrieve the data set first")
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(n for n in folders if not n.startswith(".") and n != "__MACOSX")
        relative = os.path.relpath(folder, root).replace(os.sep, "/")
        prefix = "" if relative == "." else f"{relative}/"
        for name in sorted(names):
            if not name.startswith("."):
                yield _as_utf8(prefix + name)


def _as_utf8(path: str) -> str:
    try:
        return path.encode().decode()
    except UnicodeEncodeError as error:
        raise RespfmError(f"the file name {path!a} is not UTF-8; rename the file") from error


def audio_files(root: Path, suffixes: Collection[str] = AUDIO_SUFFIXES) -> list[str]:
    """Relative paths of the audio files under `root`; RespfmError when there is none."""
    found = [path for path in walk_files(root) if os.path.splitext(path)[1].lower() in suffixes]
    if not found:
        raise RespfmError(f"{root} holds no audio ({', '.join(suffixes)}); name another folder or retrieve it again")
    return found


def stem(path: str) -> str:
    """File name without folder and suffix; blanks and dots inside it are kept."""
    return os.path.splitext(path.rpartition("/")[2])[0]


def find_file(root: Path, *names: str) -> Path:
    """The one file under `root` with one of these names; earlier names win, then the shortest path."""
    paths = list(walk_files(root))
    for name in names:
        matches = [path for path in paths if path.rpartition("/")[2] == name]
        if matches:
            return root / min(matches, key=lambda path: (path.count("/"), path))
    raise RespfmError(f"{root} has no {' or '.join(names)}; retrieve the data set again or put the file there")


def read_text(path: Path) -> str:
    """UTF-8 text with or without a byte order mark."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise RespfmError(f"{path} cannot be read ({error.strerror}); retrieve it again") from error
    except UnicodeDecodeError as error:
        raise RespfmError(f"{path} is not UTF-8 text (byte {error.start}); retrieve it again") from error


def read_rows(path: Path, delimiter: str = ",") -> list[tuple[int, list[str]]]:
    """Line number and stripped cells of every row that is not blank; line ends of any system."""
    try:
        reader = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=delimiter, strict=True)
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise RespfmError(f"{path} is not a well-formed table ({error}); retrieve it again") from error
    return [(line, row) for line, row in rows if any(row)]


def read_table(path: Path, columns: Iterable[str], key: str, optional: Iterable[str] = ()) -> pd.DataFrame:
    """Columns of a comma-separated file as text, indexed by its unique, non-empty column `key`.

    `row` counts the rows from 0. Optional columns that the file lacks are empty.
    """
    rows = read_rows(path)
    if not rows:
        raise RespfmError(f"{path} is empty; retrieve it again")
    header = rows[0][1]
    for column in [key, *columns]:
        if header.count(column) != 1:
            raise RespfmError(
                f"{path} needs exactly one column {column!r} and has {header.count(column)}; "
                f"its columns are: {', '.join(filter(None, header))}"
            )
    for line, row in rows[1:]:
        if len(row) < len(header) or any(row[len(header) :]):
            raise RespfmError(
                f"{path}: line {line} has {len(row)} cells and the header {len(header)}; retrieve it again"
            )
    table = pd.DataFrame(index=[row[header.index(key)] for _, row in rows[1:]])
    for column in [*columns, *optional]:
        at = header.index(column) if column in header else None
        table[column] = pd.Series(["" if at is None else row[at] for _, row in rows[1:]], table.index, dtype=str)
    table["row"] = range(len(table))
    return check_unique(table, path, key)


def check_unique(table: pd.DataFrame, source: Path, key: str) -> pd.DataFrame:
    """`table`, unless its index has an empty or repeated key."""
    if (table.index == "").any():
        raise RespfmError(f"{source}: a row has no {key}; repair or retrieve the file")
    if table.index.has_duplicates:
        repeated = table.index[table.index.duplicated()][0]
        raise RespfmError(f"{source}: {key} {repeated!r} occurs more than once; keep one row")
    return table


def to_number(text: str) -> float:
    """A finite number, else NaN."""
    try:
        number = float(text)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def to_recordings(rows: list[dict], root: Path, columns: Iterable[str]) -> pd.DataFrame:
    """Table of recordings sorted by id; RespfmError when an id is repeated or none is left."""
    if not rows:
        raise RespfmError(f"{root}: no audio file has a row in the metadata; retrieve the data set again")
    frame = pd.DataFrame(rows, columns=["id", "path", "patient", *columns])
    repeated = frame[frame["id"].duplicated(keep=False)].sort_values(["id", "path"])
    if len(repeated):
        raise RespfmError(
            f"{root}: {' and '.join(repeated['path'][:2])} have one id ({repeated['id'].iloc[0]}); remove one"
        )
    return frame.sort_values("id", ignore_index=True)
