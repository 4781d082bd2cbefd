"""history.csv and the figure of a run's curves; the same history gives the same bytes."""

import csv
from pathlib import Path

from respfm.files import atomic_path

COLUMNS = ("step", "epoch", "lr", "tau", "loss", "online", "offline", "target_std", "grad_norm")
PANELS = {
    "loss": "loss",
    "lr": "learning rate",
    "tau": "EMA decay of the target",
    "target_std": "target standard deviation\n(near 0: collapse)",
}


def write_history(path: Path, rows: list[list[float]]) -> None:
    """Write rows of COLUMNS; means over the steps since the row before, no wall-clock values."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([f"{value:.8g}" for value in row] for row in rows)


def plot_curves(rows: list[list[float]], title: str, paths: list[Path]) -> None:
    """Loss, learning rate, EMA decay and target spread over epochs, into files whose suffixes name the format."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = {name: [row[place] for row in rows] for place, name in enumerate(COLUMNS)}
    with matplotlib.rc_context({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(7, 4), layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(title)
        for axes, (name, label) in zip(figure.subplots(2, 2).flat, PANELS.items(), strict=True):
            axes.plot(columns["epoch"], columns[name], linewidth=1)
            axes.set(xlabel="epoch", ylabel=label)
        for path in paths:
            fixed = {"CreationDate": None} if path.suffix == ".pdf" else {"Software": None}
            with atomic_path(path) as temporary:
                figure.savefig(temporary, metadata=fixed, dpi=150)
