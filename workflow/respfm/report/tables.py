"""Tables 1 to 4 of the paper as tidy csv, Markdown and LaTeX, this run's numbers beside the paper's."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from respfm.errors import RespfmError
from respfm.files import atomic_path, write_text
from respfm.report.audit_files import best_metadata
from respfm.report.latex import latex
from respfm.report.markdown import markdown
from respfm.report.result_view import result_view
from respfm.report.results import result_table
from respfm.report.scores import read_scores
from respfm.report.shown import Shown
from respfm.report.task_table import task_table, task_view
from respfm.report.view import View

NAMES = ("label", "class", "layer", "model")


def make_table(
    number: int,
    protocol: str,
    shown: Shown,
    *,
    scores: Sequence[Path],
    task_tables: Mapping[str, Path],
    stem: Path,
    metadata_baselines: Path | None = None,
) -> None:
    """Write one table of the paper to `stem`.csv (tidy, all runs), `stem`.md and `stem`.tex.

    `number` is 1 (tasks), 2 (models), 3 (M2D ablations) or 4 (pre-training data), else RespfmError; `protocol` decides
    which layer is shown, and whether with deviations or intervals. `scores` are the score files of that protocol (none
    for Table 1), `task_tables` its task tables by task name. The best AUROC per task of `metadata_baselines`, the
    audit's csv file, becomes a row of Table 2.
    """
    if number not in (1, 2, 3, 4):
        raise RespfmError(f"The paper has no Table {number}; ask for 1, 2, 3 or 4")
    if number == 1:
        frame = task_table(protocol, task_tables, shown.paper_dir, shown.data_kind)
    else:
        read = read_scores(scores, task_tables)
        metadata = best_metadata(metadata_baselines, protocol) if metadata_baselines else None
        frame = result_table(number, protocol, read, list(task_tables), shown, metadata)
    view = table_view(frame)
    write_csv(frame, stem.with_name(f"{stem.name}.csv"))
    write_text(stem.with_name(f"{stem.name}.md"), markdown(view))
    write_text(stem.with_name(f"{stem.name}.tex"), latex(view))


def table_view(frame: pd.DataFrame) -> View:
    """A table of the paper as a reader sees it."""
    return task_view(frame) if frame["table"].iloc[0] == 1 else result_view(frame)


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame with six decimals, empty cells for what is absent, and unix line ends."""
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n")


def read_csv(path: Path) -> pd.DataFrame:
    """A frame that `make_table` wrote; names stay text, also those that look like numbers."""
    return pd.read_csv(path, dtype=dict.fromkeys(NAMES, str))
