"""Encoders of networks that cannot mask padding: each clip is cut to its own samples first."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from respfm.encoders.base import LayeredEncoder


class ClipwiseEncoder(LayeredEncoder, ABC):
    """Base of an Encoder that takes clips of one length at a time; a subclass has `encode`."""

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

    @abstractmethod
    def encode(self, waveforms: Tensor) -> dict[str, Tensor]:
        """{layer: [B, dim]} of `waveforms` [B, samples], of which every sample counts."""

    def encode_unpadded(self, waveforms: Tensor) -> dict[str, Tensor]:
        """The same for clips without padding, where a subclass may avoid what the published code does to batches."""
        return self.encode(waveforms)
