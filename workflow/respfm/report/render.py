"""A result frame as Markdown and as LaTeX: per model a line each for reproduced, paper and difference."""

import re
from collections.abc import Callable, Iterator

import pandas as pd

from respfm.report import paper
from respfm.report.kinds import data_kind
from respfm.report.names import HEARD, HEARD_NOTE, marked
from respfm.report.results import DETAILS, METADATA_SECTION, NOT_RUN, RAN, distinct_cells

MARKDOWN_SPECIAL = re.compile(r"([\\`*_|<>\[\]])")
LATEX_SPECIAL = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {
        HEARD: r"\dag{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\\": r"\textbackslash{}",
        "±": r"$\pm$",
        "[": "{[}",
        "*": "{*}",
    }
)
Bold = Callable[[str], str]


def escape_markdown(text: str) -> str:
    """Text that a Markdown table shows as it is."""
    return MARKDOWN_SPECIAL.sub(r"\\\1", " ".join(text.split()))


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it is, also at the start of a table row."""
    return " ".join(text.split()).translate(LATEX_SPECIAL)


def title(frame: pd.DataFrame) -> str:
    """`Table 2 (strict protocol): ...`"""
    number = int(frame["table"].iloc[0])
    return f"Table {number} ({frame['protocol'].iloc[0]} protocol): {paper.TITLES[number]}"


def notes(frame: pd.DataFrame, with_details: bool = True) -> list[str]:
    """What a reader must know to read the table's numbers, as sentences; the first says what the data are."""
    kind = data_kind(frame["data_kind"].iloc[0])
    strict = frame["protocol"].iloc[0] == "strict"
    number = int(frame["table"].iloc[0])
    lines = [kind.sentence]
    if strict:
        lines.append(
            "Strict protocol: AUROC with its 95 % interval from a bootstrap over patients; the layer is chosen "
            "on validation. The paper's numbers come from the published protocol and stand beside it for "
            "orientation."
        )
        lines.append(
            "No interval: a class has fewer than five patients in the test set (recordings, where patients are "
            "unknown), too few to resample."
        )
        if with_details:
            lines.append(
                "Details: sensitivity at 90 % specificity / calibration error / p value of a permutation test."
            )
        if frame["heard_test"].any():
            lines.append(HEARD_NOTE)
    else:
        lines.append("Published protocol: mean ± standard deviation of AUROC over runs of the probe (ddof 0).")
    if number == 2 and not strict:
        none = "" if frame["better"].any() else " (no mark: it was not run, or nothing is better)"
        lines.append(f"Asterisk: better than OPERA-CT of this run{none}; in paper lines as printed.")
    if number != 3:
        lines.append("Bold: best of the column among the paper's rows; other models are bold if they reach it.")
    if (frame["tasks_averaged"] < len(paper.TASKS)).any():
        lines.append("An average over fewer than seven tasks says so, and its paper line averages the same tasks.")
    if kind.comparable and not strict:
        lines.append("! difference larger than the tolerance: twice the pooled standard deviation, at least 0.01.")
    if (frame["section"] == METADATA_SECTION).any():
        lines.append(
            "Metadata only: the best of several metadata-only classifiers, named below its AUROC. It was chosen "
            "on the test set: a bound to beat, not an estimate."
        )
    return lines


def blocks(frame: pd.DataFrame) -> Iterator[tuple[str, list[pd.DataFrame]]]:
    """Sections in order, each with one frame of cells per model."""
    cells = distinct_cells(frame).fillna({"section": "", "model": "", "weights": ""})
    runs_of_section = (cells["section"] != cells["section"].shift()).cumsum()
    for _, part in cells.groupby(runs_of_section, sort=False):
        yield part["section"].iloc[0], [model for _, model in part.groupby(["label", "model"], sort=False)]


def label(cells: pd.DataFrame) -> str:
    """Name of a row; if it ran, says whether its weights are random or made here."""
    first = cells.iloc[0]
    return first["label"] if cells["reproduced"].isna().all() else marked(first["label"], first["weights"])


