"""Networks that the paper's plugin left in training mode: random, and dependent on the batch.

Its batches are large (256 clips of 10 s), and one result of a first convolution takes 4 GB. Only mean and variance
depend on the whole batch, so everything else is computed for one micro-batch after the other.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

MICRO_BATCH = 4
"""Clips of a micro-batch."""


@contextmanager
def training_behaviour(network: nn.Module, seed: int | None) -> Iterator[None]:
    """Inside, dropout and BatchNorm of `network` act as in training, with random numbers from `seed`; not if None.

    The running statistics do not change, so one call does not depend on those before it.
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
    """`micro_batches` [b, C, H, W] after `convolution`, `norm` by the statistics of all of them together, and ReLU.

    It is computed each time that it is iterated over, and never holds more than one micro-batch.
    """

    def __init__(self, convolution: nn.Conv2d, norm: nn.BatchNorm2d, micro_batches: Iterable[Tensor]) -> None:
        self.micro_batches, self.padding = micro_batches, convolution.padding
        mean, variance = channel_statistics(map(convolution, micro_batches))
        self.weight, self.bias = fuse_conv_bn_weights(
            convolution.weight, convolution.bias, mean, variance, norm.eps, norm.weight, norm.bias
        )

    def __iter__(self) -> Iterator[Tensor]:
        for batch in self.micro_batches:
            yield F.conv2d(batch, self.weight, self.bias, padding=self.padding).relu_()


def joined(micro_batches: Iterable[Tensor], clips: int) -> Tensor:
    """`micro_batches` [b, ...] of `clips` clips in one tensor, to which each is copied as it comes."""
    whole, place = torch.empty(0), 0
    for batch in micro_batches:
        if place == 0:
            whole = batch.new_empty(clips, *batch.shape[1:])
        whole[place : place + len(batch)] = batch
        place += len(batch)
    return whole


def channel_statistics(micro_batches: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and population variance [C] of all `micro_batches` [b, C, H, W], added up in float64."""
    counts, means, squares = [], [], []
    for batch in micro_batches:
        variance, mean = (moment.double() for moment in torch.var_mean(batch, (0, 2, 3), correction=0))
        counts.append(len(batch))
        means.append(mean)
        squares.append(variance + mean.square())
    shares = mean.new_tensor(counts) / sum(counts)
    mean = shares @ torch.stack(means)
    return mean.float(), (shares @ torch.stack(squares) - mean.square()).float()
