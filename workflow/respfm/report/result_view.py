"""A result frame as a reader sees it: per model a line each for reproduced, paper and difference."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from respfm.report import paper
from respfm.report.kinds import kind_of
from respfm.report.names import OVERLAP, OVERLAP_NOTE, marked
from respfm.report.results import DETAIL_COLUMNS, METADATA_SECTION, NOT_RUN, RAN, distinct_cells
from respfm.report.view import DETAILS, Cell, Column, Group, Line, Note, Row, View


def result_view(frame: pd.DataFrame) -> View:
    """Table 2, 3 or 4 from what `results.result_table` returns."""
    number, protocol = int(frame["table"].iloc[0]), frame["protocol"].iloc[0]
    sizes = _test_sets(frame)
    tasks = [Column(paper.column_title(task), True, sizes.get(task, "")) for task in dict.fromkeys(frame["task"])]
    return View(
        title=f"Table {number} ({protocol} protocol): {paper.TITLES[number]}",
        caption=f"{paper.TITLES[number]} (Table {number} of the paper, {protocol} protocol)",
        kind=kind_of(frame["data_kind"].iloc[0]),
        columns=[Column("Model"), *tasks, Column("Status")],
        groups=list(_groups(frame)),
        notes=list(_notes(frame)),
        stacked=True,
    )


def _test_sets(frame: pd.DataFrame) -> dict[str, str]:
    """`recordings / patients` of the test set by task, for the tasks that ran."""
    counted = frame[frame["n_test"].notna()].drop_duplicates("task").set_index("task")
    return {
        task: f"{row.n_test:.0f} / {'unknown' if pd.isna(row.patients_test) else f'{row.patients_test:.0f}'}"
        for task, row in counted.iterrows()
    }


def _notes(frame: pd.DataFrame) -> Iterator[Note]:
    """What a reader must know to read the numbers."""
    number, strict = frame["table"].iloc[0], frame["protocol"].iloc[0] == "strict"
    if strict:
        yield Note(
            "Strict protocol: AUROC with its 95 % interval from a bootstrap over patients; the layer is chosen "
            "on validation. The paper's numbers come from the published protocol and stand beside it for "
            "orientation."
        )
        yield Note(
            "No interval: a class has fewer than five patients in the test set (recordings, where patients are "
            "unknown), too few to resample."
        )
        yield Note(
            "Details: sensitivity at 90 % specificity / calibration error / p value of a permutation test.", DETAILS
        )
        if frame["heard_test"].any():
            yield Note(OVERLAP_NOTE)
    else:
        yield Note("Published protocol: mean ± standard deviation of AUROC over runs of the probe (ddof 0).")
    if number == 2 and not strict:
        none = "" if frame["better"].any() else " (no mark: it was not run, or nothing is better)"
        yield Note(f"Asterisk: better than OPERA-CT of this run{none}; in paper lines as printed.")
    if number != 3:
        yield Note("Bold: best of the column among the paper's rows; other models are bold if they reach it.")
    if (frame["tasks_averaged"] < len(paper.TASKS)).any():
        yield Note("An average over fewer than seven tasks says so, and its paper line averages the same tasks.")
    if kind_of(frame["data_kind"].iloc[0]).comparable and not strict:
        yield Note("! difference larger than the tolerance: twice the pooled standard deviation, at least 0.01.")
    if (frame["section"] == METADATA_SECTION).any():
        yield Note(
            "Metadata only: the best of several metadata-only classifiers, named below its AUROC. It was chosen "
            "on the test set: a bound to beat, not an estimate."
        )


def _groups(frame: pd.DataFrame) -> Iterator[Group]:
    """Sections in order, each with one row per model."""
    cells = distinct_cells(frame).fillna({"section": "", "model": "", "weights": ""})
    runs_of_section = (cells["section"] != cells["section"].shift()).cumsum()
    for _, part in cells.groupby(runs_of_section, sort=False):
        models = part.groupby(["label", "model"], sort=False)
        yield Group(part["section"].iloc[0], [_row(of_model) for _, of_model in models])


def _row(cells: pd.DataFrame) -> Row:
    """A model's row: its random or own weights are named if it ran; lines without any value are left out."""
    ran = bool(cells["reproduced"].notna().any())
    lines = [_reproduced]
    if cells["section"].iloc[0] == METADATA_SECTION:
        lines.append(_metadata)
    if cells[list(DETAIL_COLUMNS)].notna().any(axis=None):
        lines += [_interval, _details]
    if cells["published"].notna().any():
        lines.append(_paper)
    if cells["difference"].notna().any():
        lines.append(_difference)
    label = marked(cells["label"].iloc[0], cells["weights"].iloc[0] if ran else None)
    numbers = [Cell([line(cell) for line in lines], _key(cell)) for cell in cells.itertuples(index=False)]
    return Row([Cell.of(label), *numbers, Cell.of(_status(cells))], ran)


