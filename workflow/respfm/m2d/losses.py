"""Losses between predicted and target tokens (M2D paper, eq. 1-3; constants of the reference)."""

from torch import Tensor
from torch.nn import functional as F

VARIANCE_EPSILON = 1e-6


def standardise(tokens: Tensor) -> Tensor:
    """Zero mean and unit (unbiased) variance over the last dimension."""
    variance, mean = tokens.var(-1, keepdim=True), tokens.mean(-1, keepdim=True)
    return (tokens - mean) / (variance + VARIANCE_EPSILON).sqrt()


def cosine_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean of 2 - 2 cos between vectors of the last dimension: the squared distance of unit vectors."""
    return 2 - 2 * F.cosine_similarity(prediction.float(), target.float(), dim=-1).mean()


def spread(target: Tensor) -> Tensor:
    """Standard deviation over all tokens [B, N, dim], averaged over dim; 0 means that they collapsed."""
    return target.float().flatten(0, 1).std(0).mean()
