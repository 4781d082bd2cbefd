"""BEATs (Chen et al. 2023): a transformer over 16x16 patches of a Kaldi filter bank, base size.

Own code with the names of the published files. Attention adds a bias for the distance of two tokens in the sequence
(T5's buckets), scaled by a gate that depends on the query; residuals are weighted as in DeepNet.
"""

import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from respfm.encoders.clipwise import ClipwiseEncoder
from respfm.encoders.frontends import kaldi_fbank
from respfm.encoders.weights_file import fill, read_state

N_MELS, PATCH = 128, 16
DIM, HEADS, DEPTH, FEED_FORWARD, PATCH_DIM = 768, 12, 12, 3072, 512
HEAD_DIM = DIM // HEADS
BUCKETS, FARTHEST = 320, 800
CONV_WIDTH, CONV_GROUPS = 128, 16
RESIDUAL = (2 * DEPTH) ** 0.25
MEAN, STD = 15.41663, 6.55582
SHORTEST = 400 + (PATCH - 1) * 160
"""Samples of one patch."""


class Attention(nn.Module):
    """Self-attention of tokens [B, N, 768] with a gated bias [heads, N, N] of position."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            self.add_module(name, nn.Linear(DIM, DIM))
        self.relative_attention_bias = nn.Embedding(BUCKETS, HEADS)
        self.grep_linear = nn.Linear(HEAD_DIM, 8)
        self.grep_a = nn.Parameter(torch.ones(1, HEADS, 1, 1))

    def position_bias(self, tokens: int) -> Tensor:
        """Bias [heads, tokens, tokens] by the bucket of the distance."""
        places = torch.arange(tokens, device=self.grep_a.device)
        return self.relative_attention_bias(distance_buckets(places[None] - places[:, None])).permute(2, 0, 1)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        q, k, v = (
            project(x).unflatten(2, (HEADS, HEAD_DIM)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        update, reset = self.grep_linear(q).unflatten(-1, (2, 4)).sum(-1).sigmoid().split(1, dim=-1)
        gate = update * (reset * self.grep_a - 1) + 2
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=gate * bias)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and feed-forward layer, each followed by LayerNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.self_attn = Attention()
        self.self_attn_layer_norm = nn.LayerNorm(DIM)
        self.fc1, self.fc2 = nn.Linear(DIM, FEED_FORWARD), nn.Linear(FEED_FORWARD, DIM)
        self.final_layer_norm = nn.LayerNorm(DIM)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        x = self.self_attn_layer_norm(RESIDUAL * x + self.self_attn(x, bias))
        return self.final_layer_norm(RESIDUAL * x + self.fc2(F.gelu(self.fc1(x))))


class Transformer(nn.Module):
    """Tokens [B, N, 768] to those after each block; a wide convolution over the sequence tells positions.

    All blocks share one table of distances, which files repeat in each; as in the reference the last one counts.
    """

    def __init__(self) -> None:
        super().__init__()
        convolution = nn.Conv1d(DIM, DIM, CONV_WIDTH, padding=CONV_WIDTH // 2, groups=CONV_GROUPS)
        self.pos_conv = nn.Sequential(convolution, nn.GELU())
        self.layer_norm = nn.LayerNorm(DIM)
        self.layers = nn.ModuleList(Block() for _ in range(DEPTH))

    def forward(self, x: Tensor) -> list[Tensor]:
        positions = self.pos_conv(x.transpose(1, 2))[..., :-1].transpose(1, 2)
        x = self.layer_norm(x + positions)
        bias = self.layers[-1].self_attn.position_bias(x.shape[1])
        states = []
        for layer in self.layers:
            x = layer(x, bias)
            states.append(x)
        return states


class BEATs(nn.Module):
    """Normalised filter bank [B, frames, 128] to tokens [B, N, 768] after each block; frames before bands."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embedding = nn.Conv2d(1, PATCH_DIM, PATCH, PATCH, bias=False)
        self.layer_norm = nn.LayerNorm(PATCH_DIM)
        self.post_extract_proj = nn.Linear(PATCH_DIM, DIM)
        self.encoder = Transformer()

    def forward(self, fbank: Tensor) -> list[Tensor]:
        patches = self.patch_embedding(fbank[:, None]).flatten(2).transpose(1, 2)
        return self.encoder(self.post_extract_proj(self.layer_norm(patches)))


def distance_buckets(distance: Tensor) -> Tensor:
    """T5's bucket of each distance: exact up to 80, then logarithmic up to 800; forward ones in the upper half."""
    half, exact = BUCKETS // 2, BUCKETS // 4
    size = distance.abs()
    logarithmic = (size.clamp_min(1).float() / exact).log() / math.log(FARTHEST / exact) * (half - exact)
    far = (exact + logarithmic.long()).clamp_max(half - 1)
    return half * (distance > 0) + torch.where(size < exact, size, far)


class BEATsEncoder(ClipwiseEncoder):
    """Layers "block1".."block12": mean over the tokens after each block."""

    def __init__(self, network: BEATs, default_layer: str | None = None) -> None:
        self.network = network
        super().__init__(16000, [f"block{i}" for i in range(1, DEPTH + 1)], default_layer, network)

    def encode(self, waveforms: Tensor) -> dict[str, Tensor]:
        """{layer: [B, 768]} of 16 kHz `waveforms` [B, samples]; below one patch (0.175 s) zeros are appended."""
        waveforms = F.pad(waveforms, (0, max(0, SHORTEST - waveforms.shape[1])))
        states = self.network(self.spectrograms(waveforms))
        return {layer: tokens.mean(1) for layer, tokens in zip(self.layers, states, strict=True)}

    def spectrograms(self, waveforms: Tensor) -> Tensor:
        """Normalised filter bank [B, frames, 128] of `waveforms` [B, samples]."""
        return (kaldi_fbank(waveforms * 2**15, "povey", N_MELS) - MEAN) / (2 * STD)


def load(checkpoint: Path | None = None, default_layer: str | None = None, trust: bool = False) -> BEATsEncoder:
    """Load a published file of BEATs, without the classifier of a fine-tuned one."""
    state = read_state(checkpoint, wrappings=["model"], trust=trust)
    gain, direction = (state.pop(f"encoder.pos_conv.0.weight_{part}", torch.zeros(1, 1, 1)) for part in "gv")
    state["encoder.pos_conv.0.weight"] = direction * (gain / direction.norm(dim=(0, 1), keepdim=True))
    with torch.device("meta"):
        network = BEATs()
    return BEATsEncoder(fill(network, state, checkpoint, r"predictor.*"), default_layer)
