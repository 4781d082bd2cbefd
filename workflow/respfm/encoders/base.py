"""What every encoder offers, and checks of it."""

import sys
import traceback
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, Self

import torch
from torch import nn

from respfm.errors import RespfmError, suggest


class Encoder(Protocol):
    """A frozen audio model that turns waveforms into one vector per clip and layer.

    `sample_rate` is in Hz, `layers` names the outputs from input to output, `default_layer` is the one that
    the paper's tables use. An encoder may also have `to(device)`; `fit_statistics(batches, plugin)`, which is called
    with batches of (waveforms, lengths) before the first `embed`; and `published_crop`, if it is not PLUGIN_CROP.
    """

    sample_rate: int
    layers: list[str]
    default_layer: str

    def embed(self, waveforms: torch.Tensor, lengths: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """Clip-level embeddings of `waveforms` [B, samples]: {layer: float32 [B, dim]}.

        `lengths` [B] counts the samples that are not padding; where the architecture allows, padding is kept out
        of the result. Without `lengths` every sample counts.
        """
        ...


def check_option(option: str, value: Any, choices: Collection[Any]) -> None:
    """Raise RespfmError unless the `value` of a loader's `option` is one of `choices`."""
    if value not in choices:
        raise RespfmError(f"{option} {value!r} is not known; {suggest(value, choices)}")


class LayeredEncoder:
    """What the encoders of this package share: the check of the default layer, and `modules` that move together."""

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


def check_encoder(name: str, encoder: Any) -> None:
    """Raise RespfmError unless what the user's own class gave has all that an Encoder needs."""
    lacking = [part for part in (*Encoder.__annotations__, "embed") if not hasattr(encoder, part)]
    if lacking:
        raise RespfmError(f"{name!r} has no {', '.join(lacking)}; add what respfm.encoders.base.Encoder lists")
    if type(encoder.sample_rate) is not int or encoder.sample_rate < 1:
        raise RespfmError(f"{name!r}: sample_rate is {encoder.sample_rate!r}; give a whole number of Hz")
    if encoder.default_layer not in encoder.layers:
        raise RespfmError(
            f"{name!r}: default_layer {encoder.default_layer!r} is not one of layers {list(encoder.layers)}; "
            "name one of them"
        )


def check_statistics(model: str, encoder: Encoder) -> None:
    """Raise RespfmError unless `encoder` takes statistics of training recordings, as the entry of `model` asks."""
    if not hasattr(encoder, "fit_statistics"):
        raise RespfmError(
            f"model {model!r}: its encoder takes no statistics of training recordings; remove `statistics: training` "
            "from its entry"
        )


def embed_checked(
    encoder: Encoder, waveforms: torch.Tensor, lengths: torch.Tensor | None, layers: Sequence[str]
) -> dict[str, torch.Tensor]:
    """`encoder.embed`, with a clear sentence for what a class of the user's own does wrong.

    Raises RespfmError unless the result has all `layers`, each [B, dim], and for any error inside such a class.
    """
    module, clips = type(encoder).__module__, len(waveforms)
    name = f"{module}:{type(encoder).__qualname__}"
    try:
        vectors = encoder.embed(waveforms, lengths)
    except RespfmError:
        raise
    except Exception as error:
        if module.startswith("respfm."):
            raise
        raise foreign_failure(name, error) from error
    if not isinstance(vectors, Mapping):
        raise RespfmError(f"{name}.embed gave a {type(vectors).__name__}; it must return {{layer: tensor [B, dim]}}")
    for layer in layers:
        if layer not in vectors:
            raise RespfmError(f"{name}.embed gave the layers {list(vectors)} and not {layer!r}, which `layers` names")
        found = vectors[layer]
        if not isinstance(found, torch.Tensor) or found.ndim != 2 or len(found) != clips:
            what = list(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
            raise RespfmError(f"{name}.embed gave {what} as layer {layer!r}; it must be a tensor [{clips}, dim]")
    return vectors


def foreign_failure(name: str, error: Exception) -> RespfmError:
    """What went wrong with the user's own class `module:Class`, and in which line of its file."""
    file = getattr(sys.modules.get(name.partition(":")[0]), "__file__", None)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    place = f"{file}, line {lines[-1]}" if lines else file
    return RespfmError(f"{name!r} failed with {type(error).__name__}: {error}; correct it in {place}")


class Crop(NamedTuple):
    """What released code takes of a recording: `seconds` of it, all if None; `pad` appends zeros to shorter ones."""

    seconds: float | None
    pad: bool


PLUGIN_CROP = Crop(10, pad=True)
"""That of the paper's plugin."""
WHOLE_RECORDING = Crop(None, pad=False)
