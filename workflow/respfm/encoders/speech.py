"""wav2vec 2.0, HuBERT and WavLM from `transformers`: every transformer layer, averaged over time."""

from pathlib import Path
from typing import Any

import torch

from respfm.errors import RespfmError

SAMPLE_RATE = 16000


class SpeechEncoder:
    """A speech SSL network whose layer i is the mean over time of the output of transformer block i.

    The waveform is normalised to zero mean and unit variance over the clip, as the paper's scripts do for all three.
    """

    sample_rate = SAMPLE_RATE

    def __init__(self, network: torch.nn.Module, default_layer: str | None = None) -> None:
        self.network = network.eval()
        depth = network.config.num_hidden_layers
        self.layers = [f"layer{i}" for i in range(1, depth + 1)]
        self.default_layer = default_layer or self.layers[-1]

    def to(self, device: str | torch.device) -> "SpeechEncoder":
        """Move the network to `device`."""
        self.network.to(device)
        return self

    @torch.inference_mode()
    def embed(self, waveforms: torch.Tensor, lengths: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """{layer: float32 [B, hidden]} of `waveforms` [B, samples]; with `lengths` each clip is encoded unpadded."""
        if lengths is None:
            return self._encode(waveforms)
        clips = [self._encode(clip[None, :length]) for clip, length in zip(waveforms, lengths, strict=True)]
        return {layer: torch.cat([clip[layer] for clip in clips]) for layer in self.layers}

    def _encode(self, waveforms: torch.Tensor) -> dict[str, torch.Tensor]:
        mean = waveforms.mean(dim=1, keepdim=True)
        variance = waveforms.var(dim=1, keepdim=True, correction=0)
        normalised = (waveforms - mean) / torch.sqrt(variance + 1e-7)
        states = self.network(normalised, output_hidden_states=True).hidden_states
        return {layer: state.mean(dim=1).float() for layer, state in zip(self.layers, states[1:], strict=True)}


def load(
    checkpoint: Path | None = None,
    architecture: str = "hubert",
    random_seed: int | None = None,
    default_layer: str | None = None,
    **configuration: Any,
) -> SpeechEncoder:
    """Load a Hugging Face folder `checkpoint`, or draw random weights from `random_seed` for a control.

    `configuration` overrides fields of the architecture's configuration when the weights are random.
    """
    import transformers

    network, settings = {
        "wav2vec2": (transformers.Wav2Vec2Model, transformers.Wav2Vec2Config),
        "hubert": (transformers.HubertModel, transformers.HubertConfig),
        "wavlm": (transformers.WavLMModel, transformers.WavLMConfig),
    }[architecture]
    if checkpoint is not None:
        return SpeechEncoder(network.from_pretrained(checkpoint), default_layer)
    if random_seed is None:
        raise RespfmError(f"{architecture} needs a checkpoint folder, or `weights: random` with a random_seed")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_seed)
        return SpeechEncoder(network(settings(**configuration)), default_layer)
