"""This run's results beside the paper's, as one tidy frame per table.

One row per model, task and run; the columns from `reproduced` on repeat for all runs of a cell. Rows that did not
run are there once, without a number and with a status that says what they need.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from respfm.report import paper
from respfm.report.kinds import kind_of
from respfm.report.names import overlaps_test
from respfm.report.scores import table_layer
from respfm.report.shown import Shown

DETAIL_COLUMNS = ("sensitivity_at_90_specificity", "ece", "p_value")
"""What the strict probe reports beside AUROC."""
COLUMNS = (
    *("table", "protocol", "data_kind", "section", "row", "label", "model", "weights", "task", "layer"),
    *("run", "auroc", "reproduced", "reproduced_std", "low", "high", "published", "published_std"),
    *("published_asterisk", "published_bold", "difference", "tolerance", "better", "best", "tasks_averaged"),
    *DETAIL_COLUMNS,
    *("heard_test", "n_test", "patients_test", "status"),
)
RAN = "ok"
NOT_RUN = "not run: needs "
REFERENCE = "opera_ct"
LAST_NUMBERED_ROW = 21
OTHER_SECTIONS = {
    "published": "Other models of this run.",
    "own": "Other models pre-trained in this run.",
    "random": "Random weights: the architecture without its checkpoint.",
    "none": "Baselines without pre-training.",
}
METADATA_SECTION = "Metadata only, no sound: the audit's best baseline of each task."


PRINTED = {"mean": "published", "std": "published_std", "asterisk": "published_asterisk", "bold": "published_bold"}
EMPTY = {"run": [None], "auroc": [None], "published_asterisk": False, "published_bold": False}
Cell = dict[str, Any]
"""Columns of one model on one task; `run` and `auroc` are lists."""


def result_table(
    number: int,
    protocol: str,
    scores: pd.DataFrame,
    tasks: Sequence[str],
    shown: Shown,
    metadata: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Table 2, 3 or 4 of the paper beside this run's results, then the models that the paper does not have.

    `scores` are what `scores.read_scores` returns, `tasks` those that this run evaluates; others get a status that
    names their data set. `metadata`, what `audit_files.best_metadata` returns, becomes the last row of Table 2. Returns
    a frame with the columns COLUMNS.
    """
    printed = paper.read_results(shown.paper_dir, number)
    on_paper = printed.rename(columns=PRINTED).set_index(["key", "task"])[[*PRINTED.values()]].to_dict("index")
    datasets = paper.read_classes(shown.paper_dir).drop_duplicates("task").set_index("task")["dataset"]
    runs = table_layer(scores, protocol).groupby(["model", "task"], sort=False)
    scored = {key: _reproduced(of_cell) for key, of_cell in runs}
    columns = [*paper.TASKS, *(task for task in tasks if task not in paper.TASKS)]
    cells = []
    for row in _rows(number, printed, shown):
        of_row = [{**row, **EMPTY, "task": task, **on_paper.get((row["key"], task), {})} for task in columns]
        for cell in of_row if row["status"] == RAN else []:
            task = cell["task"]
            needed = f"the scores of {row['model']} on {task}" if task in tasks else datasets[task]
            cell |= scored.get((row["model"], task), {"status": f"{NOT_RUN}{needed}"})
            cell["pooled_std"] = _pooled_std(cell)
        average = {**row, **EMPTY, "task": paper.AVERAGE, **on_paper.get((row["key"], paper.AVERAGE), {})}
        cells += [*of_row, average | _average(average, of_row)]
    if number == 2 and metadata is not None:
        cells += [_metadata_cell(metadata, task) for task in [*columns, paper.AVERAGE]]
    for cell in cells:
        cell["heard_test"] = bool(cell["model"]) and overlaps_test(shown.models[cell["model"]], cell["task"], protocol)
    frame = pd.DataFrame(cells).assign(table=number, protocol=protocol, data_kind=shown.data_kind)
    of_average = frame[frame["reproduced"].notna()].groupby(["section", "label"])["heard_test"].transform("any")
    frame["heard_test"] |= of_average.reindex(frame.index, fill_value=False) & (frame["task"] == paper.AVERAGE)
    _compare(frame, comparable=kind_of(shown.data_kind).comparable and protocol == "published")
    return frame.explode(["run", "auroc"], ignore_index=True).reindex(columns=COLUMNS).astype({"row": "Int64"})


