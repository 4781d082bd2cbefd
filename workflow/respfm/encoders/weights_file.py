"""Reading a publisher's checkpoint file into one of our networks, entry by entry, or saying why it does not fit."""

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from respfm.errors import RespfmError
from respfm.weights import read_weights

WRAPPINGS = ("state_dict", "model")
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
NUMPY_MAKERS = {"scalar": np.float64().__reduce__()[0], "_reconstruct": np.empty(0).__reduce__()[0]}
HARMLESS = [
    argparse.Namespace,
    np.ndarray,
    np.dtype,
    *sorted({type(np.dtype(code)) for code in np.typecodes["AllInteger"] + "?efd"}, key=repr),
    *((maker, f"numpy.{core}.multiarray.{name}") for name, maker in NUMPY_MAKERS.items() for core in ("core", "_core")),
]
"""What training scripts leave in checkpoints beside the weights: options, scores, the order of the data (PANNs)."""


def read_state(
    checkpoint: Path | None, prefixes: Sequence[str] = (), wrappings: Sequence[str] = WRAPPINGS, trust: bool = False
) -> dict[str, Tensor]:
    """Tensors of `checkpoint` in float32 by their names.

    A folder stands for the weight file of the Hugging Face hub in it. Of nested dictionaries the entries
    `wrappings` are opened, outermost first. Then for each of `prefixes` in turn, if any name starts with it, only
    those names stay, without it.
    """
    if checkpoint is None:
        raise RespfmError("this network needs a checkpoint file; name it")
    if checkpoint.is_dir():
        files = (checkpoint / name for name in HUB_FILES)
        checkpoint = next((file for file in files if file.is_file()), checkpoint)
    content: Any = read_weights(checkpoint, trust=trust, allow=HARMLESS)
    for name in wrappings:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    if not isinstance(content, Mapping):
        raise RespfmError(f"{checkpoint}: this is not the publisher's file: it holds no weights by name; get it again")
    state = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    for prefix in prefixes:
        inner = {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}
        state = inner or state
    return {name: value.float() if value.is_floating_point() else value for name, value in state.items()}


def fill(network: Any, state: Mapping[str, Tensor], checkpoint: Path | None, unused: str = "$^") -> Any:
    """`network` in evaluation mode with the weights `state`, without the entries whose whole name matches `unused`.

    Anything missing, of another shape or left over shows that the file is another one: RespfmError.
    """
    expected = network.state_dict()
    counters = {name for name in expected if name.endswith("num_batches_tracked")}
    state = {name: value for name, value in state.items() if not re.fullmatch(unused, name)}
    missing = sorted(expected.keys() - state.keys() - counters)
    foreign = sorted(state.keys() - expected.keys())
    misshapen = [name for name in expected.keys() & state.keys() if expected[name].shape != state[name].shape]
    if missing or foreign or misshapen:
        first, fault = (
            (missing[0], "is missing") if missing
            else (foreign[0], "is unknown") if foreign
            else (min(misshapen), f"has shape {tuple(state[min(misshapen)].shape)}")
        )  # fmt: skip
        raise RespfmError(f"{checkpoint}: this is not the publisher's file: {first} {fault}; name that one")
    state |= {name: torch.zeros((), dtype=torch.long) for name in counters - state.keys()}
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False)
