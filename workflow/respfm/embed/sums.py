"""Weighted sums of windows, recording by recording: all that an embedding job has after a number of batches."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


class Sums:
    """Weighted sums of the vectors of each recording's windows, layer by layer, after `step` batches.

    The same recordings make the same batches, so nothing else is needed to go on.
    """

    def __init__(self, recordings: int) -> None:
        self.step = 0
        self.weights = np.zeros(recordings)
        self.layers: dict[str, np.ndarray] = {}

    def add(self, rows: np.ndarray, shares: np.ndarray, vectors: Mapping[str, np.ndarray]) -> None:
        """Add a batch: window i, of recording `rows[i]`, weighs `shares[i]`; `vectors` are [B, dim]."""
        np.add.at(self.weights, rows, shares)
        for layer, values in vectors.items():
            if layer not in self.layers:
                self.layers[layer] = np.zeros((len(self.weights), values.shape[1]), np.float32)
            np.add.at(self.layers[layer], rows, (values * shares[:, None]).astype(np.float32))
        self.step += 1

    def means(self) -> dict[str, np.ndarray]:
        """{layer: [recordings, dim]}."""
        return {layer: values / self.weights[:, None] for layer, values in self.layers.items()}

    def progress(self) -> str:
        """Where it is, in words."""
        return f"batch {self.step}"

    def state_dict(self) -> dict[str, Any]:
        """All of it as tensors, which share the memory."""
        layers = {layer: torch.from_numpy(values) for layer, values in self.layers.items()}
        return {"step": self.step, "weights": torch.from_numpy(self.weights), "layers": layers}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the place of the sums that `state` was made of."""
        self.step, self.weights = state["step"], state["weights"].numpy()
        self.layers = {layer: values.numpy() for layer, values in state["layers"].items()}