def distinct_cells(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per (table row, task): the frame without its repetition over runs."""
    return frame.drop_duplicates(["section", "label", "model", "task"], ignore_index=True)


def _rows(number: int, printed: pd.DataFrame, shown: Shown) -> list[Cell]:
    """The printed rows, each with the registry model that stands for it, then the other models of the run."""
    models, selected, keys = shown.models, shown.selected, shown.paper_keys()
    ranked = [*selected, *(name for name in models if name not in selected)]
    rows: list[Cell] = []
    for line in printed.drop_duplicates("row").itertuples():
        of_line = {"table": number, "row": line.row}
        able = [name for name in ranked if keys[name] == line.key]
        # A printed row that several models stand for is that of the model whose entry names it, if that one runs.
        model = min(able, key=lambda name: (name not in selected, models[name]["paper_row"] != of_line), default=None)
        label = f"{line.row}. {line.model}" if number == 2 and line.row <= LAST_NUMBERED_ROW else line.model
        row = {"section": line.section, "row": line.row, "label": label, "key": line.key, "model": model}
        weights = models[model]["weights"] if model else None
        rows.append({**row, "weights": weights, "status": _row_status(of_line, model, shown)})
    used = {row["model"] for row in rows}
    for weights, section in OTHER_SECTIONS.items():
        for name in selected:
            entry, key = models[name], keys[name]
            belongs = key in set(printed["key"]) if key else number == 2 or weights == "own"
            if entry["weights"] == weights and belongs and name not in used:
                row = {"section": section, "row": None, "label": entry.get("title", name), "key": key, "model": name}
                rows.append({**row, "weights": weights, "status": RAN})
    return rows


def _row_status(row: Mapping, model: str | None, shown: Shown) -> str:
    if model is None:
        return f"{NOT_RUN}a model with paper_row {{table: {row['table']}, row: {row['row']}}}"
    if model in shown.selected:
        return RAN
    return f"{NOT_RUN}{_source(shown.models[model])}, then {model} among the config's models"


def _source(entry: Mapping[str, Any]) -> str:
    """What gives a model its weights, in words."""
    if run := entry.get("run"):
        return f"the pre-training run {run if isinstance(run, str) else next(iter(run.values()))}"
    checkpoint = entry.get("checkpoint")
    if not checkpoint:
        return "its checkpoint"
    size = f" ({checkpoint['bytes'] / 1e6:.0f} MB)" if "bytes" in checkpoint else ""
    return f"the checkpoint {checkpoint['url'].rsplit('/', 1)[-1]}{size}"


def _reproduced(runs: pd.DataFrame) -> Cell:
    runs = runs.sort_values("run")
    first = runs.iloc[0]
    return {
        "run": runs["run"].tolist(),
        "auroc": runs["auroc_test"].tolist(),
        "reproduced": runs["auroc_test"].mean(),
        "reproduced_std": runs["auroc_test"].std(ddof=0) if len(runs) > 1 else None,
        "low": first.get("auroc_low"),
        "high": first.get("auroc_high"),
        **{name: first.get(name) for name in ("layer", "n_test", "patients_test", *DETAIL_COLUMNS)},
    }


def _average(average: Cell, cells: Sequence[Cell]) -> Cell:
    """Mean over those of the paper's tasks that ran, as independent draws; the paper's side averages the same."""
    ran = [cell for cell in cells if cell["task"] in paper.TASKS and "reproduced" in cell]
    if not ran:
        return {"status": f"{NOT_RUN}a task of the paper"} if average["status"] == RAN else {}
    mean = {
        "run": ran[0]["run"],
        "auroc": [sum(runs) / len(ran) for runs in zip(*(cell["auroc"] for cell in ran), strict=True)],
        "reproduced": sum(cell["reproduced"] for cell in ran) / len(ran),
        "pooled_std": sum(cell["pooled_std"] ** 2 for cell in ran) ** 0.5 / len(ran),
        "tasks_averaged": len(ran),
    }
    if len(ran) < len(paper.TASKS):
        mean["status"] = f"average of {len(ran)} of {len(paper.TASKS)} tasks"
        if "published" in average:
            same = sum(cell["published"] for cell in ran) / len(ran)
            mean |= {"published": same, "published_asterisk": False, "published_bold": False}
    return mean


def _pooled_std(cell: Mapping[str, Any]) -> float:
    """Standard deviation of the difference between a cell of this run and the paper's; an unknown one counts as 0."""
    known = [cell[name] for name in ("reproduced_std", "published_std") if pd.notna(cell.get(name))]
    return sum(std**2 for std in known) ** 0.5


def _metadata_cell(metadata: pd.DataFrame, task: str) -> Cell:
    """A cell of the audit's row; its `layer` is the name of the metadata."""
    row = {"section": METADATA_SECTION, "label": "Metadata only", "model": None, "weights": "none"}
    if task not in metadata.index:
        missing = "not averaged" if task == paper.AVERAGE else f"{NOT_RUN}metadata"
        return {**row, **EMPTY, "task": task, "status": missing}
    name, auroc = metadata.loc[task, ["metadata", "auroc"]]
    found = {"layer": name, "run": [0], "auroc": [auroc], "reproduced": auroc, "status": RAN}
    return {**row, **EMPTY, "task": task, **found}


def _compare(frame: pd.DataFrame, comparable: bool) -> None:
    """Add difference, tolerance (twice the pooled std, at least 0.01), better than OPERA-CT, and best, in place.

    As in the paper, Table 3 has no best, and further models are best if they reach the best of the paper's rows. Cells
    of weights that were pre-trained on test data are never best.
    """
    numbers = (
        *("reproduced", "reproduced_std", "published", "published_std", "pooled_std", "low", "high", "tasks_averaged"),
        *DETAIL_COLUMNS,
    )
    for column in numbers:
        frame[column] = pd.to_numeric(frame.get(column))
    frame["difference"] = frame["reproduced"] - frame["published"]
    frame["tolerance"] = (2 * frame["pooled_std"]).clip(lower=0.01).where(frame["difference"].notna() & comparable)
    frame[["better", "best"]] = False
    number = frame["table"].iloc[0]
    sounding = frame["reproduced"].notna() & (frame["section"] != METADATA_SECTION) & ~frame["heard_test"]
    most_tasks = frame["tasks_averaged"].isna() | (frame["tasks_averaged"] == frame["tasks_averaged"].max())
    for _, column in frame[sounding & most_tasks].groupby("task", sort=False):
        value = column["reproduced"].round(3)
        reference = value[column["key"] == REFERENCE]
        if number == 2 and len(reference) and frame["protocol"].iloc[0] == "published":
            frame.loc[column.index, "better"] = value > reference.iloc[0]
        ranked = value[column["row"].notna() & ((number != 2) | (column["row"] <= LAST_NUMBERED_ROW))]
        if number != 3:
            frame.loc[column.index, "best"] = value >= (ranked if len(ranked) else value).max()
