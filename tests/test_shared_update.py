"""Ranks of one machine that share weights and moments do together what one optimiser does alone."""

import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from respfm.pretrain.shared_update import SharedUpdate, meet, ranks_share_memory, shared_zeros

SHAPES = [(5,), (7, 3), (40, 50), ()]  # one is most of the values: with three ranks, one has no share


class Task:
    """Weights that are alike in all processes, gradients that differ by rank and step, and an EMA of two of them."""

    def __init__(self):
        torch.manual_seed(3)
        self.weights = [torch.nn.Parameter(torch.randn(shape)) for shape in SHAPES]
        self.target = [torch.nn.Parameter(torch.randn(shape), requires_grad=False) for shape in SHAPES[1:3]]
        self.pairs = list(zip(self.target, self.weights[1:3], strict=True))
        self.optimiser = torch.optim.AdamW(self.weights, lr=0.1, weight_decay=0.3, fused=True)

    def gradients(self, rank: int, step: int) -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(100 * step + rank)
        return [torch.randn(shape, generator=generator) for shape in SHAPES]

    def set_gradients(self, gradients) -> None:
        for weight, gradient in zip(self.weights, gradients, strict=True):
            weight.grad = gradient

    def state(self):
        return {"weights": self.weights, "target": self.target, "optimiser": self.optimiser.state_dict()}


def rank_of_several(rank: int, ranks: int, folder: Path) -> None:
    """Three steps, the state after the second loaded into a new optimiser for the third."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=ranks)
    torch.manual_seed(rank)
    task = Task()
    if rank:
        for weight in task.weights:
            weight.data += 1  # the values of rank 0 count
    shared = SharedUpdate(task.optimiser, task.pairs)
    norms = []
    for step in range(3):
        if step == 2:
            loaded = torch.optim.AdamW(task.weights, lr=0.1, weight_decay=0.3, fused=True)
            shared.optimiser = task.optimiser = loaded
            loaded.load_state_dict(torch.load(folder / "state.pt", weights_only=True)["optimiser"])
            shared.load_moments()
        task.set_gradients(task.gradients(rank, step))
        shared.add_gradients()
        held = [weight.grad for weight in task.weights if weight.grad is not None]
        norms.append(shared.total_norm(torch.nn.utils.get_total_norm(held)).item())
        task.optimiser.step()
        for target, online in shared.own_pairs:
            target.data.lerp_(online.data, 0.25)
        meet()
        if step == 1 and rank == 0:
            torch.save(task.state(), folder / "state.pt")
        meet()
    torch.save({**task.state(), "norms": norms, "own": shared.own}, folder / f"rank{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 3])
def test_the_update_is_that_of_one_optimiser(tmp_path, ranks):
    torch.multiprocessing.spawn(rank_of_several, (ranks, tmp_path), ranks)
    alone, norms = Task(), []
    for step in range(3):
        sums = [sum(parts) for parts in zip(*(alone.gradients(rank, step) for rank in range(ranks)), strict=True)]
        alone.set_gradients(sums)
        norms.append(torch.nn.utils.get_total_norm(sums).item())
        alone.optimiser.step()
        for target, online in alone.pairs:
            target.data.lerp_(online.data, 0.25)
    ends = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(ranks)]
    assert sorted(number for end in ends for number in end["own"]) == list(range(len(SHAPES)))
    assert ranks == 2 or [] in [end["own"] for end in ends]
    for end in ends:
        assert end["norms"] == pytest.approx(norms, rel=1e-6)
        for got, expected in zip([*end["weights"], *end["target"]], [*alone.weights, *alone.target], strict=True):
            torch.testing.assert_close(got, expected)
        moments = alone.optimiser.state_dict()["state"]
        torch.testing.assert_close(end["optimiser"]["state"], moments)


def test_shared_memory_has_no_name_and_is_aligned(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    try:
        files = set(os.listdir("/proc/self/fd"))
        tensors = shared_zeros([torch.Size(shape) for shape in SHAPES])
        assert [tuple(tensor.shape) for tensor in tensors] == SHAPES
        assert all(tensor.data_ptr() % 64 == 0 for tensor in tensors)
        assert not any(tensor.any() for tensor in tensors)
        assert len(set(os.listdir("/proc/self/fd")) - files) == 0
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize(
    ("local", "world", "device", "share"),
    [("2", "2", "cpu", True), ("2", "4", "cpu", False), (None, "2", "cpu", False), ("2", "2", "cuda", False)],
)
def test_only_cpu_ranks_of_one_machine_share(monkeypatch, local, world, device, share):
    monkeypatch.setenv("WORLD_SIZE", world)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if local:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", local)
    assert ranks_share_memory(torch.device(device)) == share
