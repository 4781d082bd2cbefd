"""A table as a reader sees it: `markdown`, `latex` and the template of the report page write it down."""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from respfm.report.kinds import DataKind

DETAILS = "details"
"""Lines, and notes on them, that do not fit on a printed page."""


class Line(NamedTuple):
    """One line of a cell: which number it is, its text, "best", "missing" or no mark, and what follows the text."""

    name: str
    text: str
    mark: str = ""
    after: str = ""


class Cell(NamedTuple):
    """Lines from top to bottom, and the value that a column is sorted by."""

    lines: Sequence[Line]
    key: str

    @classmethod
    def of(cls, text: str, key: str | None = None) -> "Cell":
        """A cell of one line, sorted by its text."""
        return cls([Line("", text)], text if key is None else key)


class Column(NamedTuple):
    """Head of a column; `test_set` counts the recordings and patients that its numbers rest on."""

    title: str
    number: bool = False
    test_set: str = ""

    @property
    def head(self) -> tuple[str, str]:
        """Upper and lower line of the head."""
        first, _, rest = self.title.partition(" ") if self.number else (self.title, "", "")
        return first, rest


class Row(NamedTuple):
    """One cell per column; `ran` unless all of this run's numbers are missing."""

    cells: Sequence[Cell]
    ran: bool = True

    def lines(self) -> Iterator[tuple[str, Sequence[Line]]]:
        """Each line's name and one `Line` per column; a cell with fewer lines is blank below its own."""
        for lines in itertools.zip_longest(*(cell.lines for cell in self.cells), fillvalue=Line("", "")):
            yield next((line.name for line in lines if line.name), ""), lines


class Group(NamedTuple):
    """Rows under one title, which may be empty."""

    title: str
    rows: Sequence[Row]


class Note(NamedTuple):
    """A sentence below the table; `about` names the lines that it explains, if these are not always shown."""

    text: str
    about: str = ""


class View(NamedTuple):
    """A whole table; `caption` is its title for LaTeX, which numbers tables itself.

    In a `stacked` table the cells of numbers hold several named lines, the first column names a model, and the last one
    says what the row lacks.
    """

    title: str
    kind: DataKind
    columns: Sequence[Column]
    groups: Sequence[Group]
    notes: Sequence[Note]
    caption: str = ""
    stacked: bool = False
