"""Tables as a LaTeX `table*` in the paper's manner; they need the packages booktabs and graphicx."""

from collections.abc import Iterable

from respfm.report.names import OVERLAP
from respfm.report.view import DETAILS, Line, View

SPECIAL = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {
        OVERLAP: r"\dag{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\\": r"\textbackslash{}",
        "±": r"$\pm$",
        "[": "{[}",
        "*": "{*}",
    }
)


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it is, also at the start of a table row."""
    return " ".join(text.split()).translate(SPECIAL)


def latex(view: View) -> str:
    """The table. To fit a page, a stacked one leaves out details, and says in place of its numbers what a row lacks."""
    columns = view.columns[:-1] if view.stacked else view.columns
    first, *heads = [tuple(map(escape_latex, column.head)) for column in columns]
    text = [
        rf"\begin{{table*}}[{'p' if view.stacked else 't'}]",
        r"\centering",
        rf"\caption{{{view.caption}. \textbf{{{view.kind.badge}.}} {escape_latex(view.kind.sentence)}}}",
        r"\resizebox{\textwidth}{!}{%",
        rf"\begin{{tabular}}{{{'l' * view.stacked}{''.join('r' if column.number else 'l' for column in columns)}}}",
        r"\toprule",
        _row([first[0], *(["AUROC"] if view.stacked else []), *(upper for upper, _ in heads)]),
    ]
    if view.stacked:
        text.append(rf" & & {' & '.join(lower for _, lower in heads)} \\")
        text.append(_row(["Test set", "recordings / patients", *(column.test_set or "--" for column in columns[1:])]))
    for group in view.groups:
        text.append(r"\midrule")
        if group.title:
            text.append(_row([_wide(len(columns) + 1, escape_latex(group.title))]))
        for row in group.rows:
            for name, lines in row.lines():
                cells = [_text(line, column.number) for line, column in zip(lines, view.columns, strict=True)]
                if not view.stacked:
                    text.append(_row(cells))
                elif not row.ran and cells[-1]:
                    text.append(_row([cells[0], _wide(len(columns), cells[-1])]))
                elif name != DETAILS:
                    text.append(_row([cells[0], name, *cells[1:-1]]))
    text += [r"\bottomrule", r"\end{tabular}}"]
    if view.stacked:
        notes = r" \\ ".join(escape_latex(note.text) for note in view.notes if note.about != DETAILS)
        text.append(rf"\par\medskip\parbox{{\textwidth}}{{\footnotesize {notes}}}")
    return "\n".join([*text, r"\end{table*}", ""])


def _row(cells: Iterable[str]) -> str:
    return rf"{' & '.join(cells)} \\"


def _wide(columns: int, text: str) -> str:
    return rf"\multicolumn{{{columns}}}{{l}}{{\textit{{{text}}}}}"


def _text(line: Line, number: bool) -> str:
    """A number is made here: its only special characters are ±, †, _ and the minus of a difference."""
    if not number:
        return escape_latex(line.text)
    if line.text.startswith("-0"):
        return f"${line.text}$"
    text = rf"\textbf{{{line.text}}}" if line.mark == "best" else line.text
    return (text + line.after).replace("±", r"$\pm$").replace(OVERLAP, r"\dag{}").replace("_", r"\_")
