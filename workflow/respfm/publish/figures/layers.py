"""Figures 1 and 2 of the paper: AUROC of every layer of one model, per task and averaged."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from respfm.errors import RespfmError
from respfm.publish import paper
from respfm.publish.render import column_title
from respfm.publish.scores import read_scores
from respfm.publish.style import LINES, MARKERS, figure_style, new_figure, save_figure, spread


def plot_layers(
    model: str,
    *,
    scores: Sequence[Path],
    models: Mapping[str, Mapping],
    paper_dir: Path,
    data_kind: str,
    style: Path,
    stem: Path,
) -> None:
    """Draw one line per task and a heavy one for their mean, over the layers from input to output.

    The paper prints its Figures 1 and 2 without numbers; its Table 2 gives each model's value at one layer, which
    is marked by an open symbol at the model's default layer.
    """
    data = layer_means(model, scores, models[model], paper_dir)
    with figure_style(style) as colours:
        figure = new_figure(7.2, 4.4)
        _draw(figure.add_subplot(), data, colours)
        figure.axes[0].set_title(f"{models[model].get('title', model)}: AUROC by layer")
        save_figure(figure, data, stem, data_kind)


def layer_means(model: str, scores: Sequence[Path], entry: Mapping, paper_dir: Path) -> pd.DataFrame:
    """model, weights, task, layer, position, auroc (mean over runs), std, published (at the default layer)."""
    read = read_scores([path for path in scores])
    read = read[read["model"] == model]
    if read.empty:
        raise RespfmError(
            f"There are no scores of {model} to draw by layer; add a task or leave the figure out."
        )
    layers = list(dict.fromkeys(read["layer"]))
    grouped = read.groupby(["task", "layer"], sort=False)
    data = grouped["auroc_test"].agg(auroc="mean", std=lambda runs: runs.std(ddof=0)).reset_index()
    average = data.groupby("layer", sort=False, as_index=False)["auroc"].mean().assign(task=paper.AVERAGE)
    data = pd.concat([data, average], ignore_index=True)
    data["position"] = data["layer"].map({layer: place for place, layer in enumerate(layers, start=1)})
    key = paper.paper_key(model, entry, paper_dir)
    default = read.loc[read["default_layer"].astype(bool), "layer"].iloc[0]
    printed = paper.read_results(paper_dir, 2)
    printed = printed[printed["key"] == key].set_index("task")["mean"] if key else pd.Series(dtype=float)
    complete = set(paper.TASKS) <= set(data["task"])
    at_default = (data["layer"] == default) & (complete | (data["task"] != paper.AVERAGE))
    data["published"] = data["task"].map(printed).where(at_default)
    columns = ["model", "weights", "task", "layer", "position", "auroc", "std", "published"]
    return data.assign(model=model, weights=entry["weights"])[columns]


def _draw(axes: Axes, data: pd.DataFrame, colours: Sequence[str]) -> None:
    tasks = list(dict.fromkeys(data["task"]))
    ends = []
    for place, task in enumerate(tasks):
        line = data[data["task"] == task].sort_values("position")
        heavy = task == paper.AVERAGE
        colour = colours[-1] if heavy else colours[place % (len(colours) - 1)]
        marker = MARKERS[-1] if heavy else MARKERS[place % (len(MARKERS) - 1)]
        axes.plot(line["position"], line["auroc"], color=colour, marker=marker, linewidth=2.6 if heavy else 1.4,
                  markersize=9 if heavy else 5, linestyle=LINES[place % len(LINES)] if not heavy else "-")  # fmt: skip
        axes.plot(line["position"], line["published"], marker=marker, linestyle="none", markersize=11,
                  markerfacecolor="none", markeredgecolor=colour, markeredgewidth=1.2)  # fmt: skip
        ends.append((column_title(task), colour, line["auroc"].iloc[-1]))
    low, high = axes.get_ylim()
    right = data["position"].max()
    for (label, colour, value), height in zip(
        ends, spread([end[2] for end in ends], (high - low) * 0.055), strict=True
    ):
        axes.annotate(label, (right, value), (right + 0.35, height), color=colour, va="center", fontsize=8,
                      annotation_clip=False)  # fmt: skip
    layers = data.drop_duplicates("layer").sort_values("position")
    axes.set_xticks(layers["position"], layers["layer"], rotation=45 if len(layers) > 13 else 0)
    axes.set_xlabel("Layer, from input to output")
    axes.set_ylabel("AUROC")
    if data["published"].notna().any():
        axes.plot(
            [],
            [],
            "o",
            markersize=10,
            markerfacecolor="none",
            markeredgecolor="black",
            label="paper (Table 2)",
        )
        axes.legend(loc="lower left")
