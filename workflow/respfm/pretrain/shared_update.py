"""The update by CPU ranks of one machine: one copy of the weights for all, of which each rank updates its share.

DDP's exchange pays where a network lies between the ranks, or the devices compute on while it runs. Ranks on the same
processors do better to add gradients in memory that they share, and not to do the same AdamW and EMA each
(docs/pretraining.md has the figures). Moments are shared too, so that any rank can save all of the state.
"""

import os
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

ALIGNMENT = 16  # values: 64 bytes


def ranks_share_memory(device: torch.device) -> bool:
    """Whether all ranks of torchrun compute on the processors of this one machine, which runs Linux."""
    one_machine = os.environ.get("LOCAL_WORLD_SIZE") == os.environ.get("WORLD_SIZE")
    return device.type == "cpu" and one_machine and hasattr(os, "memfd_create")


def meet() -> None:
    """Wait until all ranks are here."""
    dist.all_reduce(torch.zeros(1))


def shared_zeros(shapes: Sequence[torch.Size]) -> list[Tensor]:
    """Tensors of fp32 zeros in memory that all ranks share; all of them have to call it.

    The memory has no name, so that nothing stays behind however the ranks end. Unused parts of it cost nothing.
    """
    starts, total = [], 0
    for shape in shapes:
        starts.append(total)
        total += -(-shape.numel() // ALIGNMENT) * ALIGNMENT
    file = os.memfd_create("respfm") if dist.get_rank() == 0 else -1
    path = [f"/proc/{os.getpid()}/fd/{file}"]
    dist.broadcast_object_list(path)
    memory = torch.from_file(path[0], shared=True, size=total, dtype=torch.float32)
    meet()
    if dist.get_rank() == 0:
        os.close(file)
    return [memory[start : start + shape.numel()].view(shape) for start, shape in zip(starts, shapes, strict=True)]


class SharedUpdate:
    """Weights, moments and gradients of an optimiser that this machine's ranks share.

    `pairs` are the (target, online) weights of the EMA; the online ones are among those of `optimiser`. All get the
    values of rank 0.
    """

    def __init__(self, optimiser: torch.optim.AdamW, pairs: list[tuple[nn.Parameter, nn.Parameter]]) -> None:
        self.rank, self.ranks, self.optimiser = dist.get_rank(), dist.get_world_size(), optimiser
        self.parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        shapes = [parameter.shape for parameter in self.parameters]
        weights = [*self.parameters, *(target for target, _ in pairs)]
        for weight, shared in zip(weights, shared_zeros([weight.shape for weight in weights]), strict=True):
            if self.rank == 0:
                shared.copy_(weight.detach())
            weight.data = shared
        self.moments = [shared_zeros(shapes) for _ in range(2)]
        self.steps = shared_zeros([torch.Size([])] * len(shapes))
        self.gradients = [shared_zeros(shapes) for _ in range(self.ranks)]
        self.norms = shared_zeros([torch.Size([self.ranks])])[0]
        self._point_to_moments()

        sizes = torch.tensor([shape.numel() for shape in shapes])
        owners = ((sizes.cumsum(0) - sizes) * self.ranks // sizes.sum()).tolist()
        self.own = [number for number, owner in enumerate(owners) if owner == self.rank]
        self.others = [number for number, owner in enumerate(owners) if owner != self.rank]
        mine = {id(self.parameters[number]) for number in self.own}
        self.own_pairs = [(target, online) for target, online in pairs if id(online) in mine]

    def _point_to_moments(self) -> None:
        for parameter, step, first, second in zip(self.parameters, self.steps, *self.moments, strict=True):
            self.optimiser.state[parameter] = {"step": step, "exp_avg": first, "exp_avg_sq": second}

    @torch.no_grad()
    def load_moments(self) -> None:
        """Share the moments that the optimiser has just loaded, the same on all ranks."""
        for parameter, step, first, second in zip(self.parameters, self.steps, *self.moments, strict=True):
            loaded = self.optimiser.state[parameter]
            for shared, name in ((step, "step"), (first, "exp_avg"), (second, "exp_avg_sq")):
                shared.copy_(loaded[name])
        self._point_to_moments()

    @torch.no_grad()
    def add_gradients(self) -> None:
        """Leave this rank the gradients of its own share, summed over the ranks in a fixed order, and no others.

        AdamW passes over weights without a gradient.
        """
        given = [self.parameters[number] for number in self.others]
        torch._foreach_copy_([self.gradients[self.rank][number] for number in self.others], [p.grad for p in given])
        for parameter in given:
            parameter.grad = None
        meet()
        own = [self.parameters[number].grad for number in self.own]
        for rank, gradients in enumerate(self.gradients):
            if rank != self.rank and own:
                torch._foreach_add_(own, [gradients[number] for number in self.own])

    def total_norm(self, norm: Tensor) -> Tensor:
        """Norm of the gradients of all ranks from that of this rank's share."""
        self.norms[self.rank] = norm
        meet()
        return torch.linalg.vector_norm(self.norms)
