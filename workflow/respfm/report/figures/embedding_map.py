"""Recordings of one task on a plane: neighbours sound alike to the model."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from respfm.errors import RespfmError
from respfm.report.names import model_title
from respfm.report.style import MARKERS, figure_style, new_figure, save_figure

MAX_POINTS = 1000


def draw(
    *,
    task: str,
    labels: Path,
    embeddings: Path,
    model: str,
    models: Mapping[str, Mapping],
    seed: int,
    data_kind: str,
    style: Path,
    stem: Path,
) -> None:
    """Standardise the default layer's embeddings, reduce to 50 principal components, then t-SNE to the plane.

    `labels` is the table of `task`. At most MAX_POINTS of its recordings, drawn with `seed`, are shown. Raises
    RespfmError if a recording of the task has no embedding.
    """
    rows = pd.read_parquet(labels, columns=["recording", "label", "label_name"])
    if len(rows) > MAX_POINTS:
        rows = rows.sample(MAX_POINTS, random_state=seed)
    rows = rows.sort_values("recording", ignore_index=True)
    vectors = _embeddings(embeddings, models[model].get("default_layer"), rows["recording"], task)
    data = rows.assign(model=model, **_project(vectors, seed))
    with figure_style(style) as colours:
        figure = new_figure(3.6, 3.3)
        panel = figure.add_subplot()
        _draw(panel, data, colours)
        panel.set_title(model_title(model, models), loc="center")
        figure.legend(*panel.get_legend_handles_labels(), loc="outside lower center", ncols=3, title=task)
        save_figure(figure, data, stem, data_kind)


def _draw(panel: Axes, points: pd.DataFrame, colours: Sequence[str]) -> None:
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set(visible=True, color="#BBBBBB")
    panel.margins(0.08)
    classes = points.drop_duplicates("label").sort_values("label")
    for place, (label, name) in enumerate(classes[["label", "label_name"]].itertuples(index=False)):
        group = points[points["label"] == label]
        panel.scatter(
            group["x"],
            group["y"],
            s=14,
            marker=MARKERS[place % len(MARKERS)],
            color=colours[place % len(colours)],
            alpha=0.75,
            linewidths=0,
            label=f"{name} ({len(group)})",
        )


def _embeddings(path: Path, layer: str | None, recordings: pd.Series, task: str) -> np.ndarray:
    """`layer`, or the default one, of an embeddings file for the given recordings: float32 [recordings, dim]."""
    with h5py.File(path) as file:
        place = {name: index for index, name in enumerate(file["ids"].asstr()[:])}
        unknown = [name for name in recordings if name not in place]
        if unknown:
            raise RespfmError(
                f"{path}: holds no embedding of {unknown[0]} and {len(unknown) - 1} other recordings of {task}; "
                "remove it and run again"
            )
        vectors = file["layers"][layer or file.attrs["default_layer"]][:]
    values = vectors[[place[name] for name in recordings]]
    if not np.isfinite(values).all():
        raise RespfmError(f"{path}: embeddings of {task} are not finite; remove the file and run again")
    return values


def _project(values: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """x and y of every row; one thread, because the sums of several would differ in the last digits."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        values = StandardScaler().fit_transform(values.astype("float64"))
        components = PCA(min(50, *values.shape), svd_solver="full").fit_transform(values)
        perplexity = min(30.0, (len(values) - 1) / 3)
        plane = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(components)
    return {"x": plane[:, 0], "y": plane[:, 1]}
