"""Networks that the paper's plugin forgot to put into evaluation mode."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


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
