"""What every encoder offers, whatever network is inside."""

from typing import NamedTuple, Protocol, runtime_checkable

import torch


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


class Crop(NamedTuple):
    """What released code hears of a recording: `seconds` of it, or all if None; with `pad` zeros fill it up."""

    seconds: float | None
    pad: bool


PLUGIN_CROP = Crop(10, pad=True)
"""That of the paper's plugin; an encoder that differs has another one as `published_crop`."""
WHOLE_RECORDING = Crop(None, pad=False)
