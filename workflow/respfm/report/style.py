"""How figures look and how they are saved: one style file, fixed metadata, the data kind on every figure."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.style
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from respfm.files import atomic_path
from respfm.report import paper
from respfm.report.kinds import kind_of

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), "-")
HATCHES = ("", "////", "....", "xxxx", "----", "\\\\\\\\")
METADATA = {
    "pdf": {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": "respfm"},
    "svg": {"Date": None, "Creator": "respfm"},
    "png": {"Software": "respfm"},
}

logging.getLogger("fontTools").setLevel(logging.WARNING)


@contextlib.contextmanager
def figure_style(style: Path) -> Iterator[list[str]]:
    """Apply the style file alone (no user settings) and yield its colour cycle."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.style.use(str(style))
        yield matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]


def task_look(task: str, tasks: Sequence[str], colours: Sequence[str]) -> dict[str, Any]:
    """Colour, marker and line of a task: the same in every figure; the average is black and heavy.

    `tasks` are those of the figure; tasks that the paper does not have take what its tasks leave free.
    """
    if task == paper.AVERAGE:
        return {"color": colours[-1], "marker": MARKERS[-1], "linestyle": "-", "linewidth": 2.8, "markersize": 9}
    ordered = [*paper.TASKS, *(name for name in tasks if name not in (*paper.TASKS, paper.AVERAGE))]
    place = ordered.index(task)
    return {
        "color": colours[place % (len(colours) - 1)],
        "marker": MARKERS[place % (len(MARKERS) - 1)],
        "linestyle": LINES[place % len(LINES)],
    }


def new_figure(width: float, height: float) -> Figure:
    """A figure of that size in inches, bound to no window system."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, data: pd.DataFrame, stem: Path, data_kind: str) -> None:
    """Write `stem`.pdf, .svg, .png and the plotted numbers as `stem`.csv; the same input gives the same bytes.

    Every figure says what its data are: in small grey for the full data, on a red ground for anything else.
    """
    kind = kind_of(data_kind)
    place = {"x": 0.985, "ha": "right", "fontsize": 8}
    if kind.comparable:
        figure.suptitle(kind.badge, color="#777777", **place)
    else:
        box = {"facecolor": "#B00020", "edgecolor": "none", "boxstyle": "square,pad=0.35"}
        figure.suptitle(kind.badge, color="white", fontweight="bold", bbox=box, **place)
    with matplotlib.rc_context({"svg.hashsalt": stem.name}):
        for suffix, metadata in METADATA.items():
            with atomic_path(stem.with_name(f"{stem.name}.{suffix}")) as temporary:
                figure.savefig(temporary, format=suffix, metadata=metadata)
    with atomic_path(stem.with_name(f"{stem.name}.csv")) as temporary:
        data.assign(data_kind=data_kind).to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n")


def move_apart(positions: list[float], gap: float) -> list[float]:
    """The same positions in the same order, moved apart as little as needed to be at least `gap` from each other."""

    def centre(group: list[int]) -> float:
        return sum(positions[index] for index in group) / len(group)

    groups: list[list[int]] = []
    for index in sorted(range(len(positions)), key=positions.__getitem__):
        group = [index]
        while groups and centre(groups[-1]) + gap * (len(groups[-1]) + len(group)) / 2 > centre(group):
            group = groups.pop() + group
        groups.append(group)
    moved = list(positions)
    for group in groups:
        for place, index in enumerate(group):
            moved[index] = centre(group) + gap * (place - (len(group) - 1) / 2)
    return moved
