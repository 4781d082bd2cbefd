"""From an embedding file and a task table to a score file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from respfm.errors import RespfmError, suggest
from respfm.files import atomic_path
from respfm.probe.data import ProbeData, ProbeOptions

READ_ROWS = 4096
Probe = Callable[[ProbeData, ProbeOptions], tuple[pd.DataFrame, pd.DataFrame | None]]
"""`probe` of respfm.probe.published or .strict: scores of every layer and, of `strict`, test predictions."""


def probe_task(
    embeddings_h5: Path,
    task_parquet: Path,
    task: Mapping[str, Any],
    probe: Probe,
    scores_csv: Path,
    predictions: Path | None = None,
    runs: int = 5,
    seed: int = 0,
    threads: int = 1,
    default_layer: str | None = None,
) -> None:
    """`probe` every layer of an embedding file on the task of a task table, named after the table's file.

    `task` is the task's registry entry (`batch`, `epochs` and `candidates` are read). Writes the score file,
    whose column `default_layer` marks that layer, by default the one that the model itself prefers, and, under
    `strict`, the test predictions. Raises `RespfmError` when there is no such layer, or recordings of the task have no
    embedding.
    """
    table = pd.read_parquet(task_parquet)
    with _open_embeddings(embeddings_h5) as file:
        features = stored_layers(file, table["recording"].astype(str).to_numpy())
        model = str(file.attrs["model"])
        default_layer = default_layer or _text(file.attrs["default_layer"])
        if default_layer not in features:
            raise RespfmError(
                f"{embeddings_h5} has no layer {default_layer!r}, which is the default_layer of {model}; "
                f"{suggest(default_layer, features)}"
            )
        data = ProbeData.build(
            features,
            table["label"].to_numpy(),
            table["split"].to_numpy(),
            {**task, "name": Path(task_parquet).stem},
            patients=table["patient"].to_numpy(),
            order=table["order"].to_numpy() if "order" in table else None,
        )
        scores, predicted = probe(data, ProbeOptions(runs, seed, threads=threads))
    if predicted is not None and predictions is not None:
        predicted.insert(0, "recording", table["recording"].to_numpy()[predicted.pop("row")])
        with atomic_path(predictions) as temporary:
            predicted.to_parquet(temporary, index=False)
    scores.insert(1, "model", model)
    scores["default_layer"] = scores["layer"] == default_layer
    with atomic_path(scores_csv) as temporary:
        scores.to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n")


@dataclass(frozen=True)
class StoredLayer:
    """Chosen rows of a layer in an open embedding file, read when converted to an array."""

    dataset: h5py.Dataset
    rows: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.rows), self.dataset.shape[1]

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        values = np.empty(self.shape, dtype=dtype or self.dataset.dtype)
        for start in range(0, len(self.dataset), READ_ROWS):
            here = (self.rows >= start) & (self.rows < start + READ_ROWS)
            values[here] = self.dataset[start : start + READ_ROWS][self.rows[here] - start]
        return values


def stored_layers(file: h5py.File, recordings: np.ndarray) -> dict[str, StoredLayer]:
    """Layers of an embedding file for these recordings, in their order; `RespfmError` if one has no
    embedding."""
    position = {_text(name): row for row, name in enumerate(file["ids"][:])}
    missing = [name for name in recordings if name not in position]
    if missing:
        raise RespfmError(
            f"{file.filename}: {len(missing)} of {len(recordings)} recordings of the task have no "
            f"embedding, the first is {missing[0]}; extract the embeddings again with this task selected"
        )
    rows = np.array([position[name] for name in recordings], dtype=np.int64)
    return {layer: StoredLayer(file["layers"][layer], rows) for layer in map(_text, file.attrs["layers"])}


def _open_embeddings(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise RespfmError(
            f"{path} is not a whole embedding file ({error}); delete it and extract the embeddings again"
        ) from error


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
