"""What could inflate scores: test data known from training, and what metadata alone predict."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from respfm.report.audit_files import best_metadata, leaked_shares
from respfm.report.names import model_title, overlaps_test
from respfm.report.scores import protocol_of, read_scores, table_layer
from respfm.report.style import HATCHES, figure_style, new_figure, save_figure

SHARES = {"listed": "in a pre-training list", "same_patient": "patient in train"}
SCORES = {"metadata_auroc": "best metadata, no sound", "model_auroc": "best model of this run"}


def draw(
    *,
    leakage: Path,
    metadata_baselines: Path,
    mixtures: Mapping[str, Sequence[str]],
    scores: Sequence[Path],
    models: Mapping[str, Mapping],
    selected: Sequence[str],
    data_kind: str,
    style: Path,
    stem: Path,
) -> None:
    """Above: share of each task's test recordings that training has met, one panel per protocol, with
    the pre-training lists `mixtures[protocol]` of its models. Below: the best metadata-only AUROC of each task beside
    the best of the `selected` models, under the protocol of `scores`."""
    shares = leaked_shares(leakage, mixtures)
    compared = against_metadata(metadata_baselines, read_scores(scores), models, selected)
    with figure_style(style) as colours:
        figure = new_figure(7.2, 5.6)
        protocols = list(dict.fromkeys(shares["protocol"]))
        panels = figure.subplot_mosaic([protocols, ["metadata"] * len(protocols)])
        for protocol in protocols:
            _bars(panels[protocol], shares[shares["protocol"] == protocol], SHARES, colours)
            panels[protocol].set(ylim=(0, 1.02), title=f"Known from training ({protocol})")
        panels[protocols[0]].set_ylabel("Share of test recordings")
        panels["metadata"].axhline(0.5, color="#555555", linewidth=0.8)
        panels["metadata"].set(ylim=(0, 1.02), ylabel="AUROC", title="What metadata alone predict")
        _bars(panels["metadata"], compared, SCORES, colours[2:])
        for place, row in enumerate(compared.dropna(subset="metadata").itertuples()):
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
            panels["metadata"].text(place - 0.2, 0.04, row.metadata, rotation=90, ha="center", fontsize=7, bbox=box)
        save_figure(figure, pd.concat([shares, compared]), stem, data_kind)


def against_metadata(
    baselines: Path, scores: pd.DataFrame, models: Mapping[str, Mapping], selected: Sequence[str]
) -> pd.DataFrame:
    """Per task of the scores: protocol, task, metadata, metadata_auroc, model, model_auroc."""
    protocol = protocol_of(scores)
    best = best_metadata(baselines, protocol)
    shown = table_layer(scores[scores["model"].isin(selected)], protocol)
    cells = zip(shown["model"], shown["task"], strict=True)
    shown = shown[[not overlaps_test(models[model], task, protocol) for model, task in cells]]
    means = shown.groupby(["task", "model"], sort=False)["auroc_test"].mean().reset_index()
    top = means.loc[means.groupby("task", sort=False)["auroc_test"].idxmax()].set_index("task")
    return pd.DataFrame(
        {
            "protocol": protocol,
            "task": top.index,
            "metadata": best["metadata"].reindex(top.index).to_numpy(),
            "metadata_auroc": best["auroc"].reindex(top.index).to_numpy(),
            "model": [model_title(name, models) for name in top["model"]],
            "model_auroc": top["auroc_test"].to_numpy(),
        }
    )


def _bars(axes: Axes, data: pd.DataFrame, series: Mapping[str, str], colours: Sequence[str]) -> None:
    width = 0.8 / len(series)
    places = np.arange(len(data))
    for number, (column, name) in enumerate(series.items()):
        x = places + (number - (len(series) - 1) / 2) * width
        axes.bar(x, data[column], width, color=colours[number], hatch=HATCHES[number], edgecolor="white", label=name)
    axes.set_xticks(places, data["task"])
    axes.grid(axis="x", visible=False)
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.12), ncols=len(series), borderaxespad=0)
