"""Reproduced and published results side by side, as one tidy frame per table.

One row per model, task and run; the columns from `reproduced` on repeat for all runs of a cell. Rows that did not
run are there once, without a number and with a status that says what they need.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from respfm.publish import paper
from respfm.publish.kinds import data_kind as kind_of
from respfm.publish.scores import table_layer

COLUMNS = (
    *("table", "protocol", "data_kind", "section", "row", "label", "model", "weights", "task", "layer"),
    *("run", "auroc", "reproduced", "reproduced_std", "low", "high", "published", "published_std"),
    *("published_asterisk", "published_bold", "difference", "tolerance", "better", "best", "tasks_averaged"),
    *("n_test", "patients_test", "status"),
)
RAN = "ok"
REFERENCE = "opera_ct"
OTHER_SECTIONS = {
    "published": "Other models of this run.",
    "own": "Models pre-trained in this run that the paper does not have.",
    "random": "Random weights: the architecture without its checkpoint.",
    "none": "Baselines without pre-training.",
}


def result_table(
    number: int,
    protocol: str,
    scores: pd.DataFrame,
    tasks: Sequence[str],
    models: Mapping[str, Mapping],
    selected: Sequence[str],
    paper_dir: Path,
    data_kind: str,
) -> pd.DataFrame:
    """Table 2, 3 or 4 of the paper beside this run's results.

    Args:
        scores: what `scores.read_scores` returns.
        tasks: the tasks that this run evaluates; others get a status that names their data set.
        models: all registry entries; `selected` names those that run, in the order of the configuration.

    Returns:
        A frame with the columns COLUMNS, in the paper's order, then models that the paper does not have.
    """
    printed = paper.read_results(paper_dir, number)
    columns = [*paper.TASKS, *(task for task in tasks if task not in paper.TASKS)]
    runs = _runs(table_layer(scores, protocol)) if len(scores) else {}
    cells = [
        cell
        for row in _rows(number, printed, models, selected, paper_dir)
        for cell in _cells(row, columns, runs, printed, tasks, paper_dir)
    ]
    frame = pd.DataFrame(cells).assign(table=number, protocol=protocol, data_kind=data_kind)
    _compare(frame, number, comparable=kind_of(data_kind).comparable and protocol == "published")
    return frame.explode(["run", "auroc"], ignore_index=True).reindex(columns=COLUMNS)


def distinct_cells(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per (table row, task): the frame without its repetition over runs."""
    return frame.drop_duplicates(["section", "label", "model", "task"], ignore_index=True)


def _runs(shown: pd.DataFrame) -> dict[tuple[str, str], pd.DataFrame]:
    return {key: group.sort_values("run") for key, group in shown.groupby(["model", "task"], sort=False)}


def _rows(number, printed, models, selected, paper_dir) -> list[dict]:
    """The printed rows, each with the registry model that stands for it, then the other models of the run."""
    keys = {name: paper.paper_key(name, entry, paper_dir) for name, entry in models.items()}
    ranked = [*selected, *(name for name in models if name not in selected)]
    rows, used = [], set()
    for row in printed.drop_duplicates("row").itertuples():
        name = next((name for name in ranked if keys[name] == row.key), None)
        used.add(name)
        label = f"{row.row}. {row.model}" if number == 2 and row.row <= 21 else row.model
        rows.append({"section": row.section, "row": row.row, "label": label, "key": row.key, "model": name})
    in_paper = set(paper.row_keys(Path(paper_dir)).values())
    for weights, section in OTHER_SECTIONS.items():
        for name in selected:
            entry = models[name]
            twice = keys[name] in in_paper and name not in used and keys[name] in set(printed["key"])
            foreign = keys[name] is None and (number == 2 or weights == "own")
            if entry["weights"] == weights and (twice or foreign):
                label = entry.get("title", name)
                rows.append(
                    {"section": section, "row": None, "label": label, "key": keys[name], "model": name}
                )
    for row in rows:
        row["weights"] = models[row["model"]]["weights"] if row["model"] else None
        row["status"] = _row_status(number, row, models, selected)
    return rows


def _row_status(number: int, row: Mapping, models: Mapping, selected: Sequence[str]) -> str:
    if row["model"] is None:
        return (
            f"not run: needs an entry in config/models.yaml with paper_row table {number}, row {row['row']}"
        )
    if row["model"] in selected:
        return RAN
    return f"not run: needs {_needs(models[row['model']])}, then {row['model']} in the models of the config"


