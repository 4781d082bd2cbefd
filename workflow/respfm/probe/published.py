"""The linear evaluation of OPERA (Zhang et al. 2024; code at commit 3622310e), all layers and runs at once.

An affine head on raw features, weights from N(0, 0.01^2), biases 0; mean cross-entropy plus `l2` times the
sum of squared weights and biases; Adam with learning rate 1e-4, times 0.97 after each epoch; gradient norm
clipped to 1. The weights of the candidate epoch with the highest validation AUROC (float32, the earliest on
ties) are tested.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from respfm.probe.auroc import auroc
from respfm.probe.data import ProbeData, Recipe

LEARNING_RATE, DECAY = 1e-4, 0.97
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
MAX_NORM = 1.0
INITIAL_SD = 0.01
GROUP_BYTES = {"cpu": 2**22, "cuda": 2**28}
"""Layers train together while the batches of all their heads stay below this size (caches, GPU memory)."""


def probe_published(
    data: ProbeData, runs: int = 5, seed: int = 0, reference_rng: bool = True, device: str = "cpu"
) -> pd.DataFrame:
    """One row per layer and run: AUROC of validation and test at the selected epoch (counted from 0)."""
    seeds = [seed + run for run in range(runs)]
    scores = []
    with tqdm(total=len(data.layers), desc=f"probe {data.task}", unit="layer", disable=None) as progress:
        for names, features in _groups(data, runs, device):
            epoch, auroc_val, auroc_test = train_heads(features, data, seeds, reference_rng, device)
            for i, name in enumerate(names):
                for run in range(runs):
                    scores.append(
                        {
                            "protocol": "published",
                            "task": data.task,
                            "layer": name,
                            "run": run,
                            "split": "test",
                            "auroc_val": auroc_val[i, run],
                            "auroc_test": auroc_test[i, run],
                            "epoch": epoch[i, run],
                            "seed": seeds[run],
                            **data.counts(),
                        }
                    )
            progress.update(len(names))
    return pd.DataFrame(scores)


def train_heads(
    features: torch.Tensor, data: ProbeData, seeds: list[int], reference_rng: bool = True, device: str = "cpu"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Train one head per layer and seed on features `[G, N, D]`.

    A constant 1 is appended to the features, so that the bias is one more weight: decay, clipping and Adam
    treat both alike. All heads of the group take their steps together. Returns selected epoch, validation
    and test AUROC, each `[G, R]`.
    """
    recipe, runs = data.recipe, len(seeds)
    layers, _, dim = features.shape
    features = torch.nn.functional.pad(features, (0, 1), value=1.0).to(device)
    train, val, test = (features[:, torch.from_numpy(data.rows[part]).to(device)] for part in data.rows)
    labels = {part: data.labels[rows] for part, rows in data.rows.items()}
    targets = torch.nn.functional.one_hot(torch.from_numpy(labels["train"]), data.classes).float()
    draw = _reference_draws if reference_rng else _plain_draws
    draws = [draw(seed, data.classes, dim, len(targets), recipe.epochs) for seed in seeds]
    weights = torch.stack([first for first, _ in draws]).repeat(layers, 1, 1).to(device)
    batches = torch.stack([second for _, second in draws], dim=1)

    optimiser = _Adam(weights)
    best = np.full(layers * runs, -np.inf, dtype=np.float32)
    epochs = np.zeros(layers * runs, dtype=np.int64)
    selected = weights.clone()
    for epoch in range(recipe.epochs):
        optimiser.learning_rate = LEARNING_RATE * DECAY**epoch
        _train_epoch(
            weights, optimiser, train, targets[batches[epoch]].to(device), batches[epoch].to(device), recipe
        )
        if (epoch + 1) % recipe.candidates == 0:
            now = _auroc_of_heads(val, weights, labels["val"])
            better = now > best
            best[better], epochs[better] = now[better], epoch
            mask = torch.from_numpy(better).to(device)
            selected[mask] = weights[mask]
    tested = _auroc_of_heads(test, selected, labels["test"])
    return tuple(values.reshape(layers, runs) for values in (epochs, best, tested))


