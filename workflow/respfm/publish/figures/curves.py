"""Loss curves of all pre-training runs in one picture."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from respfm.publish.style import LINES, figure_style, new_figure, save_figure


def plot_curves(*, histories: Mapping[str, Path], data_kind: str, style: Path, stem: Path) -> None:
    """Loss and spread of the target's features over epochs; a spread near zero would mean collapse."""
    data = pd.concat(pd.read_csv(path).assign(run=run) for run, path in histories.items())
    with figure_style(style) as colours:
        figure = new_figure(7.2, 3.0)
        panels = {"loss": "Loss", "target_std": "Standard deviation of the target"}
        for axes, (column, label) in zip(figure.subplots(1, 2), panels.items(), strict=True):
            for place, (run, rows) in enumerate(data.groupby("run", sort=False)):
                axes.plot(rows["epoch"], rows[column], color=colours[place % len(colours)],
                          linestyle=LINES[place % len(LINES)], label=run)  # fmt: skip
            axes.set(xlabel="Epoch", ylabel=label)
        figure.axes[0].legend()
        save_figure(figure, data, stem, data_kind)
