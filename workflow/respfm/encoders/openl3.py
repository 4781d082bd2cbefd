"""OpenL3 (Cramer et al. 2019): environmental sounds, 256 mel bands, 6144 values, in the PyTorch file of torchopenl3."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from respfm.encoders.clipwise import ClipwiseEncoder
from respfm.encoders.frontends import in_float32
from respfm.encoders.weights_file import fill, read_state

SAMPLE_RATE = 48000
FRAME, FRAME_STEP = 48000, 4800
N_FFT, HOP, N_MELS = 2048, 242, 256
CHANNELS = (64, 64, 128, 128, 256, 256, 512, 512)
POOLED = (2, 4, 6)
"""Convolutions with max pooling by 2 behind them."""
LAYERS = [*(f"conv{i}" for i in range(1, len(CHANNELS))), "embedding"]
BATCH_FRAMES = 8
"""Frames in one pass; a frame takes 13 MB in the first convolutions."""


class MelFrames(nn.Module):
    """Frames [N, 48000] to mel spectrograms [N, 1, 256, 199] in dB below the maximum of each, at least -80.

    The kernels of the Fourier transform and the mel bands are those of the published file: rounded to single precision,
    they make most of what quiet bins hold, and a fast transform would differ.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mel_basis", torch.empty(N_MELS, N_FFT // 2 + 1))
        for part in ("real", "imag"):
            self.register_buffer(f"dft_{part}_kernels", torch.empty(N_FFT // 2 + 1, 1, N_FFT))

    @in_float32
    def forward(self, frames: Tensor) -> Tensor:
        missing = (-(-FRAME // HOP) - 1) * HOP + N_FFT - FRAME
        padded = F.pad(frames, (missing // 2, missing - missing // 2))[:, None]
        parts = (F.conv1d(padded, kernels, stride=HOP) for kernels in (self.dft_real_kernels, self.dft_imag_kernels))
        power = sum(part.square() for part in parts)
        decibels = 10 * (self.mel_basis @ power).sqrt().clamp_min(1e-10).log10()
        decibels = decibels - decibels.amax(dim=(1, 2), keepdim=True)
        return decibels.clamp_min(-80)[:, None]


class OpenL3(nn.Module):
    """Frames [N, 48000] to vectors of each layer: [N, channels], "embedding" [N, 6144]."""

    def __init__(self) -> None:
        super().__init__()
        self.speclayer = MelFrames()
        self.batch_normalization_1 = nn.BatchNorm2d(1, eps=1e-3)
        for i, (inputs, outputs) in enumerate(zip((1, *CHANNELS[:-1]), CHANNELS, strict=True), start=1):
            name = f"conv2d_{i}" if i < len(CHANNELS) else "audio_embedding_layer"
            self.add_module(name, nn.Conv2d(inputs, outputs, 3, padding=1))
            if i < len(CHANNELS):
                self.add_module(f"batch_normalization_{i + 1}", nn.BatchNorm2d(outputs, eps=1e-3))

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        x = self.batch_normalization_1(self.speclayer(frames))
        vectors = {}
        for i, layer in enumerate(LAYERS[:-1], start=1):
            x = F.relu(self.get_submodule(f"batch_normalization_{i + 1}")(self.get_submodule(f"conv2d_{i}")(x)))
            vectors[layer] = x.mean(dim=(2, 3))
            if i in POOLED:
                x = F.max_pool2d(x, 2)
        x = F.max_pool2d(self.audio_embedding_layer(x), 8)
        return {**vectors, "embedding": x.permute(0, 2, 3, 1).flatten(1)}


class OpenL3Encoder(ClipwiseEncoder):
    """Layers "conv1".."conv7" (mean over the map) and "embedding": mean + maximum over frames of 1 s every 0.1 s."""

    def __init__(self, network: OpenL3, default_layer: str | None = None) -> None:
        self.network = network
        super().__init__(SAMPLE_RATE, LAYERS, default_layer, network)

    def encode(self, waveforms: Tensor) -> dict[str, Tensor]:
        """{layer: [B, dim]} of `waveforms` [B, samples]."""
        clips = [self.encode_frames(frames) for frames in self.frames(waveforms)]
        return {layer: torch.stack([clip[layer].mean(0) + clip[layer].amax(0) for clip in clips]) for layer in LAYERS}

    def frames(self, waveforms: Tensor) -> Tensor:
        """Frames [B, N, 48000] of `waveforms` [B, samples], after half a second of zeros; zeros up to a full frame."""
        samples = FRAME // 2 + waveforms.shape[1]
        missing = max(0, FRAME - samples) or -(samples - FRAME) % FRAME_STEP
        return F.pad(waveforms, (FRAME // 2, missing)).unfold(1, FRAME, FRAME_STEP)

    def encode_frames(self, frames: Tensor) -> dict[str, Tensor]:
        """{layer: [N, dim]} of `frames` [N, 48000]."""
        batches = [self.network(batch) for batch in frames.split(BATCH_FRAMES)]
        return {layer: torch.cat([batch[layer] for batch in batches]) for layer in LAYERS}


def load(checkpoint: Path | None = None, default_layer: str | None = None, trust: bool = False) -> OpenL3Encoder:
    """OpenL3 from `torchopenl3_mel256_env_6144.pth.tar`."""
    state = read_state(checkpoint, ["module."], trust=trust)
    with torch.device("meta"):
        network = OpenL3()
    return OpenL3Encoder(fill(network, state, checkpoint), default_layer)