def _status(cells: pd.DataFrame) -> str:
    """What the row's missing cells need, each need once with its tasks; "ok" if nothing is missing."""
    missing = cells[cells["status"].str.startswith(NOT_RUN) & (cells["task"] != paper.AVERAGE)]
    if missing.empty:
        return RAN
    needs = missing.groupby("status", sort=False)["task"].agg(", ".join)
    if len(needs) == 1 and len(missing) == len(cells) - 1:
        return needs.index[0]
    return "; ".join(f"{tasks} {need}" for need, tasks in needs.items())


def _key(cell: Any) -> str:
    value = cell.reproduced if pd.notna(cell.reproduced) else cell.published
    return "" if pd.isna(value) else f"{value:.6f}"


def _reproduced(cell: Any) -> Line:
    """`0.601 ±0.004*`, `0.670 (4 tasks)` or `not run`."""
    if pd.isna(cell.reproduced):
        return Line("reproduced", "not run" if cell.status.startswith(NOT_RUN) else "-", "missing")
    text = _number(cell.reproduced, cell.reproduced_std, cell.better) + (OVERLAP if cell.heard_test else "")
    return Line("reproduced", text, "best" if cell.best else "", _tasks(cell))


def _metadata(cell: Any) -> Line:
    """The name of the metadata."""
    return Line("metadata", "-" if pd.isna(cell.layer) else cell.layer)


def _interval(cell: Any) -> Line:
    """95 % interval, if there is one, and the layer that validation chose."""
    if pd.isna(cell.layer):
        return Line("interval", "-")
    interval = "no interval," if pd.isna(cell.low) else f"[{cell.low:.3f}, {cell.high:.3f}]"
    return Line("interval", f"{interval} layer {cell.layer}")


def _details(cell: Any) -> Line:
    """Sensitivity at 90 % specificity, calibration error, p value of the permutation test."""
    values = [getattr(cell, name) for name in DETAIL_COLUMNS]
    return Line(DETAILS, "-" if pd.isna(values).any() else "{:.2f} / {:.2f} / {:.3f}".format(*values))


def _paper(cell: Any) -> Line:
    """The paper's number as it prints it."""
    if pd.isna(cell.published):
        return Line("paper", "-")
    text = _number(cell.published, cell.published_std, cell.published_asterisk)
    mark, after = "best" if cell.published_bold else "", _tasks(cell) if pd.notna(cell.reproduced) else ""
    return Line("paper", text, mark, after)


def _difference(cell: Any) -> Line:
    """Reproduced minus paper, with `!` beyond the tolerance."""
    if pd.isna(cell.difference):
        return Line("difference", "-")
    beyond = pd.notna(cell.tolerance) and abs(cell.difference) > cell.tolerance
    return Line("difference", f"{cell.difference:+.3f}{'!' if beyond else ''}")


def _number(mean: float, std: float, asterisk: bool) -> str:
    return f"{mean:.3f}{'' if pd.isna(std) else f' ±{std:.3f}'}{'*' if asterisk else ''}"


def _tasks(cell: Any) -> str:
    partial = pd.notna(cell.tasks_averaged) and cell.tasks_averaged < len(paper.TASKS)
    return f" ({int(cell.tasks_averaged)} tasks)" if partial else ""
