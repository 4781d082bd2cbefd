"""A result frame as Markdown and as LaTeX: per model a line each for reproduced, paper and difference."""

from collections.abc import Iterator

import pandas as pd

from respfm.publish import paper
from respfm.publish.kinds import data_kind
from respfm.publish.results import RAN, distinct_cells

LATEX_SPECIAL = str.maketrans(
    {
        **{c: f"\\{c}" for c in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\\": r"\textbackslash{}",
    }
)


def column_title(task: str) -> str:
    """`T5 Covid`, `Avg.`, or the name of a task that the paper does not have."""
    return "Avg." if task == paper.AVERAGE else f"{task} {paper.TASK_TITLES.get(task, '')}".strip()


def notes(frame: pd.DataFrame) -> list[str]:
    """What a reader must know to read the table's numbers, as sentences."""
    kind = data_kind(frame["data_kind"].iloc[0])
    strict = frame["protocol"].iloc[0] == "strict"
    number = int(frame["table"].iloc[0])
    lines = [kind.sentence]
    if strict:
        lines.append(
            "Strict protocol: AUROC with its 95 % interval from a bootstrap over patients; the layer is chosen on "
            "validation. The paper's numbers come from another protocol and stand beside for orientation."
        )
    else:
        lines.append(
            "Published protocol: mean ± standard deviation of AUROC over runs of the probe (ddof 0)."
        )
    if number == 2:
        lines.append(
            "* in a reproduced line: better than OPERA-CT of this run"
            + ("." if frame["better"].any() else " (none is marked: it was not run, or nothing is better).")
            + " * in a paper line: as printed."
        )
    if number != 3:
        lines.append("Bold: best of the column (after the paper's own rows: at least as good as their best).")
    if frame["tasks_averaged"].notna().any():
        lines.append(
            "An average over fewer than seven tasks says so, and its paper line averages the same tasks."
        )
    if kind.comparable and not strict:
        lines.append("! after a difference: larger than twice the pooled standard deviation, and than 0.01.")
    return lines


def markdown(frame: pd.DataFrame) -> str:
    """The table as GitHub Markdown, headed by what the data are."""
    kind = data_kind(frame["data_kind"].iloc[0])
    tasks = list(dict.fromkeys(frame["task"]))
    header = ["Model", "AUROC", *map(column_title, tasks), "Status"]
    lines = [f"# {title(frame)}", "", f"> **{kind.badge}.** {notes(frame)[0]}", "", _md_row(header)]
    lines.append(_md_row(["---", "---", *["---:"] * len(tasks), "---"]))
    for section, models in blocks(frame):
        if section:
            lines.append(_md_row([f"***{section}***", *[""] * (len(tasks) + 2)]))
        for cells in models:
            first = cells.iloc[0]
            lines.append(
                _md_row(
                    [
                        label(first),
                        "reproduced",
                        *(reproduced(c, _md_bold) for c in _each(cells)),
                        status(cells),
                    ]
                )
            )
            if cells["published"].notna().any():
                lines.append(_md_row(["", "paper", *(published(c, _md_bold) for c in _each(cells)), ""]))
            if cells["difference"].notna().any():
                lines.append(_md_row(["", "difference", *(difference(c) for c in _each(cells)), ""]))
    return "\n".join([*lines, "", *(f"- {note}" for note in notes(frame)[1:]), ""])


def latex(frame: pd.DataFrame) -> str:
    """The table as a LaTeX `table*` for booktabs; needs \\usepackage{booktabs}."""
    kind = data_kind(frame["data_kind"].iloc[0])
    tasks = list(dict.fromkeys(frame["task"]))
    width = len(tasks) + 2
    head = " & ".join(_tex(column_title(task)) for task in tasks)
    lines = [
        r"\begin{table*}[t]",
        r"\centering\scriptsize\setlength{\tabcolsep}{3pt}",
        rf"\caption{{{_tex(title(frame))}. \textbf{{{_tex(kind.badge)}.}} {' '.join(map(_tex, notes(frame)))}}}",
        rf"\begin{{tabular}}{{ll{'r' * len(tasks)}}}",
        r"\toprule",
        rf"Model & AUROC & {head} \\",
    ]
    for section, models in blocks(frame):
        lines.append(r"\midrule")
        if section:
            lines.append(rf"\multicolumn{{{width}}}{{l}}{{\textit{{{_tex(section)}}}}} \\")
        for cells in models:
            name = _tex(label(cells.iloc[0]))
            if cells["reproduced"].notna().any():
                values = " & ".join(reproduced(c, _tex_bold) for c in _each(cells))
                lines.append(rf"{name} & reproduced & {values} \\")
            else:
                missing = _tex(status(cells))
                lines.append(rf"{name} & \multicolumn{{{width - 1}}}{{l}}{{\textit{{{missing}}}}} \\")
            if cells["published"].notna().any():
                lines.append(rf" & paper & {' & '.join(published(c, _tex_bold) for c in _each(cells))} \\")
            if cells["difference"].notna().any():
                lines.append(rf" & difference & {' & '.join(_tex(difference(c)) for c in _each(cells))} \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table*}", ""])