def status(cells: pd.DataFrame) -> str:
    """What the row's missing cells need, each need once with its tasks; "ok" if nothing is missing."""
    missing = cells[cells["status"].str.startswith(NOT_RUN) & (cells["task"] != paper.AVERAGE)]
    if missing.empty:
        return RAN
    needs = missing.groupby("status", sort=False)["task"].agg(", ".join)
    if len(needs) == 1 and len(missing) == len(cells) - 1:
        return needs.index[0]
    return "; ".join(f"{tasks} {need}" for need, tasks in needs.items())


def lines(cells: pd.DataFrame, bold: Bold, with_details: bool = True) -> dict[str, list[str]]:
    """Texts of a row's cells by the name of the line; lines without any value are left out."""
    each = list(cells.itertuples(index=False))
    texts = {"reproduced": [reproduced(cell, bold) for cell in each]}
    if is_metadata(cells):
        texts["metadata"] = [str(cell.layer) if pd.notna(cell.layer) else "-" for cell in each]
    if cells[list(DETAILS)].notna().any(axis=None):
        texts["interval"] = [interval(cell) for cell in each]
        if with_details:
            texts["details"] = [details(cell) for cell in each]
    if cells["published"].notna().any():
        texts["paper"] = [published(cell, bold) for cell in each]
    if cells["difference"].notna().any():
        texts["difference"] = [difference(cell) for cell in each]
    return texts


def is_metadata(cells: pd.DataFrame) -> bool:
    """Whether the row is the audit's and not a model's."""
    return cells["section"].iloc[0] == METADATA_SECTION


def reproduced(cell, bold: Bold = str) -> str:
    """`0.601 ±0.004*`, `0.670 (4 tasks)` or `not run`."""
    if pd.isna(cell.reproduced):
        return "not run" if cell.status.startswith(NOT_RUN) else "-"
    text = f"{cell.reproduced:.3f}"
    if pd.notna(cell.reproduced_std):
        text += f" ±{cell.reproduced_std:.3f}"
    text += "*" if cell.better else ""
    text += HEARD if cell.heard_test else ""
    return (bold(text) if cell.best else text) + _tasks(cell)


def interval(cell) -> str:
    """95 % interval, if there is one, and the layer that validation chose."""
    if pd.isna(cell.layer):
        return "-"
    return f"{'no interval,' if pd.isna(cell.low) else f'[{cell.low:.3f}, {cell.high:.3f}]'} layer {cell.layer}"


def details(cell) -> str:
    """Sensitivity at 90 % specificity, calibration error, p value of the permutation test."""
    values = [getattr(cell, name) for name in DETAILS]
    return "-" if pd.isna(values).any() else "{:.2f} / {:.2f} / {:.3f}".format(*values)


def published(cell, bold: Bold = str) -> str:
    """The paper's number as it prints it."""
    if pd.isna(cell.published):
        return "-"
    text = f"{cell.published:.3f}"
    if pd.notna(cell.published_std):
        text += f" ±{cell.published_std:.3f}"
    text += "*" if cell.published_asterisk else ""
    partial = _tasks(cell) if pd.notna(cell.reproduced) else ""
    return (bold(text) if cell.published_bold else text) + partial


def difference(cell) -> str:
    """Reproduced minus paper, with `!` beyond the tolerance."""
    if pd.isna(cell.difference):
        return "-"
    beyond = pd.notna(cell.tolerance) and abs(cell.difference) > cell.tolerance
    return f"{cell.difference:+.3f}{'!' if beyond else ''}"


def test_sets(frame: pd.DataFrame) -> dict[str, str]:
    """`recordings / patients` of the test set by task, for the tasks that ran."""
    counted = frame[frame["n_test"].notna()].drop_duplicates("task").set_index("task")
    return {
        task: f"{row.n_test:.0f} / {'unknown' if pd.isna(row.patients_test) else f'{row.patients_test:.0f}'}"
        for task, row in counted.iterrows()
    }


