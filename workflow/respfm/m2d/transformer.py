"""Pre-norm transformer block with the parameter names of the published checkpoints (those of timm's ViT)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

NORM_EPSILON = 1e-6


class Attention(nn.Module):
    """Multi-head self-attention; rows of `qkv` are query, key and value, each head by head."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, skip: int = 0) -> Tensor:
        """[B, N, dim] -> [B, N - skip, dim]; the first `skip` tokens are attended to, but do not attend."""
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query[:, :, skip:], key, value)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Two linear layers with the exact GELU between them."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """[..., dim] -> [..., dim]."""
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Attention and MLP, each after a LayerNorm and around a residual connection."""

    def __init__(self, dim: int, heads: int, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def forward(self, x: Tensor, skip: int = 0) -> Tensor:
        """[B, N, dim] -> [B, N - skip, dim]; the first `skip` tokens are only attended to."""
        x = x[:, skip:] + self.attn(self.norm1(x), skip)
        return x + self.mlp(self.norm2(x))


def run_blocks(blocks: nn.ModuleList, x: Tensor, skip: int = 0, activation_checkpointing: bool = False) -> Tensor:
    """Apply `blocks` in turn; the last leaves out the first `skip` tokens: [B, N, dim] -> [B, N - skip, dim].

    With `activation_checkpointing`, activations are computed again in the backward pass instead of kept.
    """
    again = activation_checkpointing and torch.is_grad_enabled()
    for index, block in enumerate(blocks):
        dropped = skip if index == len(blocks) - 1 else 0
        x = checkpoint(block, x, dropped, use_reentrant=False) if again else block(x, dropped)
    return x


def initial_token(dim: int) -> nn.Parameter:
    """A learned token [1, 1, dim], normal with a deviation of 0.02; empty on the meta device.

    There, random numbers would make PyTorch import its compiler, for a second of every job that loads a checkpoint.
    """
    token = torch.empty(1, 1, dim)
    return nn.Parameter(token if token.is_meta else token.normal_(std=0.02))


def initialise(module: nn.Module) -> None:
    """Xavier-uniform linear layers with zero bias (for `Module.apply`)."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
