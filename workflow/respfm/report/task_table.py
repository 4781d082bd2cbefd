"""Table 1 of the paper: the classes of each task, counted in this run's task tables and as printed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from respfm.recordings import SPLITS
from respfm.report import paper
from respfm.report.kinds import kind_of
from respfm.report.results import RAN
from respfm.report.view import Cell, Column, Group, Note, Row, View

COUNTED = (*SPLITS, "reproduced", "published", "patients")
NUMBERS = (*COUNTED, "difference")
HEADERS = {
    "dataset": "Dataset",
    "task": "ID",
    "title": "Task",
    "modality": "Modality",
    "class": "Class",
    "reproduced": "Reproduced",
    "published": "Published",
    "difference": "Difference",
    "train": "Train",
    "val": "Val",
    "test": "Test",
    "patients": "Patients",
    "status": "Status",
}


def task_table(protocol: str, task_tables: Mapping[str, Path], paper_dir: Path, data_kind: str) -> pd.DataFrame:
    """One row per class: recordings (all, and per split) and patients, the paper's count, difference.

    Tasks that this run leaves out keep the paper's counts and say what they need; tasks that the paper does not have
    follow.
    """
    printed = paper.read_classes(paper_dir).rename(columns={"samples": "published"})
    tables = {
        task: pd.read_parquet(path, columns=["label", "label_name", "split", "patient"])
        for task, path in task_tables.items()
    }
    others = [
        table[["label", "label_name"]].drop_duplicates().rename(columns={"label_name": "class"}).assign(task=task)
        for task, table in tables.items()
        if task not in set(printed["task"])
    ]
    classes = pd.concat([printed, *others], ignore_index=True)
    classes = classes.fillna(dict.fromkeys(("dataset", "title", "modality"), ""))
    counts = [_counts(tables.get(row.task), row.label, row.dataset) for row in classes.itertuples()]
    frame = classes.join(pd.DataFrame(counts)).astype(dict.fromkeys(COUNTED, "Int64"))
    frame["difference"] = frame["reproduced"] - frame["published"]
    leading = {"table": 1, "protocol": protocol, "data_kind": data_kind}
    return frame.assign(**leading)[[*leading, "label", *HEADERS]]


def _counts(table: pd.DataFrame | None, label: int, dataset: str) -> dict[str, Any]:
    """Recordings of a class in all, of each split, and their patients."""
    if table is None:
        return {"status": f"not run: needs {dataset}"}
    members = table[table["label"] == label]
    named = members.loc[members["patient"] != "", "patient"]
    return {
        "reproduced": len(members),
        **{split: int((members["split"] == split).sum()) for split in SPLITS},
        "patients": named.nunique() if len(named) else None,
        "status": RAN,
    }


def task_view(frame: pd.DataFrame) -> View:
    """The table as a reader sees it, its rows grouped by data set."""
    protocol = frame["protocol"].iloc[0]
    dataset = frame["dataset"].fillna("")
    runs_of_dataset = (dataset != dataset.shift()).cumsum()
    return View(
        title=f"Table 1 ({protocol} protocol): {paper.TITLES[1]}",
        caption=f"{paper.TITLES[1]} ({protocol} protocol)",
        kind=kind_of(frame["data_kind"].iloc[0]),
        columns=[Column(title, name in NUMBERS) for name, title in HEADERS.items()],
        groups=[Group("", [_row(row) for _, row in rows.iterrows()]) for _, rows in frame.groupby(runs_of_dataset)],
        notes=[Note("Counts are recordings; a data set that names no patients has - for their number.")],
    )


def _row(row: pd.Series) -> Row:
    return Row([_cell(name, row[name]) for name in HEADERS], ran=row["status"] == RAN)


def _cell(name: str, value: Any) -> Cell:
    if pd.isna(value) or value == "":
        return Cell.of("-", "")
    text = f"{value:.0f}" if name in NUMBERS else value
    return Cell.of(f"+{text}" if name == "difference" and value > 0 else text, text)