def markdown(frame: pd.DataFrame) -> str:
    """The table as GitHub Markdown, headed by what the data are."""
    kind = data_kind(frame["data_kind"].iloc[0])
    tasks = list(dict.fromkeys(frame["task"]))
    sizes = test_sets(frame)
    text = [
        f"# {title(frame)}",
        "",
        f"> **{kind.badge}.** {kind.sentence}",
        "",
        _md_row(["Model", "AUROC", *map(paper.column_title, tasks), "Status"]),
        _md_row(["---", "---", *["---:"] * len(tasks), "---"]),
        _md_row(["Test set", "recordings / patients", *(sizes.get(task, "-") for task in tasks), ""]),
    ]
    for section, models in blocks(frame):
        if section:
            text.append(_md_row([f"***{escape_markdown(section)}***", *[""] * (len(tasks) + 2)]))
        for cells in models:
            names = [escape_markdown(label(cells)), escape_markdown(status(cells))]
            for line, values in lines(cells, _md_bold).items():
                text.append(_md_row([names[0], line, *values, names[1]]))
                names = ["", ""]
    return "\n".join([*text, "", *(f"- {escape_markdown(note)}" for note in notes(frame)[1:]), ""])


def latex(frame: pd.DataFrame) -> str:
    """The table as a LaTeX `table*` in the paper's manner; needs the packages booktabs and graphicx.

    To fit a page it leaves the line of details out, which the other formats have.
    """
    kind = data_kind(frame["data_kind"].iloc[0])
    tasks = list(dict.fromkeys(frame["task"]))
    sizes = test_sets(frame)
    heads = [paper.column_title(task).partition(" ") for task in tasks]
    number = int(frame["table"].iloc[0])
    place = f"(Table {number} of the paper, {frame['protocol'].iloc[0]} protocol)"
    text = [
        r"\begin{table*}[p]",
        r"\centering",
        rf"\caption{{{paper.TITLES[number]} {place}. \textbf{{{kind.badge}.}} {escape_latex(kind.sentence)}}}",
        r"\resizebox{\textwidth}{!}{%",
        rf"\begin{{tabular}}{{ll{'r' * len(tasks)}}}",
        r"\toprule",
        rf"Model & AUROC & {' & '.join(escape_latex(first) for first, _, _ in heads)} \\",
        rf" & & {' & '.join(escape_latex(rest) for _, _, rest in heads)} \\",
        rf"Test set & recordings / patients & {' & '.join(sizes.get(task, '--') for task in tasks)} \\",
    ]
    for section, models in blocks(frame):
        text.append(r"\midrule")
        if section:
            text.append(rf"\multicolumn{{{len(tasks) + 2}}}{{l}}{{\textit{{{escape_latex(section)}}}}} \\")
        for cells in models:
            name = escape_latex(label(cells))
            for line, values in lines(cells, _tex_bold, with_details=False).items():
                if cells["reproduced"].isna().all() and line == "reproduced":
                    missing = rf"\textit{{{escape_latex(status(cells))}}}"
                    text.append(rf"{name} & \multicolumn{{{len(tasks) + 1}}}{{l}}{{{missing}}} \\")
                else:
                    text.append(rf"{name} & {line} & {' & '.join(map(_tex_number, values))} \\")
                name = ""
    footnotes = r" \\ ".join(map(escape_latex, notes(frame, with_details=False)[1:]))
    closing = [r"\bottomrule", r"\end{tabular}}", rf"\par\medskip\parbox{{\textwidth}}{{\footnotesize {footnotes}}}"]
    return "\n".join([*text, *closing, r"\end{table*}", ""])


def _tasks(cell) -> str:
    partial = pd.notna(cell.tasks_averaged) and cell.tasks_averaged < len(paper.TASKS)
    return f" ({int(cell.tasks_averaged)} tasks)" if partial else ""


def _md_row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _md_bold(text: str) -> str:
    return f"**{escape_markdown(text)}**"


def _tex_bold(text: str) -> str:
    return rf"\textbf{{{text}}}"


def _tex_number(text: str) -> str:
    """A cell made here: its only special characters are ±, † and the minus of a difference."""
    if text.startswith("-0"):
        return f"${text}$"
    return text.replace("±", r"$\pm$").replace(HEARD, r"\dag{}").replace("_", r"\_")
