"""The written table csv files as plain structures for the report's template."""

from pathlib import Path

import pandas as pd

from respfm.publish import render, task_table
from respfm.publish.kinds import data_kind as kind_of


def read_table(path: Path) -> pd.DataFrame:
    """A csv file of `tables.make_table`, with the types that the renderers expect."""
    frame = pd.read_csv(path, dtype={"label": str, "class": str, "layer": str, "model": str})
    if frame["table"].iloc[0] == 1:
        return frame.astype(dict.fromkeys(task_table.NUMBERS, "Int64"))
    return frame


def table_view(stem: str, frame: pd.DataFrame, caption: str) -> dict:
    """name, title, caption, notes, header, and groups of rows; every cell is a list of lines with a sort key."""
    view = {"name": stem, "caption": caption}
    if frame["table"].iloc[0] == 1:
        return view | _tasks(frame)
    return view | _results(frame)


def _tasks(frame: pd.DataFrame) -> dict:
    rows = []
    for _, row in frame.iterrows():
        cells = []
        for column, text in zip(task_table.HEADERS, task_table.texts(row), strict=True):
            number = column in task_table.NUMBERS
            cells.append(
                {"lines": [text], "key": row[column] if pd.notna(row[column]) else "", "number": number}
            )
        rows.append({"cells": cells, "ran": row["status"] == "ok"})
    return {
        "title": task_table.title(frame),
        "notes": [kind_of(frame["data_kind"].iloc[0]).sentence, task_table.NOTE],
        "header": [
            {"text": text, "number": name in task_table.NUMBERS} for name, text in task_table.HEADERS.items()
        ],
        "groups": [{"title": "", "rows": rows}],
    }


def _results(frame: pd.DataFrame) -> dict:
    tasks = list(dict.fromkeys(frame["task"]))
    header = [{"text": "Model", "number": False}]
    header += [{"text": render.column_title(task), "number": True} for task in tasks]
    groups = [
        {"title": section, "rows": [_row(cells) for cells in models]}
        for section, models in render.blocks(frame)
    ]
    return {
        "title": render.title(frame),
        "notes": render.notes(frame),
        "header": [*header, {"text": "Status", "number": False}],
        "groups": groups,
    }


def _row(cells: pd.DataFrame) -> dict:
    first = cells.iloc[0]
    ran = bool(cells["reproduced"].notna().any())
    label = render.label(first)
    values = [_cell(cell) for cell in cells.itertuples(index=False)]
    status = render.status(cells)
    return {
        "ran": ran,
        "cells": [
            {"lines": [label], "key": label, "number": False},
            *values,
            {"lines": [status], "key": status, "number": False},
        ],
    }


def _cell(cell) -> dict:
    """Reproduced, paper and difference as three lines; sorted by the reproduced value, else by the paper's."""
    value = cell.reproduced if pd.notna(cell.reproduced) else cell.published
    return {
        "number": True,
        "key": "" if pd.isna(value) else f"{value:.6f}",
        "reproduced": render.reproduced(cell, str),
        "best": bool(cell.best),
        "missing": pd.isna(cell.reproduced),
        "published": render.published(cell, str),
        "published_best": bool(cell.published_bold),
        "difference": render.difference(cell),
    }
