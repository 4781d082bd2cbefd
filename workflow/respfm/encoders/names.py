"""From the names of weights in a publisher's file to those of a network in a library."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor


def rename(state: Mapping[str, Tensor], patterns: Mapping[str, Any]) -> dict[str, Tensor]:
    """`state` with each regular expression of `patterns` replaced in every name, in their order."""
    renamed = {}
    for name, value in state.items():
        for pattern, replacement in patterns.items():
            name = re.sub(pattern, replacement, name)
        renamed[name] = value
    return renamed


def split_joint(state: Mapping[str, Tensor], joint: str, parts: Sequence[str]) -> dict[str, Tensor]:
    """`state` with the weights and biases of each layer `joint`, such as "qkv", cut into equal layers `parts`."""
    result = {}
    for name, value in state.items():
        stem, _, kind = name.rpartition(".")
        if stem.endswith(f".{joint}"):
            for part, values in zip(parts, value.chunk(len(parts)), strict=True):
                result[f"{stem.removesuffix(joint)}{part}.{kind}"] = values
        else:
            result[name] = value
    return result
