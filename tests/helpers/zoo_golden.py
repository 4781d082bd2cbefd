"""Golden numbers of the zoo (tests/golden/zoo) and publishers' checkpoints filled with the formula's weights."""

import functools
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import zoo_formula
from respfm.encoders import load_encoder
from respfm.encoders.registry import read_registry, resolve

MODELS = read_registry()
GOLDEN = Path(__file__).parents[1] / "golden" / "zoo"


def description(name: str) -> dict:
    """What is written beside the arrays: sample rate, clips, `state_dict` as [key, shape, dtype, kind] ..."""
    return json.loads((GOLDEN / f"{name}.json").read_text())


@functools.cache
def arrays(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{name}.npz") as file:
        return dict(file)


def state_dict(name: str, kept: Mapping[str, torch.Tensor] | None = None, **formula) -> dict[str, torch.Tensor]:
    """The publisher's state dict with the formula's weights; `kept` holds the entries that the formula does not make.

    Entries of neither (tables that a loader has to build or ignore) are left out.
    """
    kept = kept or {}
    entries = {}
    for key, shape, _, kind in description(name)["state_dict"]:
        if kind == "formula":
            entries[key] = torch.from_numpy(zoo_formula.weight(0, key, tuple(shape), **formula))
        elif key in kept:
            entries[key] = kept[key]
    return entries


def relative_error(actual: torch.Tensor | np.ndarray, expected: np.ndarray) -> float:
    """Largest absolute difference relative to the largest value that is expected."""
    actual = np.asarray(actual)
    assert actual.shape == expected.shape
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


def load_published(family: str, content: object, path: Path, **options):
    """Encoder `family` from `content`, saved to `path` as the publisher does; the large file is removed again.

    Its sample rate is that of the registry, by which the workflow caches waveforms for it.
    """
    torch.save(content, path)
    try:
        encoder = load_encoder(family, path, **options)
    finally:
        path.unlink()
    assert encoder.sample_rate == resolve(MODELS[family], "strict").sample_rate
    return encoder
