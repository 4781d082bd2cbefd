"""An embedding job that is interrupted continues: what it has is kept beside its output until that is there.

The same recordings make the same batches, so the sums after a number of batches are all that a later start needs. The
states of an output are keyed by everything that decides it; those of another configuration, or of code or data that
have changed since, are never taken up.
"""

import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from respfm.errors import why_not_written
from respfm.files import digest
from respfm.jobs.checkpoints import StateDirectory
from respfm.jobs.checksums import content_digest
from respfm.jobs.interruption import Interrupted, Requests

SAVE_EVERY_SECONDS = 300
log = logging.getLogger(__name__)


class Sums:
    """Weighted sums of the vectors of each recording's windows, layer by layer, after `batches` batches."""

    def __init__(self, recordings: int) -> None:
        self.batches = 0
        self.weights = np.zeros(recordings)
        self.layers: dict[str, np.ndarray] = {}

    def add(self, rows: np.ndarray, shares: np.ndarray, vectors: Mapping[str, np.ndarray]) -> None:
        """Add a batch: window i, of recording `rows[i]`, weighs `shares[i]`; `vectors` are [B, dim]."""
        np.add.at(self.weights, rows, shares)
        for layer, values in vectors.items():
            if layer not in self.layers:
                self.layers[layer] = np.zeros((len(self.weights), values.shape[1]), np.float32)
            np.add.at(self.layers[layer], rows, (values * shares[:, None]).astype(np.float32))
        self.batches += 1

    def means(self) -> dict[str, np.ndarray]:
        """{layer: [recordings, dim]}."""
        return {layer: values / self.weights[:, None] for layer, values in self.layers.items()}

    def state_dict(self) -> dict[str, Any]:
        """All of it as tensors, which share the memory."""
        layers = {layer: torch.from_numpy(values) for layer, values in self.layers.items()}
        return {"batches": self.batches, "weights": torch.from_numpy(self.weights), "layers": layers}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the place of the sums that `state` was made of."""
        self.batches, self.weights = state["batches"], state["weights"].numpy()
        self.layers = {layer: values.numpy() for layer, values in state["layers"].items()}


def states_of(output: str | Path, inputs: Iterable[str | Path], parameters: Any) -> StateDirectory:
    """Where the states of the job are that makes `output` from the files `inputs` with `parameters`, a JSON value."""
    key = digest([parameters, [content_digest(path) for path in inputs]])
    return StateDirectory(_folder(Path(output)) / key[:16])


def discard_states(output: str | Path) -> None:
    """Remove all states of `output`, which is there; also those of configurations that were given up."""
    shutil.rmtree(_folder(Path(output)), ignore_errors=True)


def _folder(output: Path) -> Path:
    return output.parent / "state" / output.stem


@contextmanager
def continued(sums: Sums, states: StateDirectory | None) -> Iterator[Callable[[], None]]:
    """Take up the newest good state of `sums`, if there is one; inside, call what is yielded after every batch.

    That saves every `SAVE_EVERY_SECONDS`. After SIGTERM, SIGINT or SIGUSR1 it saves and raises Interrupted.
    """
    if states is None:
        yield lambda: None
        return
    state, complaints = states.load(torch.device("cpu"))
    for complaint in complaints:
        log.warning(complaint)
    if state is not None:
        sums.load_state_dict(state)
        log.info("continuing after batch %d", sums.batches)
    requests, saved_at = Requests(), time.monotonic()

    def after_batch() -> None:
        nonlocal saved_at
        if requests.stop or time.monotonic() - saved_at >= SAVE_EVERY_SECONDS:
            _save(sums, states)
            saved_at = time.monotonic()
        if requests.stop:
            raise Interrupted(f"stopped after batch {sums.batches}; start again to continue")

    try:
        yield after_batch
    finally:
        requests.close()


def _save(sums: Sums, states: StateDirectory) -> None:
    """Save the sums; a full disk costs this state, never the one before."""
    try:
        states.save(sums.batches, sums.state_dict())
    except (OSError, RuntimeError) as error:
        log.warning(
            f"the state after batch {sums.batches} could not be saved in {states.directory} "
            f"({why_not_written(error) or error}); the one before is kept"
        )
