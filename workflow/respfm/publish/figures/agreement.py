"""Published against reproduced AUROC, one point per model and task."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from respfm.publish import paper
from respfm.publish.render import column_title
from respfm.publish.results import distinct_cells, result_table
from respfm.publish.scores import read_scores
from respfm.publish.style import MARKERS, figure_style, new_figure, save_figure


def plot_agreement(
    *,
    scores: Sequence[Path],
    models: Mapping[str, Mapping],
    selected: Sequence[str],
    paper_dir: Path,
    data_kind: str,
    style: Path,
    stem: Path,
) -> None:
    """Points on the diagonal agree; the band is the tolerance of 0.01, bars are standard deviations over runs."""
    data = agreement(scores, models, selected, paper_dir, data_kind)
    with figure_style(style) as colours:
        figure = new_figure(5.4, 5.0)
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color="#777777", linewidth=1)
        axes.fill_between([0, 1], [-0.01, 0.99], [0.01, 1.01], color="#DDDDDD", zorder=0)
        for place, (task, points) in enumerate(data.groupby("task", sort=False)):
            axes.errorbar(points["published"], points["reproduced"], points["reproduced_std"], points["published_std"],
                          linestyle="none", marker=MARKERS[place % len(MARKERS)], color=colours[place % len(colours)],
                          elinewidth=0.8, label=column_title(task))  # fmt: skip
        low = min([0.5, *data["published"], *data["reproduced"]]) - 0.03
        axes.set(xlim=(low, 1.02), ylim=(low, 1.02), aspect="equal", xlabel="AUROC in the paper",
                 ylabel="AUROC in this run")  # fmt: skip
        if len(data):
            axes.legend(loc="upper left")
        else:
            axes.text(
                0.5, 0.5, "No model of the paper has run here yet.", transform=axes.transAxes, ha="center"
            )
        save_figure(figure, data, stem, data_kind)


def agreement(scores, models, selected, paper_dir, data_kind) -> pd.DataFrame:
    """label, model, task, published, published_std, reproduced, reproduced_std of all cells that have both."""
    read = read_scores(scores)
    tasks = list(dict.fromkeys(read["task"]))
    cells = pd.concat(
        distinct_cells(result_table(number, "published", read, tasks, models, selected, paper_dir, data_kind))
        for number in (2, 3, 4)
    )
    cells = cells[cells["task"].isin(paper.TASKS) & cells["difference"].notna()]
    cells = cells.drop_duplicates(["model", "task"], ignore_index=True)
    return cells[["label", "model", "task", "published", "published_std", "reproduced", "reproduced_std"]]