def title(frame: pd.DataFrame) -> str:
    number = int(frame["table"].iloc[0])
    protocol = frame["protocol"].iloc[0]
    return f"Table {number} ({protocol} protocol): {paper.TITLES[number]}"


def blocks(frame: pd.DataFrame) -> Iterator[tuple[str, list[pd.DataFrame]]]:
    """Sections in order, each with one frame of cells per model."""
    cells = distinct_cells(frame).fillna({"section": "", "model": "", "weights": ""})
    for section, part in cells.groupby((cells["section"] != cells["section"].shift()).cumsum(), sort=False):
        del section
        yield part["section"].iloc[0], [model for _, model in part.groupby(["label", "model"], sort=False)]


def _each(cells: pd.DataFrame) -> Iterator:
    return cells.itertuples(index=False)


def label(cell: pd.Series) -> str:
    mark = {"random": " (random weights)", "own": " (own weights)"}.get(cell["weights"], "")
    return f"{cell['label']}{mark}"


def status(cells: pd.DataFrame) -> str:
    """What the row's missing cells need, each need once with its tasks; "ok" if nothing is missing."""
    missing = cells[cells["status"].str.startswith("not run") & (cells["task"] != paper.AVERAGE)]
    if missing.empty:
        return RAN
    if len(missing) == len(cells) - 1 and missing["status"].nunique() == 1:
        return missing["status"].iloc[0]
    needs = missing.groupby("status", sort=False)["task"].agg(", ".join)
    return "; ".join(f"{tasks} {need}" for need, tasks in needs.items())


def reproduced(cell, bold) -> str:
    if pd.isna(cell.reproduced):
        return "not run"
    text = f"{cell.reproduced:.3f}"
    if pd.notna(cell.low):
        text += f" [{cell.low:.3f}, {cell.high:.3f}]"
    elif pd.notna(cell.reproduced_std):
        text += f" ±{cell.reproduced_std:.3f}"
    text = bold(text + ("*" if cell.better else "")) if cell.best else text + ("*" if cell.better else "")
    return text + _tasks(cell)


def published(cell, bold) -> str:
    if pd.isna(cell.published):
        return "-"
    text = f"{cell.published:.3f}"
    if pd.notna(cell.published_std):
        text += f" ±{cell.published_std:.3f}"
    text += "*" if cell.published_asterisk else ""
    return (bold(text) if cell.published_bold else text) + _tasks(cell)


def difference(cell) -> str:
    if pd.isna(cell.difference):
        return "-"
    mark = "!" if pd.notna(cell.tolerance) and abs(cell.difference) > cell.tolerance else ""
    return f"{cell.difference:+.3f}{mark}"


def _tasks(cell) -> str:
    partial = pd.notna(cell.tasks_averaged) and cell.tasks_averaged < len(paper.TASKS)
    return f" ({int(cell.tasks_averaged)} tasks)" if partial else ""


def _md_row(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _md_bold(text: str) -> str:
    return f"**{text.replace('*', chr(92) + '*')}**"


def _tex(text: str) -> str:
    return text.translate(LATEX_SPECIAL).replace("±", r"$\pm$").replace("−", "--")


def _tex_bold(text: str) -> str:
    return rf"\textbf{{{text}}}"
