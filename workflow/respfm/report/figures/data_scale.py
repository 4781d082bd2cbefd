"""Table 4 of the paper as a curve: AUROC over the amount of respiratory sound in further pre-training."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from respfm.report import paper
from respfm.report.results import distinct_cells, result_table
from respfm.report.scores import protocol_of, read_scores
from respfm.report.shown import Shown
from respfm.report.style import figure_style, new_figure, save_figure

RESPIRATORY_ENTRIES = {
    "m2d": 0,
    "as_resp_100k": 98_889,
    "as_resp_200k": 211_905,
    "as_resp_300k": 310_794,
    "m2d_resp": 409_683,
    "as_resp_500k": 508_572,
}
"""The paper's 14,127 respiratory list entries taken 0, 7, 15, 22, 29 and 36 times."""


def draw(
    *,
    scores: Sequence[Path],
    models: Mapping[str, Mapping],
    selected: Sequence[str],
    printed: Sequence[Path],
    data_kind: str,
    style: Path,
    stem: Path,
) -> None:
    """One panel per task and one for the average; the paper's numbers in grey, this run's in colour.

    The x axis counts the respiratory list entries beside AudioSet's 2,005,132.
    """
    data = data_scale(scores, Shown(models, selected, printed[0].parent, data_kind))
    with figure_style(style) as colours:
        figure = new_figure(7.2, 4.4)
        panels = list(figure.subplots(2, 4, sharex=True).flat)
        for axes, (task, points) in zip(panels, data.groupby("task", sort=False), strict=True):
            _draw(axes, points, colours[1])
            axes.set_title(paper.column_title(task))
        figure.supxlabel("Respiratory list entries beside AudioSet (thousands)", fontsize=9)
        figure.supylabel("AUROC", fontsize=9)
        handles = max((axes.get_legend_handles_labels() for axes in panels), key=lambda found: len(found[0]))
        figure.legend(*handles, loc="outside upper left", ncols=2)
        save_figure(figure, data, stem, data_kind)


def data_scale(scores: Sequence[Path], shown: Shown) -> pd.DataFrame:
    """label, model, task, respiratory, reproduced, reproduced_std, published, published_std; one row per cell.

    An average of this run is there only if all of the paper's tasks ran.
    """
    read = read_scores(scores)
    tasks = list(dict.fromkeys(read["task"]))
    cells = distinct_cells(result_table(4, protocol_of(read), read, tasks, shown))
    cells = cells[cells["row"].notna() & cells["task"].isin([*paper.TASKS, paper.AVERAGE])]
    printed = paper.read_results(shown.paper_dir, 4)
    keys = printed.drop_duplicates("row").set_index("row")["key"]
    cells = cells.assign(respiratory=cells["row"].map(keys).map(RESPIRATORY_ENTRIES)).dropna(subset="respiratory")
    cells["published"] = cells.merge(printed, on=["row", "task"], how="left")["mean"].to_numpy()
    cells["reproduced"] = cells["reproduced"].where(
        cells["tasks_averaged"].fillna(len(paper.TASKS)) == len(paper.TASKS)
    )
    columns = ["label", "model", "task", "respiratory", "reproduced", "reproduced_std"]
    return cells[[*columns, "published", "published_std"]]


def _draw(axes: Axes, points: pd.DataFrame, colour: str) -> None:
    x = points["respiratory"] / 1000
    look = {"capsize": 2, "linewidth": 1.2, "elinewidth": 0.8}
    axes.errorbar(
        x,
        points["published"],
        points["published_std"],
        color="#666666",
        marker="o",
        markerfacecolor="white",
        linestyle="--",
        label="paper",
        **look,
    )
    ran = points["reproduced"].notna()
    if ran.any():
        values = points.loc[ran, ["reproduced", "reproduced_std"]].T.to_numpy()
        axes.errorbar(x[ran], *values, color=colour, marker="s", label="this run", **look)
    axes.margins(y=0.15)
