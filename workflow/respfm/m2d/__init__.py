"""Masked Modeling Duo (M2D): networks, pre-training losses and checkpoint files."""

from respfm.m2d.checkpoint import export_checkpoint, export_encoder, initialise_from, load_checkpoint
from respfm.m2d.config import M2DConfig
from respfm.m2d.model import M2D

__all__ = ["M2D", "M2DConfig", "export_checkpoint", "export_encoder", "initialise_from", "load_checkpoint"]
