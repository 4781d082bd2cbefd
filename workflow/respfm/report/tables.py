"""Tables 1 to 4 of the paper as tidy csv, Markdown and LaTeX, reproduced beside published."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from respfm.errors import RespfmError
from respfm.files import atomic_path, write_text
from respfm.report import render, task_table
from respfm.report.audit_files import best_metadata
from respfm.report.results import result_table
from respfm.report.scores import read_scores


def make_table(
    number: int,
    protocol: str,
    *,
    scores: Sequence[Path],
    task_tables: Mapping[str, Path],
    models: Mapping[str, Mapping],
    selected: Sequence[str],
    paper_dir: Path,
    data_kind: str,
    stem: Path,
    metadata_baselines: Path | None = None,
) -> None:
    """Write one table of the paper to `stem`.csv (tidy, all runs), `stem`.md and `stem`.tex.

    Args:
        number: 1 (tasks), 2 (models), 3 (M2D ablations) or 4 (pre-training data).
        protocol: "published" or "strict"; decides which layer is shown and how uncertainty is.
        scores: score files of that protocol; not used by Table 1.
        task_tables: task tables of that protocol by task name.
        models: all registry entries; `selected` names those that this run evaluates, in order.
        paper_dir: directory of the paper's numbers.
        data_kind: "synthetic", "sample" or "full".
        metadata_baselines: the audit's csv; its best AUROC per task becomes a row of the table.
    """
    if number not in (1, 2, 3, 4):
        raise RespfmError(f"The paper has no Table {number}; ask for 1, 2, 3 or 4.")
    if number == 1:
        frame = task_table.task_table(protocol, task_tables, paper_dir, data_kind)
        texts = {".md": task_table.markdown(frame), ".tex": task_table.latex(frame)}
    else:
        read = read_scores(scores, task_tables)
        metadata = best_metadata(metadata_baselines, protocol) if metadata_baselines else None
        frame = result_table(
            number, protocol, read, list(task_tables), models, selected, paper_dir, data_kind, metadata
        )
        texts = {".md": render.markdown(frame), ".tex": render.latex(frame)}
    write_csv(frame, stem.with_name(stem.name + ".csv"))
    for suffix, text in texts.items():
        write_text(stem.with_name(stem.name + suffix), text)


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame with six decimals, empty cells for what is absent, and unix line ends."""
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n")
