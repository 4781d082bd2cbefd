"""Tables as GitHub Markdown, headed by what the data are."""

import re
from collections.abc import Iterable

from respfm.report.view import Line, View

SPECIAL = re.compile(r"([\\`*_|<>\[\]])")


def escape_markdown(text: str) -> str:
    """Text that a Markdown table shows as it is."""
    return SPECIAL.sub(r"\\\1", " ".join(text.split()))


def markdown(view: View) -> str:
    """The table, its notes below."""

    def row(texts: Iterable[str], name: str) -> str:
        first, *others = texts
        return f"| {' | '.join([first, *([name] if view.stacked else []), *others])} |"

    columns = view.columns
    text = [f"# {view.title}", "", f"> **{view.kind.badge}.** {view.kind.sentence}", ""]
    text += [row([column.title for column in columns], "AUROC")]
    text += [row(["---:" if column.number else "---" for column in columns], "---")]
    if view.stacked:
        sizes = [column.test_set or "-" for column in columns[1:-1]]
        text.append(row(["Test set", *sizes, ""], "recordings / patients"))
    for group in view.groups:
        if group.title:
            text.append(row([f"***{escape_markdown(group.title)}***", *[""] * (len(columns) - 1)], ""))
        for name, lines in (named for entry in group.rows for named in entry.lines()):
            text.append(row([_text(line, column.number) for line, column in zip(lines, columns, strict=True)], name))
    notes = [note.text for note in view.notes]
    notes = [f"- {escape_markdown(note)}" for note in notes] if view.stacked else ["\n\n".join(notes)]
    return "\n".join([*text, "", *notes, ""])


def _text(line: Line, number: bool) -> str:
    if line.mark == "best":
        return f"**{escape_markdown(line.text)}**{line.after}"
    return line.text + line.after if number else escape_markdown(line.text)
