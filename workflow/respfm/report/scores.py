"""Score files of the probes; what is half written or impossible is refused."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from respfm.errors import RespfmError

COLUMNS = ("protocol", "model", "task", "layer", "run", "auroc_test", "default_layer", "n_test", "patients_test")
STRICT_COLUMNS = ("auroc_low", "auroc_high", "chosen")
NAMES = ("protocol", "model", "task", "layer", "run")


def read_scores(paths: Sequence[Path], tasks: Iterable[str] | None = None) -> pd.DataFrame:
    """All rows of the given score files, in the given order.

    `tasks` are the tasks that the run knows; a file of any other task is an error. Raises RespfmError, naming
    the file and the fix, for a file that is cut short, lacks columns or runs, or holds an AUROC outside [0, 1].
    """
    known = None if tasks is None else set(tasks)
    frames = [_read(Path(path), known) for path in paths]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=[*COLUMNS, *STRICT_COLUMNS])


def protocol_of(scores: pd.DataFrame) -> str:
    """The one protocol of the scores."""
    return scores["protocol"].iloc[0] if len(scores) else "published"


def table_layer(scores: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """The rows that a table shows: the model's default layer, or under `strict` the one chosen on validation."""
    return scores[scores["chosen" if protocol == "strict" else "default_layer"].astype(bool)]


def _read(path: Path, tasks: set[str] | None) -> pd.DataFrame:
    frame = _parse(path)
    for column in ("protocol", "model", "task"):
        if frame[column].nunique() != 1:
            raise _refused(path, f"mixes several values in column {column!r}")
    if tasks is not None and frame["task"].iloc[0] not in tasks:
        raise _refused(path, f"belongs to task {frame['task'].iloc[0]!r}, which this run does not know")
    if not pd.to_numeric(frame["auroc_test"], errors="coerce").between(0, 1).all():
        raise _refused(path, "holds an AUROC that is missing or outside [0, 1]")
    runs = frame.groupby("layer")["run"].agg(lambda run: tuple(sorted(run)))
    if frame.duplicated(["layer", "run"]).any() or runs.nunique() != 1:
        raise _refused(path, "does not hold the same runs for every layer")
    for column in ("default_layer", "chosen"):
        if column in frame and frame.loc[frame[column].astype(bool), "layer"].nunique() != 1:
            raise _refused(path, f"does not mark exactly one layer in column {column!r}")
    return frame


def _parse(path: Path) -> pd.DataFrame:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _refused(path, f"cannot be read ({error.__class__.__name__})") from None
    if not text.endswith("\n") or text.count("\n") < 2:
        raise _refused(path, "is cut short")
    try:
        frame = pd.read_csv(path, dtype={"layer": str, "model": str, "task": str})
    except pd.errors.ParserError:
        raise _refused(path, "is no table") from None
    strict = "protocol" in frame and (frame["protocol"] == "strict").any()
    missing = [column for column in (*COLUMNS, *(STRICT_COLUMNS if strict else ())) if column not in frame]
    if missing:
        raise _refused(path, f"lacks the columns {', '.join(missing)}")
    if frame[list(NAMES)].isna().any(axis=None):
        raise _refused(path, "is cut short")
    return frame


def _refused(path: Path, reason: str) -> RespfmError:
    return RespfmError(f"{path}: this score file {reason}; no table or figure is made from it. Remove it and run again")