def _needs(entry: Mapping) -> str:
    if entry["weights"] == "own":
        run = entry["run"]
        return f"the pre-training run {run if isinstance(run, str) else run['published']}"
    checkpoint = entry.get("checkpoint")
    if not checkpoint:
        return "its checkpoint"
    size = f" ({checkpoint['bytes'] / 1e6:.0f} MB)" if "bytes" in checkpoint else ""
    return f"the checkpoint {checkpoint['url'].rsplit('/', 1)[-1]}{size}"


def _cells(row, columns, runs, printed, tasks, paper_dir) -> list[dict]:
    """One dictionary per task and one for the average, `run` and `auroc` holding lists."""
    published = printed[printed["key"] == row["key"]].set_index("task")
    datasets = paper.read_classes(paper_dir).drop_duplicates("task").set_index("task")["dataset"]
    cells = []
    for task in columns:
        cell = {**row, "task": task, "run": [None], "auroc": [None], **_published(published, task)}
        group = runs.get((row["model"], task))
        if row["status"] != RAN:
            pass
        elif group is not None:
            cell |= _reproduced(group)
        elif task not in tasks:
            cell["status"] = f"not run: needs {datasets[task]}"
        else:
            cell["status"] = f"not run: needs the score file of {row['model']} on {task}"
        cells.append(cell)
    return [*cells, _average(row, cells, published)]


def _published(published: pd.DataFrame, task: str) -> dict:
    if task not in published.index:
        return {
            "published": None,
            "published_std": None,
            "published_asterisk": False,
            "published_bold": False,
        }
    cell = published.loc[task]
    return {
        "published": cell["mean"],
        "published_std": cell["std"],
        "published_asterisk": bool(cell["asterisk"]),
        "published_bold": bool(cell["bold"]),
    }


def _reproduced(group: pd.DataFrame) -> dict:
    first = group.iloc[0]
    return {
        "layer": first["layer"],
        "run": group["run"].tolist(),
        "auroc": group["auroc_test"].tolist(),
        "reproduced": group["auroc_test"].mean(),
        "reproduced_std": group["auroc_test"].std(ddof=0) if len(group) > 1 else None,
        "low": first.get("auroc_low"),
        "high": first.get("auroc_high"),
        "n_test": first["n_test"],
        "patients_test": first["patients_test"],
    }


def _average(row: Mapping, cells: Sequence[Mapping], published: pd.DataFrame) -> dict:
    """Mean over those of the paper's tasks that ran; the published side averages the same tasks."""
    average = {**row, "task": paper.AVERAGE, "run": [None], "auroc": [None]}
    average |= _published(published, paper.AVERAGE)
    ran = [cell for cell in cells if cell["task"] in paper.TASKS and cell["run"] != [None]]
    if not ran:
        if average["status"] == RAN:
            average["status"] = "not run: needs a task of the paper"
        return average
    average |= {"run": ran[0]["run"], "tasks_averaged": len(ran)}
    average["auroc"] = [
        sum(values) / len(ran) for values in zip(*(cell["auroc"] for cell in ran), strict=True)
    ]
    average["reproduced"] = sum(cell["reproduced"] for cell in ran) / len(ran)
    if len(ran) < len(paper.TASKS):
        average["status"] = f"average of {len(ran)} of {len(paper.TASKS)} tasks"
        if average["published"] is not None:
            average["published"] = sum(cell["published"] for cell in ran) / len(ran)
            average |= {"published_asterisk": False, "published_bold": False}
    return average


def _compare(frame: pd.DataFrame, number: int, comparable: bool) -> None:
    """Add difference, tolerance (twice the pooled std, at least 0.01), better than OPERA-CT, and best, in place."""
    for column in (
        "reproduced",
        "reproduced_std",
        "published",
        "published_std",
        "low",
        "high",
        "tasks_averaged",
    ):
        frame[column] = pd.to_numeric(frame.get(column))
    frame["difference"] = frame["reproduced"] - frame["published"]
    pooled = (frame["reproduced_std"].fillna(0) ** 2 + frame["published_std"].fillna(0) ** 2) ** 0.5
    frame["tolerance"] = (2 * pooled).clip(lower=0.01).where(frame["difference"].notna() & comparable)
    frame["better"] = False
    frame["best"] = False
    for _, column in frame.groupby("task", sort=False):
        column = column[column["reproduced"].notna()]
        if column["tasks_averaged"].notna().any():
            column = column[column["tasks_averaged"] == column["tasks_averaged"].max()]
        value = column["reproduced"].round(3)
        reference = value[column["key"] == REFERENCE]
        if len(reference) and number == 2:
            frame.loc[column.index, "better"] = value > reference.iloc[0]
        ranked = value[(column["row"].notna()) & ~((column["table"] == 2) & (column["row"] == 22))]
        if number != 3 and len(value):
            frame.loc[column.index, "best"] = value >= (ranked if len(ranked) else value).max()
