"""Cnn14 of PANNs (16 kHz; Kong et al. 2020) and the audio half of Microsoft's CLAP 2022 (Elizalde et al. 2023)."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from respfm.encoders.base import Crop, check_option
from respfm.encoders.clipwise import ClipwiseEncoder
from respfm.encoders.frontends import DecibelMel
from respfm.encoders.train_mode import MICRO_BATCH, NormalisedByBatch, joined, training_behaviour
from respfm.encoders.weights_file import fill, read_state

UNUSED = r"(base\.)?(spectrogram_extractor|logmel_extractor|fc_audioset)\..*"
CHANNELS = (64, 128, 256, 512, 1024, 2048)
BLOCKS = [f"block{i}" for i in range(1, len(CHANNELS) + 1)]
N_MELS = 64
SHORTEST_FRAMES = 2 ** (len(CHANNELS) - 1)


class ConvBlock(nn.Module):
    """Two 3x3 convolutions with BatchNorm and ReLU, then average pooling by `pool`."""

    def __init__(self, inputs: int, outputs: int, pool: int) -> None:
        super().__init__()
        self.pool = pool
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            inner = NormalisedByBatch(self.conv1, self.bn1, x.split(MICRO_BATCH))
            outer = NormalisedByBatch(self.conv2, self.bn2, inner)
            return joined((F.avg_pool2d(clips, self.pool) for clips in outer), len(x))
        x = F.relu_(self.bn1(self.conv1(x)))
        return F.avg_pool2d(F.relu_(self.bn2(self.conv2(x))), self.pool)


class Cnn14(nn.Module):
    """Log-mel in dB [B, frames, 64] to clip vectors: of each block (mean + maximum over time) and "fc1" [B, 2048]."""

    def __init__(self) -> None:
        super().__init__()
        self.bn0 = nn.BatchNorm2d(N_MELS)
        pools = (2,) * (len(BLOCKS) - 1) + (1,)
        for name, inputs, outputs, pool in zip(BLOCKS, (1, *CHANNELS[:-1]), CHANNELS, pools, strict=True):
            self.add_module(f"conv_{name}", ConvBlock(inputs, outputs, pool))
        self.fc1 = nn.Linear(CHANNELS[-1], CHANNELS[-1])

    def forward(self, logmel: Tensor) -> dict[str, Tensor]:
        x = self.bn0(logmel.transpose(1, 2)[..., None]).permute(0, 3, 2, 1)
        vectors = {}
        for name in BLOCKS:
            x = F.dropout(self.get_submodule(f"conv_{name}")(x), 0.2, self.training, inplace=True)
            vectors[name] = mean_max(x.mean(3))
        pooled = F.dropout(vectors[BLOCKS[-1]], 0.5, self.training)
        return {**vectors, "fc1": F.dropout(F.relu_(self.fc1(pooled)), 0.5, self.training)}


class Projection(nn.Module):
    """The map of MS-CLAP from the audio vector to the space shared with text."""

    def __init__(self, inputs: int = CHANNELS[-1], outputs: int = 1024) -> None:
        super().__init__()
        self.linear1 = nn.Linear(inputs, outputs, bias=False)
        self.linear2 = nn.Linear(outputs, outputs, bias=False)
        self.layer_norm = nn.LayerNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        projected = self.linear1(x)
        return self.layer_norm(projected + self.linear2(F.gelu(projected)))


class AudioHalf(nn.Module):
    """CLAP 2022 without its text half; adds "projection" [B, 1024] to what Cnn14 gives."""

    def __init__(self) -> None:
        super().__init__()
        self.base = Cnn14()
        self.projection = Projection()

    def forward(self, logmel: Tensor) -> dict[str, Tensor]:
        vectors = self.base(logmel)
        return {**vectors, "projection": self.projection(vectors["fc1"])}


def mean_max(frames: Tensor) -> Tensor:
    """Sum of mean and maximum over the last axis."""
    return frames.mean(-1) + frames.amax(-1)


class Cnn14Encoder(ClipwiseEncoder):
    """PANNs Cnn14: layers "block1".."block6" (mean over frequency, then mean + maximum over time) and "fc1" [2048].

    `train_seed` repeats what the paper's plugin did, which left the network in training mode: dropout, drawn from this
    seed for each batch, and BatchNorm by the statistics of the batch.
    """

    def __init__(self, network: Cnn14, default_layer: str | None = None, train_seed: int | None = None) -> None:
        self.network, self.train_seed = network, train_seed
        self.frontend = DecibelMel(16000, 512, 160, N_MELS, 50, 8000)
        super().__init__(16000, [*BLOCKS, "fc1"], default_layer, network, self.frontend)

    def encode(self, waveforms: Tensor) -> dict[str, Tensor]:
        """{layer: [B, dim]} of `waveforms` [B, samples]; below 0.32 s zeros are appended."""
        shortest = SHORTEST_FRAMES * self.frontend.hop_length
        waveforms = F.pad(waveforms, (0, max(0, shortest - waveforms.shape[1])))
        logmel = joined(map(self.frontend, waveforms.split(MICRO_BATCH)), len(waveforms))
        with training_behaviour(self.network, self.train_seed):
            return self.network(logmel)


class Clap2022Encoder(ClipwiseEncoder):
    """The audio half of CLAP 2022: layers "block1".."block6", "fc1" [2048] and "projection" [1024].

    It takes 5 s: shorter clips are repeated to that length, longer ones cut into consecutive chunks (the last one
    repeated) that count by their duration. The library itself takes one chunk at random.
    """

    chunk_seconds = 5
    published_crop = Crop(chunk_seconds, pad=False)

    def __init__(self, network: AudioHalf, default_layer: str | None = None) -> None:
        self.network = network
        self.frontend = DecibelMel(44100, 1024, 320, N_MELS, 50, 14000)
        super().__init__(44100, [*BLOCKS, "fc1", "projection"], default_layer, network, self.frontend)

    def encode(self, waveforms: Tensor) -> dict[str, Tensor]:
        """{layer: [B, dim]} of `waveforms` [B, samples]."""
        length = self.chunk_seconds * self.sample_rate
        total: dict[str, Tensor] = {}
        for chunk in waveforms.split(length, dim=1):
            repeated = chunk.repeat(1, -(-length // chunk.shape[1]))[:, :length]
            share = chunk.shape[1] / waveforms.shape[1]
            for layer, values in self.network(self.frontend(repeated)).items():
                total[layer] = total.get(layer, 0) + share * values
        return total


ARCHITECTURES = {
    "cnn14": ("module.", Cnn14, Cnn14Encoder),
    "clap_2022": ("audio_encoder.", AudioHalf, Clap2022Encoder),
}
"""Prefix of the names in the file, network and encoder."""


def load(
    checkpoint: Path | None = None,
    architecture: str = "cnn14",
    default_layer: str | None = None,
    trust: bool = False,
    **quirks: Any,
) -> Cnn14Encoder | Clap2022Encoder:
    """PANNs Cnn14 ("cnn14", which may have a `train_seed`) or the audio half of CLAP 2022 ("clap_2022")."""
    check_option("architecture", architecture, ARCHITECTURES)
    prefix, network, encoder = ARCHITECTURES[architecture]
    state = read_state(checkpoint, [prefix], trust=trust)
    with torch.device("meta"):
        empty = network()
    return encoder(fill(empty, state, checkpoint, UNUSED), default_layer, **quirks)
