"""What could inflate scores: test data in the pre-training list, and what metadata alone predict."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from respfm.publish.scores import read_scores, table_layer
from respfm.publish.style import HATCHES, figure_style, new_figure, save_figure


def plot_audit(
    *,
    leakage: Path,
    metadata_baselines: Path,
    scores: Sequence[Path],
    models: Mapping[str, Mapping],
    selected: Sequence[str],
    data_kind: str,
    style: Path,
    stem: Path,
) -> None:
    """Left: share of each task's test recordings and patients that are in a pre-training list. Right: AUROC of
    the best metadata-only baseline of each task beside the best model of this run."""
    leaks = pd.read_csv(leakage)
    baselines = pd.read_csv(metadata_baselines)
    shares = leaked_shares(leaks)
    compared = against_metadata(baselines, read_scores(scores), models)
    with figure_style(style) as colours:
        figure = new_figure(7.2, 3.4)
        left, right = figure.subplots(1, 2)
        _bars(left, shares, ["recordings", "patients"], colours)
        left.set(ylabel="Share of the test set", ylim=(0, 1))
        left.set_title("Test data in the pre-training list")
        _bars(right, compared, ["metadata only", "best model"], colours)
        right.axhline(0.5, color="#555555", linewidth=0.8)
        right.set(ylabel="AUROC", ylim=(0, 1.02))
        right.set_title("What metadata alone predict")
        save_figure(
            figure,
            pd.concat([shares.assign(panel="leakage"), compared.assign(panel="metadata")]),
            stem,
            data_kind,
        )


def leaked_shares(leaks: pd.DataFrame) -> pd.DataFrame:
    """task, recordings, patients: the largest leaked share of the test split over the pre-training lists."""
    test = leaks[(leaks["split"] == "test") & (leaks["protocol"] == "published")]
    shares = test.assign(
        recordings=test["recordings_leaked"] / test["recordings"],
        patients=test["patients_leaked"] / test["patients"].replace(0, np.nan),
    )
    return shares.groupby("task", sort=False, as_index=False)[["recordings", "patients"]].max()


def against_metadata(
    baselines: pd.DataFrame, scores: pd.DataFrame, models: Mapping[str, Mapping]
) -> pd.DataFrame:
    """task, metadata only, metadata (which), best model, model (which)."""
    best = baselines.loc[baselines.groupby("task")["auroc"].idxmax()].set_index("task")
    shown = (
        table_layer(scores, "published")
        .groupby(["task", "model"], sort=False)["auroc_test"]
        .mean()
        .reset_index()
    )
    rows = []
    for task, of_task in shown.groupby("task", sort=False):
        top = of_task.loc[of_task["auroc_test"].idxmax()]
        row = {
            "task": task,
            "best model": top["auroc_test"],
            "model": models[top["model"]].get("title", top["model"]),
        }
        if task in best.index:
            row |= {"metadata only": best.loc[task, "auroc"], "metadata": best.loc[task, "metadata"]}
        rows.append(row)
    return pd.DataFrame(rows, columns=["task", "metadata only", "metadata", "best model", "model"])


def _bars(axes: Axes, data: pd.DataFrame, series: Sequence[str], colours: Sequence[str]) -> None:
    width = 0.8 / len(series)
    for place, name in enumerate(series):
        x = np.arange(len(data)) + (place - (len(series) - 1) / 2) * width
        axes.bar(
            x, data[name], width, color=colours[place], hatch=HATCHES[place], edgecolor="white", label=name
        )
    axes.set_xticks(np.arange(len(data)), data["task"])
    axes.legend(loc="upper right")
