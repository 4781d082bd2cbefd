"""Networks that the paper's plugin forgot to put into evaluation mode: random, and dependent on the batch.

Its batches are large (256 clips of 10 s), and one result of a first convolution takes 4 GB. What depends on the whole
batch is only mean and variance, so that the rest is done in pieces.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

PIECE = 4
"""Clips of one piece of a batch."""


@contextmanager
def training_behaviour(network: nn.Module, seed: int | None) -> Iterator[None]:
    """Inside, dropout and BatchNorm of `network` act as in training, with random numbers from `seed`; not if None.

    The running statistics do not change, so that one call does not depend on those before it.
    """
    if seed is None:
        yield
        return
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    devices = {parameter.device for parameter in network.parameters() if parameter.is_cuda}
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        network.train()
        for norm in norms:
            norm.momentum = 0.0
        try:
            yield
        finally:
            network.eval()
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum


class NormalisedByBatch:
    """`pieces` [b, C, H, W] of a batch after `convolution`, `norm` by the statistics of the whole batch, and ReLU.

    It is computed anew each time that it is gone through, and never holds more than one piece.
    """

    def __init__(self, convolution: nn.Conv2d, norm: nn.BatchNorm2d, pieces: Iterable[Tensor]) -> None:
        self.pieces, self.padding = pieces, convolution.padding
        mean, variance = channel_statistics(map(convolution, pieces))
        self.weight, self.bias = fuse_conv_bn_weights(
            convolution.weight, convolution.bias, mean, variance, norm.eps, norm.weight, norm.bias
        )

    def __iter__(self) -> Iterator[Tensor]:
        for piece in self.pieces:
            yield F.conv2d(piece, self.weight, self.bias, padding=self.padding).relu_()


def joined(pieces: Iterable[Tensor], clips: int) -> Tensor:
    """The `pieces` [b, ...] of a batch of `clips` in one tensor, each put there as it comes."""
    whole, place = torch.empty(0), 0
    for piece in pieces:
        if place == 0:
            whole = piece.new_empty(clips, *piece.shape[1:])
        whole[place : place + len(piece)] = piece
        place += len(piece)
    return whole


def channel_statistics(pieces: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and population variance [C] of `pieces` [b, C, H, W] together, added up in float64."""
    counts, means, squares = [], [], []
    for piece in pieces:
        variance, mean = (moment.double() for moment in torch.var_mean(piece, (0, 2, 3), correction=0))
        counts.append(len(piece))
        means.append(mean)
        squares.append(variance + mean.square())
    shares = mean.new_tensor(counts) / sum(counts)
    mean = shares @ torch.stack(means)
    return mean.float(), (shares @ torch.stack(squares) - mean.square()).float()
