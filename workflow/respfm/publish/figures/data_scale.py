"""Table 4 of the paper as a curve: AUROC over the share of respiratory recordings in further pre-training."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from respfm.publish import paper
from respfm.publish.render import column_title
from respfm.publish.results import distinct_cells, result_table
from respfm.publish.scores import read_scores
from respfm.publish.style import figure_style, new_figure, save_figure

RESPIRATORY = {
    "m2d": 0,
    "as_resp_100k": 98_889,
    "as_resp_200k": 211_905,
    "as_resp_300k": 310_794,
    "m2d_resp": 409_683,
    "as_resp_500k": 508_572,
}


def plot_data_scale(
    *,
    scores: Sequence[Path],
    models: Mapping[str, Mapping],
    selected: Sequence[str],
    paper_dir: Path,
    data_kind: str,
    style: Path,
    stem: Path,
) -> None:
    """One panel per task and one for the average; the paper's numbers in grey, this run's in colour.

    The x axis counts the respiratory list entries beside AudioSet's 2,005,132: the paper's 14,127 taken 0, 7, 15,
    22, 29 and 36 times.
    """
    data = data_scale(scores, models, selected, paper_dir, data_kind)
    with figure_style(style) as colours:
        figure = new_figure(7.2, 4.2)
        tasks = list(dict.fromkeys(data["task"]))
        panels = figure.subplots(2, 4, sharex=True).flat
        for axes, task in zip(panels, tasks, strict=True):
            _draw(axes, data[data["task"] == task], colours[0])
            axes.set_title(column_title(task))
        figure.supxlabel("Respiratory list entries beside AudioSet (thousands)", fontsize=9)
        figure.supylabel("AUROC", fontsize=9)
        save_figure(figure, data, stem, data_kind)


def data_scale(scores, models, selected, paper_dir, data_kind) -> pd.DataFrame:
    """label, model, task, respiratory, reproduced, reproduced_std, published, published_std; one row per cell."""
    read = read_scores(scores)
    tasks = list(dict.fromkeys(read["task"]))
    cells = distinct_cells(result_table(4, "published", read, tasks, models, selected, paper_dir, data_kind))
    printed = paper.read_results(paper_dir, 4).drop_duplicates("row").set_index("row")["key"]
    cells = cells[cells["row"].notna() & cells["task"].isin([*paper.TASKS, paper.AVERAGE])]
    cells = cells.assign(respiratory=cells["row"].map(printed).map(RESPIRATORY)).dropna(subset="respiratory")
    return cells[
        [
            "label",
            "model",
            "task",
            "respiratory",
            "reproduced",
            "reproduced_std",
            "published",
            "published_std",
        ]
    ]


def _draw(axes: Axes, data: pd.DataFrame, colour: str) -> None:
    x = data["respiratory"] / 1000
    axes.errorbar(x, data["published"], data["published_std"], color="#777777", marker="o", linestyle="--",
                  markerfacecolor="white", capsize=2, linewidth=1, label="paper")  # fmt: skip
    if data["reproduced"].notna().any():
        axes.errorbar(x, data["reproduced"], data["reproduced_std"], color=colour, marker="s", capsize=2,
                      label="this run")  # fmt: skip
    axes.margins(y=0.15)
