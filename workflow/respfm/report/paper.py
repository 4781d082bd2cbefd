"""The numbers that the paper prints, and which registry model stands for which printed row.

`resources/paper/table1.csv` holds one row per class of a task; `table2.csv` to `table4.csv` one row per printed
cell: mean, std (none for the average), asterisk ("better than OPERA-CT") and bold. `key` names the model, so that
rows which the paper prints in several tables (M2D, M2D+Resp) share one key.
"""

import functools
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from respfm.errors import RespfmError

AVERAGE = "Avg"
TASK_TITLES = {
    "T5": "Covid",
    "T6": "Gender",
    "T7": "COPD",
    "T8": "Smoker",
    "T9": "Gender",
    "T10": "Obstructive",
    "T11": "COPD (5 cls)",
}
TASKS = tuple(TASK_TITLES)
TITLES = {
    1: "OPERA benchmark tasks",
    2: "Performance comparison among audio foundation models on the OPERA benchmark",
    3: "M2D ablations on the OPERA benchmark",
    4: "Data ablations of M2D on the OPERA benchmark",
}
CITATION = (
    "D. Niizumi, D. Takeuchi, M. Yasuda, B. T. Nguyen, Y. Ohishi and N. Harada: "
    "Towards Pre-training an Effective Respiratory Audio Foundation Model. Interspeech 2025."
)


def column_title(task: str) -> str:
    """`T5 Covid`, `Avg.`, or the name of a task that the paper does not have."""
    return "Avg." if task == AVERAGE else f"{task} {TASK_TITLES.get(task, '')}".strip()


def read_classes(paper_dir: Path) -> pd.DataFrame:
    """Table 1 of the paper: dataset, citation, task, title, modality, class, label, samples."""
    return pd.read_csv(Path(paper_dir) / "table1.csv", dtype={"class": str})


def read_results(paper_dir: Path, number: int) -> pd.DataFrame:
    """Table 2, 3 or 4 of the paper: row, key, model, citation, section, task, mean, std, asterisk, bold."""
    path = Path(paper_dir) / f"table{number}.csv"
    return pd.read_csv(path, dtype={"citation": str}, keep_default_na=False, na_values={"std": [""]})


@functools.cache
def row_keys(paper_dir: Path) -> dict[tuple[int, int], str]:
    """Model key of every printed row, by (table, row)."""
    return {
        (number, row): key
        for number in (2, 3, 4)
        for row, key in read_results(paper_dir, number)[["row", "key"]].drop_duplicates().itertuples(index=False)
    }


def paper_key(name: str, entry: Mapping, paper_dir: Path) -> str | None:
    """Key of the printed row that a registry model stands for; None for a model that the paper does not have.

    Networks with random weights, and baselines without any, never stand for a printed row.
    """
    place = entry.get("paper_row")
    if place is None or entry["weights"] not in ("published", "own"):
        return None
    key = row_keys(Path(paper_dir)).get((place["table"], place["row"]))
    if key is None:
        raise RespfmError(
            f"config/models.yaml: {name}: the paper has no row {place['row']} in Table {place['table']}; "
            "correct its paper_row or remove it"
        )
    return key
