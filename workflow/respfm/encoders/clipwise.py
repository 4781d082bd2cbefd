"""Base of encoders: the check of the default layer, and for networks that cannot mask padding, clips without it."""

from typing import Self

import torch
from torch import Tensor, nn

from respfm.errors import RespfmError


class ClipwiseEncoder:
    """Base of an Encoder. A subclass has `encode` or its own `embed`; its `modules` move to a device together."""

    def __init__(self, sample_rate: int, layers: list[str], default_layer: str | None, *modules: nn.Module) -> None:
        self.sample_rate, self.layers, self.modules = sample_rate, layers, modules
        self.default_layer = default_layer or layers[-1]
        if self.default_layer not in layers:
            raise RespfmError(f"layer {self.default_layer!r} is not known; this network has {', '.join(layers)}")

    def to(self, device: str | torch.device) -> Self:
        """Move network and front end to `device`."""
        for module in self.modules:
            module.to(device)
        return self

    @torch.inference_mode()
    def embed(self, waveforms: Tensor, lengths: Tensor | None = None) -> dict[str, Tensor]:
        """{layer: float32 [B, dim]} of `waveforms` [B, samples].

        With `lengths` each clip is cut to its own samples first and encoded with those of the same length, so
        neither padding nor neighbours count.
        """
        if lengths is None:
            return self.encode(waveforms)
        lengths = lengths.to(waveforms.device)
        vectors: dict[str, Tensor] = {}
        for length in lengths.unique().tolist():
            rows = lengths == length
            for layer, values in self.encode_unpadded(waveforms[rows, :length]).items():
                if layer not in vectors:
                    vectors[layer] = values.new_empty(len(waveforms), values.shape[1])
                vectors[layer][rows] = values
        return vectors

    def encode(self, waveforms: Tensor) -> dict[str, Tensor]:
        """{layer: [B, dim]} of `waveforms` [B, samples], of which every sample counts."""
        raise NotImplementedError

    def encode_unpadded(self, waveforms: Tensor) -> dict[str, Tensor]:
        """The same for clips without padding, where a subclass may avoid what the published code does to batches."""
        return self.encode(waveforms)
