"""Plain vision transformers on spectrograms."""

from collections.abc import Iterator

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor


def patch_tokens(network: VisionTransformer, images: Tensor) -> Iterator[Tensor]:
    """The patch tokens [B, patches, dim] after each block of `network` for `images` [B, 1, frames, bands].

    Images may be shorter than the network's; they take the first positions, rows and columns that fill no patch are
    left out.
    """
    patches = network.patch_embed.proj(images).flatten(2).transpose(1, 2)
    tokens = torch.cat([network.cls_token.expand(len(images), -1, -1), patches], dim=1)
    tokens = tokens + network.pos_embed[:, : tokens.shape[1]]
    for block in network.blocks:
        tokens = block(tokens)
        yield tokens[:, 1:]
