"""wav2vec 2.0, HuBERT and WavLM from `transformers`: convolutional features and every transformer layer.

The paper's scripts normalise each clip to zero mean and unit variance for all three, also for WavLM, which was trained
without (`normalise: false`). Their row "wav2vec 2.0, layer 7" is in truth the output of the convolutions: layer "conv".
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from respfm.encoders.base import check_option
from respfm.encoders.clipwise import ClipwiseEncoder
from respfm.encoders.weights_file import fill, read_state

SHORTEST = 400
"""Samples of one frame of the convolutions."""
WEIGHT_NORM = {".weight_g": ".parametrizations.weight.original0", ".weight_v": ".parametrizations.weight.original1"}


@dataclass(frozen=True)
class Architecture:
    """Classes of `transformers`, and the layer of the published weights that the paper's tables use."""

    network: str
    default_layer: str


ARCHITECTURES = {
    "wav2vec2": Architecture("Wav2Vec2", "conv"),
    "hubert": Architecture("Hubert", "layer7"),
    "wavlm": Architecture("WavLM", "layer6"),
}


class SpeechEncoder(ClipwiseEncoder):
    """A speech network. Layer "conv" is mean + maximum over time of the convolutional features, "layer0" the mean of
    the input of the transformer, "layer1".. the mean of the output of each block.
    """

    def __init__(self, network: nn.Module, default_layer: str | None = None, normalise: bool = True) -> None:
        self.network, self.normalise = network.eval(), normalise
        layers = ["conv", *(f"layer{i}" for i in range(network.config.num_hidden_layers + 1))]
        super().__init__(16000, layers, default_layer, network)

    def encode(self, waveforms: Tensor) -> dict[str, Tensor]:
        """{layer: [B, dim]} of 16 kHz `waveforms` [B, samples], each normalised by its own statistics."""
        waveforms = F.pad(waveforms, (0, max(0, SHORTEST - waveforms.shape[1])))
        if self.normalise:
            waveforms = standardise(waveforms)
        convolved = []
        hook = self.network.feature_extractor.register_forward_hook(lambda *call: convolved.append(call[-1]))
        with hook:
            states = self.network(waveforms, output_hidden_states=True).hidden_states
        means = [state.mean(1) for state in states]
        return dict(zip(self.layers, [convolved[0].mean(2) + convolved[0].amax(2), *means], strict=True))


def standardise(waveforms: Tensor) -> Tensor:
    """Each row of `waveforms` [B, samples] with zero mean and unit variance, as Wav2Vec2FeatureExtractor does it."""
    mean, variance = waveforms.mean(1, keepdim=True), waveforms.var(1, keepdim=True, correction=0)
    return (waveforms - mean) / torch.sqrt(variance + 1e-7)


def load(
    checkpoint: Path | None = None,
    architecture: str = "hubert",
    random_seed: int | None = None,
    default_layer: str | None = None,
    normalise: bool = True,
    trust: bool = False,
    **configuration: Any,
) -> SpeechEncoder:
    """Load the weight file of the Hugging Face hub (.bin or .safetensors), or draw random weights from `random_seed`.

    `configuration` overrides fields of the architecture's configuration, which is that of the base size.
    """
    import transformers

    check_option("architecture", architecture, ARCHITECTURES)
    known = ARCHITECTURES[architecture]
    settings = getattr(transformers, f"{known.network}Config")(**configuration)
    network_class = getattr(transformers, f"{known.network}Model")
    if checkpoint is None and random_seed is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(random_seed)
            return SpeechEncoder(network_class(settings), default_layer, normalise)
    state = read_state(checkpoint, [f"{architecture}."], trust=trust)
    state = {re.sub(r"\.weight_[gv]$", lambda suffix: WEIGHT_NORM[suffix[0]], key): state[key] for key in state}
    state.setdefault("masked_spec_embed", torch.zeros(settings.hidden_size))  # for training, not in every file
    with torch.device("meta"):
        network = network_class(settings)
    fill(network, state, checkpoint)
    return SpeechEncoder(network, default_layer or known.default_layer, normalise)
