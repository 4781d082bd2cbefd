"""From an embedding file and a task table to a score file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from respfm.errors import RespfmError
from respfm.files import atomic_path
from respfm.probe.data import ProbeData

READ_ROWS = 4096


def probe_task(
    embeddings_h5: Path,
    task_parquet: Path,
    task: Mapping[str, Any],
    protocol: str,
    scores_csv: Path,
    predictions: Path | None = None,
    runs: int = 5,
    seed: int = 0,
    threads: int = 1,
    device: str = "cpu",
) -> None:
    """Probe every layer of an embedding file on the task of a task table, named after the table's file.

    `task` is the task's registry entry (`batch`, `epochs` and `candidates` are read). Writes the score file
    and, under `strict`, the test predictions. Raises `RespfmError` when recordings of the task have no
    embedding.
    """
    import torch

    torch.set_num_threads(threads)
    table = pd.read_parquet(task_parquet)
    with h5py.File(embeddings_h5, "r") as file:
        features = EmbeddingLayers(file, table["recording"].astype(str).to_numpy())
        model = str(file.attrs["model"])
        data = ProbeData.build(
            features,
            table["label"].to_numpy(),
            table["split"].to_numpy(),
            {**task, "name": Path(task_parquet).stem},
            patients=table["patient"].to_numpy(),
            order=table["order"].to_numpy() if "order" in table else None,
        )
        if protocol == "published":
            from respfm.probe.published import probe_published

            scores = probe_published(data, runs, seed, device=device)
        else:
            from respfm.probe.strict import probe_strict

            scores, predicted = probe_strict(data, seed, device)
            predicted.insert(0, "recording", table["recording"].to_numpy()[predicted.pop("row")])
            if predictions is not None:
                with atomic_path(predictions) as temporary:
                    predicted.to_parquet(temporary, index=False)
    scores.insert(1, "model", model)
    with atomic_path(scores_csv) as temporary:
        scores.to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n")


class EmbeddingLayers(Mapping[str, np.ndarray]):
    """Layers of an open embedding file, read when asked for, for the given recordings, in their order."""

    def __init__(self, file: h5py.File, recordings: np.ndarray) -> None:
        self.file = file
        self.layers = [_text(name) for name in file.attrs["layers"]]
        position = {_text(name): row for row, name in enumerate(file["ids"][:])}
        missing = [name for name in recordings if name not in position]
        if missing:
            raise RespfmError(
                f"{file.filename}: {len(missing)} of {len(recordings)} recordings of the task have no "
                f"embedding, the first is {missing[0]}; extract the embeddings again with this task selected."
            )
        self.rows = np.array([position[name] for name in recordings], dtype=np.int64)

    def __getitem__(self, layer: str) -> np.ndarray:
        stored = self.file["layers"][layer]
        values = np.empty((len(self.rows), stored.shape[1]), dtype=np.float32)
        for start in range(0, len(stored), READ_ROWS):
            here = (self.rows >= start) & (self.rows < start + READ_ROWS)
            values[here] = stored[start : start + READ_ROWS][self.rows[here] - start]
        return values

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
