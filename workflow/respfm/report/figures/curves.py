"""Loss curves of all pre-training runs in one picture."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from respfm.report.style import LINES, figure_style, new_figure, save_figure

PANELS = {"loss": "Loss", "target_std": "Standard deviation of the target"}
NUMBERS = defaultdict(lambda: "float64", step="int64")  # even in the history of a run of no epochs, which has no rows


def draw(*, histories: Sequence[Path], runs: Sequence[str], data_kind: str, style: Path, stem: Path) -> None:
    """Loss and spread of the target's features over epochs; a spread near zero would mean collapse.

    `histories` are the history.csv of `runs`, with the columns epoch, loss and target_std.
    """
    tables = [pd.read_csv(path, dtype=NUMBERS).assign(run=run) for run, path in zip(runs, histories, strict=True)]
    data = pd.concat(tables)
    with figure_style(style) as colours:
        figure = new_figure(7.2, 3.2)
        for axes, (column, title) in zip(figure.subplots(1, 2), PANELS.items(), strict=True):
            for place, (run, rows) in enumerate(data.groupby("run", sort=False)):
                look = {"color": colours[place % len(colours)], "linestyle": LINES[place % len(LINES)]}
                axes.plot(rows["epoch"], rows[column], label=run, **look)
            axes.set(xlabel="Epoch", title=title)
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
        save_figure(figure, data, stem, data_kind)
