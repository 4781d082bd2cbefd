"""What every encoder offers, whatever network is inside."""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from respfm.errors import RespfmError


@runtime_checkable
class Encoder(Protocol):
    """A frozen audio model that turns waveforms into one vector per clip and layer.

    `sample_rate` is in Hz, `layers` names the outputs from input to output, `default_layer` is the one that
    the paper's tables use.
    """

    sample_rate: int
    layers: list[str]
    default_layer: str

    def embed(self, waveforms: torch.Tensor, lengths: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """Clip-level embeddings of `waveforms` [B, samples]: {layer: float32 [B, dim]}.

        `lengths` [B] counts the samples that are not padding; where the architecture allows, padding is kept out
        of the result. Without it every sample counts.
        """
        ...


class ClipEncoder(nn.Module):
    """Encoder of a network without a padding mask: clips are cut to their own lengths, equal lengths share a pass.

    Subclasses set `sample_rate`, `layers`, `default_layer` and implement `encode`. Clips below `min_samples` are filled
    up with zeros; `max_seconds` is the longest input.
    """

    sample_rate: int
    layers: list[str]
    default_layer: str
    min_samples = 1
    max_seconds = float("inf")

    def encode(self, waveforms: Tensor) -> dict[str, Tensor]:
        """{layer: [B, dim]} of `waveforms` [B, samples] in which every sample counts."""
        raise NotImplementedError

    @torch.inference_mode()
    def embed(self, waveforms: Tensor, lengths: Tensor | None = None) -> dict[str, Tensor]:
        """{layer: float32 [B, dim]} of `waveforms` [B, samples], of which the first `lengths` [B] count."""
        if lengths is None:
            lengths = torch.full((len(waveforms),), waveforms.shape[1])
        if lengths.max() > self.max_seconds * self.sample_rate:
            raise RespfmError(f"{type(self).__name__} takes at most {self.max_seconds:g} s at once; cut the recording")
        vectors: dict[str, Tensor] = {}
        for length in lengths.unique().tolist():
            rows = (lengths == length).nonzero().flatten().to(waveforms.device)
            clips = F.pad(waveforms[rows, :length], (0, max(0, self.min_samples - length)))
            for layer, values in self.encode(clips).items():
                if layer not in vectors:
                    vectors[layer] = values.new_empty(len(waveforms), values.shape[1], dtype=torch.float32)
                vectors[layer][rows] = values.float()
        return {layer: vectors[layer] for layer in self.layers}


def check_layer(layer: str | None, layers: list[str], otherwise: str) -> str:
    """`layer` if it is one of `layers`, `otherwise` if it is None; RespfmError for another name."""
    if layer is None:
        return otherwise
    if layer not in layers:
        raise RespfmError(f"layer {layer!r} is not known; this network has {', '.join(layers)}")
    return layer
