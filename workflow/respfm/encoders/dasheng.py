"""Dasheng (base, 0.6B, 1.2B) and CED (both Dinkel et al. 2024): one transformer with two shapes of patches."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torchaudio
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F

from respfm.encoders.base import check_option
from respfm.encoders.clipwise import ClipwiseEncoder
from respfm.encoders.frontends import in_float32
from respfm.encoders.weights_file import fill, read_state

SAMPLE_RATE, N_FFT, HOP, N_MELS = 16000, 512, 160, 64
TOP_DECIBELS = 120
UNUSED = r"(outputlayer|front_end)\..*"
HEAD_SIZES = {1280: 80}
"""Values of one attention head by width of the network; 64 in all others."""


@dataclass(frozen=True)
class Architecture:
    """Shape of a patch (mels, frames) and the longest input in frames.

    `pad_last` says that the last chunk of a longer input is filled up with zeros, `sigmoid` that there is such a layer.
    """

    patch: tuple[int, int]
    frames: int
    pad_last: bool
    sigmoid: bool


ARCHITECTURES = {
    "dasheng": Architecture((64, 4), 1008, pad_last=False, sigmoid=True),
    "ced": Architecture((16, 16), 1012, pad_last=True, sigmoid=False),
}


class MelFrontend(nn.Module):
    """Waveforms [B, samples] to mel spectrograms [B, 64, frames] in dB, at most 120 below the loudest of each clip.

    With `batch_floor` it is the loudest of the batch, as in the published code.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mel = torchaudio.transforms.MelSpectrogram(
            SAMPLE_RATE, n_fft=N_FFT, hop_length=HOP, f_min=0, f_max=8000, n_mels=N_MELS
        )
        self.decibels = torchaudio.transforms.AmplitudeToDB(top_db=TOP_DECIBELS)

    @in_float32
    def forward(self, waveforms: Tensor, batch_floor: bool = False) -> Tensor:
        axis = 0 if batch_floor else 1
        return self.decibels(self.mel(waveforms).unsqueeze(axis)).squeeze(axis)


class PatchEmbedding(nn.Module):
    """Spectrogram [B, 1, mels, frames] to patches [B, dim, rows, columns]."""

    def __init__(self, patch: tuple[int, int], dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, dim, patch, patch)

    def forward(self, mel: Tensor) -> Tensor:
        return self.proj(mel)


class Dasheng(nn.Module):
    """Mel spectrograms [B, 64, frames] from `normalise` to tokens [B, patches, dim] after each block."""

    def __init__(self, architecture: Architecture, dim: int, depth: int) -> None:
        super().__init__()
        rows, columns = N_MELS // architecture.patch[0], architecture.frames // architecture.patch[1]
        norm = partial(nn.LayerNorm, eps=1e-6)
        heads = dim // HEAD_SIZES.get(dim, 64)
        self.init_bn = nn.BatchNorm2d(N_MELS)
        self.patch_embed = PatchEmbedding(architecture.patch, dim)
        self.time_pos_embed = nn.Parameter(torch.zeros(1, dim, 1, columns))
        self.freq_pos_embed = nn.Parameter(torch.zeros(1, dim, rows, 1))
        self.blocks = nn.ModuleList(Block(dim, heads, qkv_bias=True, norm_layer=norm) for _ in range(depth))
        self.norm = norm(dim)

    def forward(self, mel: Tensor) -> Iterator[Tensor]:
        patches = self.patch_embed(mel[:, None])
        patches = patches + self.time_pos_embed[..., : patches.shape[-1]] + self.freq_pos_embed
        tokens = patches.flatten(2).transpose(1, 2)
        for i, block in enumerate(self.blocks, start=1):
            tokens = block(tokens)
            yield self.norm(tokens) if i == len(self.blocks) else tokens

    def normalise(self, mel: Tensor) -> Tensor:
        """BatchNorm of spectrograms [B, 64, frames] in dB over mel bands."""
        return self.init_bn(mel[..., None])[..., 0]


class DashengEncoder(ClipwiseEncoder):
    """Layers "block1".. : mean of the tokens after each block, the last after the final norm.

    "sigmoid" is what the paper took for Dasheng: the sigmoid of the last layer, because the published class applies it
    to its output even where that is no classification. Recordings above 10 s are encoded in chunks. `batch_floor`
    repeats that in the published code the dynamic range is that of the batch; with known lengths it is each clip's.
    """

    def __init__(
        self,
        network: Dasheng,
        architecture: Architecture,
        default_layer: str | None = None,
        batch_floor: bool = False,
    ) -> None:
        self.network, self.frontend, self.architecture = network, MelFrontend(), architecture
        self.batch_floor = batch_floor
        blocks = [f"block{i}" for i in range(1, len(network.blocks) + 1)]
        layers = [*blocks, "sigmoid"] if architecture.sigmoid else blocks
        super().__init__(SAMPLE_RATE, layers, default_layer or blocks[-1], network, self.frontend)

    def encode(self, waveforms: Tensor) -> dict[str, Tensor]:
        """{layer: [B, dim]} of `waveforms` [B, samples]."""
        return self._encode(waveforms, self.batch_floor)

    def encode_unpadded(self, waveforms: Tensor) -> dict[str, Tensor]:
        """The same; neighbours never count."""
        return self._encode(waveforms, batch_floor=False)

    def _encode(self, waveforms: Tensor, batch_floor: bool) -> dict[str, Tensor]:
        width = self.network.patch_embed.proj.kernel_size[1]
        waveforms = F.pad(waveforms, (0, max(0, width * HOP - waveforms.shape[1])))
        mel = self.network.normalise(self.frontend(waveforms, batch_floor))
        chunks = list(mel.split(self.architecture.frames, dim=2))
        if self.architecture.pad_last and len(chunks) > 1:
            chunks[-1] = F.pad(chunks[-1], (0, self.architecture.frames - chunks[-1].shape[2]))
        layers = zip(*(self.network(chunk) for chunk in chunks), strict=True)
        vectors = [torch.cat(tokens, dim=1).mean(dim=1) for tokens in layers]
        if self.architecture.sigmoid:
            vectors.append(vectors[-1].sigmoid())
        return dict(zip(self.layers, vectors, strict=True))


def load(
    checkpoint: Path | None = None,
    architecture: str = "dasheng",
    default_layer: str | None = None,
    batch_floor: bool = False,
    trust: bool = False,
) -> DashengEncoder:
    """Any size of Dasheng or of CED ("ced"), from the file on the hub or the authors' own; the size is the file's."""
    check_option("architecture", architecture, ARCHITECTURES)
    chosen = ARCHITECTURES[architecture]
    state = read_state(checkpoint, ["encoder."], trust=trust)
    state = {name.replace("init_bn.1.", "init_bn."): value for name, value in state.items()}
    with torch.device("meta"):
        network = Dasheng(chosen, *size_of(state))
    network = fill(network, state, checkpoint, UNUSED)
    return DashengEncoder(network, chosen, default_layer, batch_floor)


def size_of(state: Mapping[str, Tensor]) -> tuple[int, int]:
    """Width and number of blocks of the network with these weights; those of the base size if they do not tell."""
    blocks = {match[1] for name in state if (match := re.match(r"blocks\.(\d+)\.", name))}
    return len(state.get("norm.weight", range(768))), len(blocks) or 12
