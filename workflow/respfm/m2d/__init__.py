"""Masked Modeling Duo (M2D): networks, pre-training losses and checkpoint files.

Networks are imported when they are first asked for, so that a configuration can be checked without torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from respfm.m2d.config import M2DConfig

if TYPE_CHECKING:
    from respfm.m2d.checkpoint import export_checkpoint, export_encoder, initialise_from, load_checkpoint
    from respfm.m2d.model import M2D

__all__ = ["M2D", "M2DConfig", "export_checkpoint", "export_encoder", "initialise_from", "load_checkpoint"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = importlib.import_module("respfm.m2d.model" if name == "M2D" else "respfm.m2d.checkpoint")
    return getattr(home, name)
