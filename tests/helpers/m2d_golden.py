"""Networks with the formula weights of the M2D golden numbers (tests/golden/m2d; formulas in formulas.py)."""

import functools
import json
from pathlib import Path

import numpy as np
import torch
from formulas import weight
from respfm.m2d import M2D, M2DConfig
from respfm.m2d.encoder import M2DEncoder

GOLDEN = Path(__file__).parents[1] / "golden" / "m2d"

CONFIGS = {
    "m2d_vit_base-80x608p16x16": {},
    "m2d_vit_base-80x200p16x4": {"input_size": (80, 200), "patch_size": (16, 4)},
    "m2d_x_vit_base-80x608p16x16": {"objective": "m2d_x"},
    "m2d_x_vit_base-80x200p16x4": {"objective": "m2d_x", "input_size": (80, 200), "patch_size": (16, 4)},
    "m2d_s_vit_base-80x608p80x2": {"objective": "m2d_x", "patch_size": (80, 2), "offline_dim": 768},
    "m2d_as_vit_base-80x608p16x16": {"objective": "m2d_x", "offline_dim": 527},
    "msm_mae_vit_base-80x608p16x16": {"objective": "msm_mae"},
}


@functools.cache
def _weight(label: str, key: str, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.from_numpy(weight(label, key, shape))


def fill(network: M2DEncoder, label: str = "0") -> M2DEncoder:
    """Overwrite all weights but the position tables with the formula's."""
    for key, value in network.state_dict().items():
        if not key.endswith("pos_embed"):
            value.copy_(_weight(label, key, tuple(value.shape)))
    return network


def pretrainer(**config) -> M2D:
    return fill(M2D(M2DConfig(**config)).train())


def encoder(label: str = "0", **config) -> M2DEncoder:
    return fill(M2DEncoder(M2DConfig(**config)), label)


def key_list(name: str) -> dict:
    return json.loads((GOLDEN / "keys" / f"{name}.json").read_text())


def arrays(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{name}.npz") as file:
        return dict(file)
