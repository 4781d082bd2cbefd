"""The written table csv files as plain structures for the report's template."""

from pathlib import Path
from typing import Any

import pandas as pd

from respfm.report import paper, render, task_table
from respfm.report.kinds import data_kind as kind_of


def read_table(path: Path) -> pd.DataFrame:
    """A csv file of `tables.make_table`, with the types that the renderers expect."""
    frame = pd.read_csv(path, dtype={"label": str, "class": str, "layer": str, "model": str})
    if frame["table"].iloc[0] == 1:
        return frame.astype(dict.fromkeys(task_table.NUMBERS, "Int64"))
    return frame


def table_view(stem: str, frame: pd.DataFrame, caption: str) -> dict[str, Any]:
    """name, title, caption, notes, header, and groups of rows whose cells are lines of (style, text)."""
    view = {"name": stem, "caption": caption}
    if frame["table"].iloc[0] == 1:
        return view | {"results": False} | _tasks(frame)
    return view | {"results": True} | _results(frame)


def _tasks(frame: pd.DataFrame) -> dict[str, Any]:
    rows = []
    for _, row in frame.iterrows():
        texts = zip(task_table.HEADERS, task_table.texts(row), strict=True)
        cells = [
            _cell(text, "" if pd.isna(row[name]) else row[name], name in task_table.NUMBERS) for name, text in texts
        ]
        rows.append({"cells": cells, "ran": row["status"] == "ok"})
    return {
        "title": task_table.title(frame),
        "notes": [kind_of(frame["data_kind"].iloc[0]).sentence, task_table.NOTE],
        "header": [_head(text, name in task_table.NUMBERS) for name, text in task_table.HEADERS.items()],
        "groups": [{"title": "", "rows": rows}],
    }


def _results(frame: pd.DataFrame) -> dict[str, Any]:
    tasks = list(dict.fromkeys(frame["task"]))
    sizes = render.test_sets(frame)
    heads = [_head(paper.column_title(task), True, sizes.get(task, "")) for task in tasks]
    groups = [{"title": section, "rows": [_row(cells) for cells in models]} for section, models in render.blocks(frame)]
    return {
        "title": render.title(frame),
        "notes": render.notes(frame),
        "header": [_head("Model"), *heads, _head("Status")],
        "groups": groups,
    }


def _row(cells: pd.DataFrame) -> dict[str, Any]:
    name, status = render.label(cells), render.status(cells)
    lines = render.lines(cells, str)
    values = []
    for place, cell in enumerate(cells.itertuples(index=False)):
        texts = [
            (_style(line, cell), of_line[place])
            for line, of_line in lines.items()
            if line == "reproduced" or of_line[place] != "-"
        ]
        key = cell.reproduced if pd.notna(cell.reproduced) else cell.published
        values.append({"lines": texts, "key": "" if pd.isna(key) else f"{key:.6f}", "number": True})
    return {
        "ran": bool(cells["reproduced"].notna().any()),
        "cells": [_cell(name, name), *values, _cell(status, status)],
    }


def _style(line: str, cell: Any) -> str:
    if line == "reproduced":
        return "missing" if pd.isna(cell.reproduced) else f"reproduced{' best' if cell.best else ''}"
    return f"{line}{' best' if line == 'paper' and cell.published_bold else ''}"


def _cell(text: str, key: Any, number: bool = False) -> dict[str, Any]:
    return {"lines": [("", text)], "key": key, "number": number}


def _head(text: str, number: bool = False, detail: str = "") -> dict[str, Any]:
    first, _, rest = text.partition(" ") if number else (text, "", "")
    return {"text": first, "rest": rest, "detail": detail, "number": number}
