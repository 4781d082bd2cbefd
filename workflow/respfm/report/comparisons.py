"""Models against one reference model on the same test recordings, under the strict protocol."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from respfm.errors import RespfmError
from respfm.files import write_text
from respfm.probe.uncertainty import MIN_PATIENTS, paired_bootstrap
from respfm.report.kinds import kind_of
from respfm.report.markdown import markdown
from respfm.report.names import OVERLAP, OVERLAP_NOTE, model_title, overlaps_test
from respfm.report.results import REFERENCE
from respfm.report.scores import read_scores, table_layer
from respfm.report.shown import Shown
from respfm.report.tables import write_csv
from respfm.report.view import Cell, Column, Group, Note, Row, View

COLUMNS = {
    "task": "Task",
    "model": "Model",
    "reference": "Reference",
    "difference": "Difference of AUROC",
    "low": "Low",
    "high": "High",
    "p_value": "p",
    "recordings": "Recordings",
    "patients": "Patients",
}
NAMES = ("task", "model", "reference")
OVERLAPS = ("heard_test", "reference_heard_test")


def compare_models(
    shown: Shown,
    *,
    scores: Sequence[Path],
    predictions: Sequence[Path],
    task_tables: Mapping[str, Path],
    seed: int,
    stem: Path,
) -> None:
    """Write `stem`.csv and `stem`.md: per task and model the difference of test AUROC to the reference model.

    Each model is taken at the layer that validation chose. Intervals (95 %) and two-sided p values come from a
    paired bootstrap over patients, and are empty where a class has too few. `predictions` are in the order of `scores`.
    Raises RespfmError for predictions of recordings that are not in the task's test split.
    """
    chosen = table_layer(read_scores(scores, task_tables), "strict").set_index(["task", "model"])["layer"]
    reference = reference_model(shown)
    tests = {task: _test_recordings(path) for task, path in task_tables.items()}
    predicted = {
        (task, model): _read(path, task, model, layer, tests)
        for path, ((task, model), layer) in zip(predictions, chosen.items(), strict=True)
    }
    rows = []
    for (task, model), frame in tqdm(predicted.items(), desc="compare models", disable=None):
        if model != reference and (task, reference) in predicted:
            found = paired_bootstrap(frame, predicted[task, reference], seed=seed)
            named = frame.loc[frame["patient"] != "", "patient"]
            counts = {"recordings": len(frame), "patients": named.nunique() if len(named) else None}
            overlaps = [overlaps_test(shown.models[name], task, "strict") for name in (model, reference)]
            names = {"task": task, "model": model, "reference": reference}
            rows.append({**names, **found, **counts, **dict(zip(OVERLAPS, overlaps, strict=True))})
    frame = pd.DataFrame(rows, columns=[*COLUMNS, *OVERLAPS]).astype({"recordings": "Int64", "patients": "Int64"})
    write_csv(frame.assign(data_kind=shown.data_kind), stem.with_name(f"{stem.name}.csv"))
    write_text(stem.with_name(f"{stem.name}.md"), markdown(comparison_view(frame, shown)))


def reference_model(shown: Shown) -> str:
    """OPERA-CT if it is selected, else a baseline without weights, else the first model."""
    keys = shown.paper_keys()
    baselines = [name for name in shown.selected if shown.models[name]["weights"] == "none"]
    return next((name for name in shown.selected if keys[name] == REFERENCE), [*baselines, *shown.selected][0])


def _test_recordings(path: Path) -> set[str]:
    table = pd.read_parquet(path, columns=["recording", "split"])
    return set(table.loc[table["split"] == "test", "recording"])


def _read(path: Path, task: str, model: str, layer: str, tests: Mapping[str, set[str]]) -> pd.DataFrame:
    frame = pd.read_parquet(path)
    frame = frame[frame["layer"].astype(str) == layer]
    unknown = set(frame["recording"]) - tests[task]
    if unknown or len(frame) != len(tests[task]):
        example = f", for example {min(unknown)}" if unknown else ""
        raise RespfmError(
            f"{path}: the predictions of {model} are not those of the test split of {task} ({len(unknown)} unknown "
            f"recordings{example}); remove it and its score file and run again"
        )
    return frame


def comparison_view(frame: pd.DataFrame, shown: Shown) -> View:
    """The comparisons as a reader sees them."""
    notes = [
        "Paired bootstrap over patients (recordings, where patients are unknown); p values are not corrected for the "
        f"number of comparisons. No interval where a class has fewer than {MIN_PATIENTS} patients in the test set."
    ]
    if frame[list(OVERLAPS)].any(axis=None):
        notes.append(OVERLAP_NOTE)
    return View(
        title="Models against a reference (strict protocol)",
        kind=kind_of(shown.data_kind),
        columns=[Column(title, name not in NAMES) for name, title in COLUMNS.items()],
        groups=[Group("", [_row(row, shown.models) for row in frame.itertuples(index=False)])],
        notes=list(map(Note, notes)),
    )


def _row(row: Any, models: Mapping[str, Mapping]) -> Row:
    overlaps = {row.model: row.heard_test, row.reference: row.reference_heard_test}
    names = [model_title(name, models) + OVERLAP * mark for name, mark in overlaps.items()]
    numbers = [f"{row.difference:+.3f}", "-", "-", "-"]
    if pd.notna(row.low):
        numbers[1:] = [f"{row.low:+.3f}", f"{row.high:+.3f}", f"{row.p_value:.4f}"]
    patients = "unknown" if pd.isna(row.patients) else str(row.patients)
    return Row([Cell.of(text) for text in (row.task, *names, *numbers, str(row.recordings), patients)])
