"""The ViT encoder that pre-training yields and that embeddings use."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from respfm.m2d.config import M2DConfig
from respfm.m2d.positions import fit_columns, sincos_positions
from respfm.m2d.transformer import NORM_EPSILON, Block, initial_token, initialise

# Mean and standard deviation of AudioSet's log-mels, for the files of 2022, which lack theirs.
AUDIOSET_STATISTICS = (-7.1, 4.2)


class PatchEmbedding(nn.Module):
    """Non-overlapping patches through one linear map, kept as a convolution as in the checkpoints."""

    def __init__(self, patch_size: tuple[int, int], dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, dim, patch_size, stride=patch_size)
        nn.init.xavier_uniform_(self.proj.weight.view(dim, -1))

    def cut(self, spectrograms: Tensor) -> Tensor:
        """[B, 1, mels, frames] -> patches [B, F*T, values], frequency-major; remainders are dropped."""
        size = self.proj.kernel_size
        return F.unfold(spectrograms, size, stride=size).transpose(1, 2)

    def forward(self, patches: Tensor) -> Tensor:
        """Patches [B, N, values] -> tokens [B, N, dim]."""
        return F.linear(patches, self.proj.weight.flatten(1), self.proj.bias)


class M2DEncoder(nn.Module):
    """`depth` pre-norm blocks over all patches; parameter names are those of the published files.

    `norm_stats` holds mean and standard deviation of the log-mel values that the weights were trained with.
    """

    def __init__(self, config: M2DConfig) -> None:
        super().__init__()
        self.config = config
        self.norm_stats = nn.Parameter(torch.tensor(AUDIOSET_STATISTICS), requires_grad=False)
        self.cls_token = initial_token(config.dim)
        self.pos_embed = nn.Parameter(sincos_positions(config.dim, config.grid), requires_grad=False)
        self.patch_embed = PatchEmbedding(config.patch_size, config.dim)
        self.blocks = nn.ModuleList(
            Block(config.dim, config.heads, config.mlp_ratio) for _ in range(config.depth)
        ).apply(initialise)
        self.norm = nn.LayerNorm(config.dim, eps=NORM_EPSILON)

    def layer_tokens(self, spectrograms: Tensor) -> Iterator[Tensor]:
        """Yield the patch tokens [B, F*T, dim] after every block of normalised log-mels [B, 1, mels, frames].

        The last is after the final LayerNorm, the others are the raw residual stream (M2D reference). A width
        other than the trained one takes the first position columns, or interpolates them if it is longer.
        """
        patches = self.patch_embed.cut(spectrograms)
        positions = fit_columns(self.pos_embed, self.config.grid, patches.shape[1] // self.config.grid[0])
        x = self.patch_embed(patches) + positions[:, 1:]
        x = torch.cat([(self.cls_token + positions[:, :1]).expand(len(x), -1, -1), x], dim=1)
        for index, block in enumerate(self.blocks):
            x = block(x)
            yield (self.norm(x) if index == len(self.blocks) - 1 else x)[:, 1:]

    def frame_features(self, spectrograms: Tensor) -> Tensor:
        """Last-layer features [B, T, F*dim] of normalised log-mels; lowest frequency first."""
        *_, tokens = self.layer_tokens(spectrograms)
        return self.to_frames(tokens)

    def to_frames(self, tokens: Tensor) -> Tensor:
        """Patch tokens [B, F*T, dim] -> frames [B, T, F*dim]."""
        return tokens.unflatten(1, (self.config.grid[0], -1)).transpose(1, 2).flatten(2)
