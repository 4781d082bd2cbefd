"""Figures 1 and 2 of the paper: AUROC of every layer of one model, per task and averaged."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from respfm.errors import RespfmError
from respfm.report import paper
from respfm.report.names import model_title
from respfm.report.scores import read_scores
from respfm.report.style import figure_style, move_apart, new_figure, save_figure, task_look

INK = "#222222"


def draw(
    *,
    model: str,
    scores: Sequence[Path],
    models: Mapping[str, Mapping],
    printed: Sequence[Path],
    data_kind: str,
    style: Path,
    stem: Path,
) -> None:
    """Draw one line per task and a heavy one for their mean, over the layers from input to output.

    The paper prints its Figures 1 and 2 without numbers; its Table 2 gives each model's value at one layer, which
    is drawn as an open symbol at the model's default layer.
    """
    data = layer_means(model, scores, models[model], printed[0].parent)
    with figure_style(style) as colours:
        figure = new_figure(7.2, 4.4)
        axes = figure.add_subplot()
        _draw(axes, data, colours)
        axes.set_title(f"{model_title(model, models)}: AUROC by layer")
        save_figure(figure, data, stem, data_kind)


def layer_means(model: str, scores: Sequence[Path], entry: Mapping, paper_dir: Path) -> pd.DataFrame:
    """model, weights, task, layer, position, auroc (mean over runs), std, published (at the default layer)."""
    read = read_scores(scores)
    read = read[read["model"] == model]
    if read.empty:
        raise RespfmError(f"There are no scores of {model} to draw by layer; add a task or leave the figure out")
    layers = list(dict.fromkeys(read["layer"]))
    grouped = read.groupby(["task", "layer"], sort=False)["auroc_test"]
    data = grouped.agg(auroc="mean", std=lambda runs: runs.std(ddof=0)).reset_index()
    averaged = data[data["task"].isin(paper.TASKS)]
    average = averaged.groupby("layer", sort=False, as_index=False)["auroc"].mean().assign(task=paper.AVERAGE)
    data = pd.concat([data, average], ignore_index=True)
    data["position"] = data["layer"].map({layer: place for place, layer in enumerate(layers, start=1)})
    default = read.loc[read["default_layer"].astype(bool), "layer"].iloc[0]
    data["published"] = data["task"].map(_printed(model, entry, paper_dir)).where(data["layer"] == default)
    if not set(paper.TASKS) <= set(data["task"]):
        data.loc[data["task"] == paper.AVERAGE, "published"] = None
    columns = ["model", "weights", "task", "layer", "position", "auroc", "std", "published"]
    return data.assign(model=model, weights=entry["weights"])[columns]


def _printed(model: str, entry: Mapping, paper_dir: Path) -> pd.Series:
    """Table 2's means of the row that this model stands for, by task; empty if it stands for none."""
    printed = paper.read_results(paper_dir, 2)
    return printed[printed["key"] == paper.paper_key(model, entry, paper_dir)].set_index("task")["mean"]


def _draw(axes: Axes, data: pd.DataFrame, colours: Sequence[str]) -> None:
    ends = []
    tasks = list(dict.fromkeys(data["task"]))
    for task, line in data.groupby("task", sort=False):
        line = line.sort_values("position")
        look = task_look(task, tasks, colours)
        axes.plot(line["position"], line["auroc"], **look)
        hollow = {**look, "linestyle": "none", "markersize": 11, "markerfacecolor": "none"}
        axes.plot(line["position"], line["published"], **hollow, markeredgewidth=1.3)
        ends.append((paper.column_title(task), look, line["auroc"].iloc[-1]))
    layers = data.drop_duplicates("layer").sort_values("position")
    _label_ends(axes, ends, layers["position"].max())
    if len(layers) > 13:
        layers = layers.iloc[::2]
    axes.set_xticks(layers["position"], layers["layer"])
    axes.set_xlabel("Layer, from input to output")
    axes.set_ylabel("AUROC")
    if data["published"].notna().any():
        axes.plot([], [], "o", color=INK, markersize=9, markerfacecolor="none", label="open: the paper's Table 2")
        axes.legend(loc="best")


def _label_ends(axes: Axes, ends: Sequence[tuple[str, dict, float]], right: float) -> None:
    """Name each line beside its last point, labels moved apart, with a thin leader."""
    low, high = axes.get_ylim()
    left = axes.get_xlim()[0]
    step = (right - left) * 0.03
    heights = move_apart([value for _, _, value in ends], (high - low) * 0.06)
    for (name, look, value), height in zip(ends, heights, strict=True):
        axes.plot([right, right + step], [value, height], color=look["color"], linewidth=0.7, clip_on=False)
        axes.plot(right + 1.3 * step, height, marker=look["marker"], color=look["color"], markersize=5, clip_on=False)
        axes.annotate(name, (right + 1.9 * step, height), color=INK, va="center", fontsize=8, annotation_clip=False)
    axes.set_xlim(left, right + step / 2)
    axes.set_ylim(min(low, min(heights)), max(high, max(heights)))