def _train_epoch(
    weights: torch.Tensor,
    optimiser: "_Adam",
    features: torch.Tensor,
    targets: torch.Tensor,
    order: torch.Tensor,
    recipe: Recipe,
) -> None:
    """Weights `[G R, C, D]`, features `[G, N, D]`, order `[R, N]` of each run, targets `[R, N, C]` in it."""
    heads, classes, dim = weights.shape
    layers, runs = len(features), len(order)
    for start in range(0, order.shape[1], recipe.batch):
        rows = order[:, start : start + recipe.batch]
        batch = features.index_select(1, rows.reshape(-1)).view(heads, -1, dim)
        probability = torch.bmm(batch, weights.transpose(1, 2)).softmax(dim=2)
        residual = probability.view(layers, runs, -1, classes) - targets[:, start : start + recipe.batch]
        residual = residual.view(heads, -1, classes).div_(rows.shape[1])
        gradient = torch.baddbmm(weights, residual.transpose(1, 2), batch, beta=2 * recipe.l2)
        norm = torch.linalg.vector_norm(gradient, dim=(1, 2), keepdim=True)
        gradient.mul_((MAX_NORM / (norm + 1e-6)).clamp_(max=1.0))
        optimiser.step(gradient)


class _Adam:
    """Adam (Kingma & Ba 2015) on one tensor, in place."""

    def __init__(self, weights: torch.Tensor) -> None:
        self.weights = weights
        self.mean = torch.zeros_like(weights)
        self.square = torch.zeros_like(weights)
        self.steps = 0
        self.learning_rate = LEARNING_RATE

    def step(self, gradient: torch.Tensor) -> None:
        self.steps += 1
        self.mean.lerp_(gradient, 1 - BETA1)
        self.square.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        root = torch.sqrt(self.square, out=gradient).div_((1 - BETA2**self.steps) ** 0.5).add_(EPSILON)
        self.weights.addcdiv_(self.mean, root, value=-self.learning_rate / (1 - BETA1**self.steps))


def _auroc_of_heads(features: torch.Tensor, weights: torch.Tensor, labels: np.ndarray) -> np.ndarray:
    """Float32 AUROC `[G R]` of heads `[G R, C, D]` on features `[G, N, D]`."""
    layers, count, dim = features.shape
    _, classes, _ = weights.shape
    logits = torch.bmm(features, weights.view(layers, -1, dim).transpose(1, 2))
    probability = logits.view(layers, count, -1, classes).softmax(dim=3).transpose(1, 2)
    return auroc(probability.cpu().numpy(), labels).astype(np.float32).reshape(-1)


def _reference_draws(
    seed: int, classes: int, dim: int, count: int, epochs: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Initial weights `[C, D + 1]` and row orders `[epochs, N]` as OPERA's code draws them.

    The affine layer first draws its default weights and biases; each epoch's loaders draw a base seed and a
    permutation seed, the training loader before the validation loader.
    """
    generator = torch.Generator().manual_seed(seed)
    torch.empty(classes, dim).uniform_(generator=generator)
    torch.empty(classes).uniform_(generator=generator)
    weights = torch.empty(classes, dim).normal_(0.0, INITIAL_SD, generator=generator)
    orders = []
    for _ in range(epochs):
        _, permutation_seed, _, _ = (
            int(torch.empty((), dtype=torch.int64).random_(generator=generator)) for _ in range(4)
        )
        orders.append(torch.randperm(count, generator=torch.Generator().manual_seed(permutation_seed)))
    return torch.nn.functional.pad(weights, (0, 1)), torch.stack(orders)


def _plain_draws(
    seed: int, classes: int, dim: int, count: int, epochs: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same from one generator, without the draws that the reference makes and drops."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.empty(classes, dim).normal_(0.0, INITIAL_SD, generator=generator)
    orders = [torch.randperm(count, generator=generator) for _ in range(epochs)]
    return torch.nn.functional.pad(weights, (0, 1)), torch.stack(orders)


def _groups(data: ProbeData, runs: int, device: str) -> Iterator[tuple[list[str], torch.Tensor]]:
    """Neighbouring layers of one width, read when needed and stacked to `[G, N, D]`."""
    limit = GROUP_BYTES["cpu" if device == "cpu" else "cuda"]
    names: list[str] = []
    stack: list[np.ndarray] = []
    for name in data.layers:
        values = data.layer(name)
        head_bytes = 4 * runs * data.recipe.batch * values.shape[1]
        if stack and (stack[0].shape != values.shape or (len(stack) + 1) * head_bytes > limit):
            yield names, torch.from_numpy(np.stack(stack))
            names, stack = [], []
        names.append(name)
        stack.append(values)
    yield names, torch.from_numpy(np.stack(stack))
