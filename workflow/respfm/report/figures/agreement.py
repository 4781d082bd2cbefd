"""Published against reproduced AUROC, one point per model and task."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from respfm.report import paper
from respfm.report.results import distinct_cells, result_table
from respfm.report.scores import protocol_of, read_scores
from respfm.report.shown import Shown
from respfm.report.style import figure_style, new_figure, save_figure, task_look


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
    """Points on the diagonal agree; the band is 0.01 on each side, bars are standard deviations over runs."""
    data = agreement(scores, Shown(models, selected, printed[0].parent, data_kind))
    with figure_style(style) as colours:
        figure = new_figure(4.8, 4.9)
        axes = figure.add_subplot()
        _draw(axes, data, colours)
        save_figure(figure, data, stem, data_kind)


def agreement(scores: Sequence[Path], shown: Shown) -> pd.DataFrame:
    """label, model, task, published, published_std, reproduced, reproduced_std of all cells that have both."""
    read = read_scores(scores)
    tasks = list(dict.fromkeys(read["task"]))
    cells = pd.concat(
        distinct_cells(result_table(number, protocol_of(read), read, tasks, shown)) for number in (2, 3, 4)
    )
    cells = cells[cells["task"].isin(paper.TASKS) & cells["difference"].notna()]
    cells = cells.drop_duplicates(["model", "task"], ignore_index=True)
    return cells[["label", "model", "task", "published", "published_std", "reproduced", "reproduced_std"]]


def _draw(axes: Axes, data: pd.DataFrame, colours: Sequence[str]) -> None:
    axes.plot([0, 1], [0, 1], color="#777777", linewidth=1)
    axes.fill_between([0, 1], [-0.01, 0.99], [0.01, 1.01], color="#DDDDDD", zorder=0)
    for task, points in data.groupby("task", sort=False):
        look = {**task_look(task, paper.TASKS, colours), "linestyle": "none", "elinewidth": 0.8}
        columns = points[["published", "reproduced", "reproduced_std", "published_std"]]
        axes.errorbar(*columns.T.to_numpy(), **look, label=paper.column_title(task))
    low = min([0.5, *data["published"], *data["reproduced"]]) - 0.03
    axes.set(xlim=(low, 1.02), ylim=(low, 1.02), aspect="equal")
    axes.set(xlabel="AUROC in the paper", ylabel="AUROC in this run")
    if len(data):
        axes.legend(loc="best")
    else:
        axes.text(
            *(0.5, 0.5, "No model of the paper has run here yet."),
            transform=axes.transAxes,
            ha="center",
            bbox={"facecolor": "white", "edgecolor": "none"},
        )
