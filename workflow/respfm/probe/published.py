"""The linear evaluation of OPERA (Zhang et al. 2024; code at commit 3622310e), all layers and runs at once.

An affine head on raw features, weights from N(0, 0.01^2), biases 0; mean cross-entropy plus `l2` times the
sum of squared weights and biases; Adam with learning rate 1e-4, times 0.97 after each epoch; gradient norm
clipped to 1. The weights of the candidate epoch with the highest validation AUROC (float32, the earliest on
ties) are tested.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from respfm.probe.auroc import auroc
from respfm.probe.data import ProbeData, ProbeOptions
from respfm.probe.threads import map_in_threads

LEARNING_RATE, DECAY = 1e-4, 0.97
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
MAX_NORM = 1.0
INITIAL_SD = 0.01
ALIGNMENT = 16
"""Numbers per cache line: rows that start on one multiply faster."""
GROUP_BYTES = {"cpu": 2**20, "cuda": 2**28}
"""Layers train together while one batch of all their heads stays below this size (cache, GPU memory)."""


class Selected(NamedTuple):
    """Epoch (from 0) of the weights that validation selected and their AUROCs, each `[layers, runs]`."""

    epoch: np.ndarray
    auroc_val: np.ndarray
    auroc_test: np.ndarray


def probe(data: ProbeData, options: ProbeOptions) -> tuple[pd.DataFrame, None]:
    """Scores, one row per layer and run; groups of layers are read and trained in threads."""
    seeds = list(range(options.seed, options.seed + options.runs))
    groups = list(_groups(data, options.runs, options.device))
    results = map_in_threads(lambda group: train_heads(data, group, seeds, options.device), groups, options.threads)
    scores = []
    with tqdm(total=len(data.layers), desc=f"probe {data.task}", unit="layer", disable=None) as progress:
        for group, selected in zip(groups, results, strict=True):
            scores += _score_rows(data, group, seeds, selected)
            progress.update(len(group))
    return pd.DataFrame(scores), None


def train_heads(data: ProbeData, layers: list[str], seeds: list[int], device: str = "cpu") -> Selected:
    """Train one head per layer and seed; all heads take their steps together. The layers have one width.

    A constant 1 is appended to the features, so that the bias is one more weight: the penalty, the clipping and
    Adam treat both alike.
    """
    recipe, count = data.recipe, len(data.rows["train"])
    features = {part: values.to(device) for part, values in _stack(data, layers).items()}
    labels = {part: data.labels[rows] for part, rows in data.rows.items()}
    targets = torch.nn.functional.one_hot(torch.from_numpy(labels["train"]), data.classes).float()
    draws = [_draw(seed, data.classes, data.width(layers[0]), count, recipe.epochs) for seed in seeds]
    orders = torch.stack([order for _, order in draws], dim=1)
    initial = torch.stack([weights for weights, _ in draws]).repeat(len(layers), 1, 1)
    unused = features["train"].shape[2] - initial.shape[2]
    weights = torch.nn.functional.pad(initial, (0, unused)).to(device)

    heads = _Heads(weights, recipe.batch, recipe.l2)
    selected = weights.clone()
    best = np.full((len(layers), len(seeds)), -np.inf, dtype=np.float32)
    best_epoch = np.zeros(best.shape, dtype=np.int64)
    for epoch in range(recipe.epochs):
        rows = orders[epoch].to(device).split(recipe.batch, dim=1)
        wanted = targets[orders[epoch]].transpose(1, 2).to(device).split(recipe.batch, dim=2)
        for batch_rows, batch_targets in zip(rows, wanted, strict=True):
            heads.step(features["train"], batch_rows, batch_targets, LEARNING_RATE * DECAY**epoch)
        if (epoch + 1) % recipe.candidates == 0:
            now = _auroc_of_heads(features["val"], weights, labels["val"])
            better = now > best
            best[better], best_epoch[better] = now[better], epoch
            mask = torch.from_numpy(better.reshape(-1)).to(device)
            selected[mask] = weights[mask]
    return Selected(best_epoch, best, _auroc_of_heads(features["test"], selected, labels["test"]))


class _Heads:
    """Affine heads with weights `[G R, C, D]` that take the steps of Adam (Kingma & Ba 2015) together.

    Large temporaries are allocated once, because fresh memory costs more than the arithmetic. Adam is written out
    here because importing `torch.optim` also imports PyTorch's compiler, which takes seconds.
    """

    def __init__(self, weights: torch.Tensor, batch: int, l2: float) -> None:
        self.weights = weights
        self.l2 = l2
        self.steps = 0
        self.mean = torch.zeros_like(weights)
        self.square = torch.zeros_like(weights)
        self.gradient = torch.empty_like(weights)
        self.batch = weights.new_empty(len(weights) * batch * weights.shape[2])

    def step(self, features: torch.Tensor, rows: torch.Tensor, targets: torch.Tensor, rate: float) -> None:
        """One step with features `[G, N, D]`, each run's batch of `rows` `[R, B]`, one-hot `targets` `[R, C, B]`."""
        gradient = self._clipped_gradient(features, rows, targets)
        self.steps += 1
        correction = (1 - BETA2**self.steps) ** 0.5
        self.mean.lerp_(gradient, 1 - BETA1)
        self.square.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        root = torch.sqrt(self.square, out=gradient).add_(EPSILON * correction)
        self.weights.addcdiv_(self.mean, root, value=-rate * correction / (1 - BETA1**self.steps))

    def _clipped_gradient(self, features: torch.Tensor, rows: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        weights, (layers, _, width) = self.weights, features.shape
        batch = self.batch[: len(weights) * rows.shape[1] * width].view(layers, rows.numel(), width)
        batch = torch.index_select(features, 1, rows.reshape(-1), out=batch).view(len(weights), -1, width)
        probability = torch.bmm(weights, batch.transpose(1, 2)).softmax(dim=1)
        residual = probability.view(layers, *targets.shape).sub_(targets).view_as(probability)
        gradient = torch.baddbmm(weights, residual, batch, beta=2 * self.l2, alpha=1 / rows.shape[1], out=self.gradient)
        norm = torch.linalg.vector_norm(gradient, dim=(1, 2), keepdim=True)
        return gradient.div_((norm / MAX_NORM).add_(1e-6).clamp_(min=1.0))


def _auroc_of_heads(features: torch.Tensor, weights: torch.Tensor, labels: np.ndarray) -> np.ndarray:
    """Float32 AUROC `[G, R]` of heads `[G R, C, D]` on features `[G, N, D]`."""
    layers, count, dim = features.shape
    logits = torch.bmm(weights.view(layers, -1, dim), features.transpose(1, 2))
    probability = logits.view(layers, -1, weights.shape[1], count).softmax(dim=2)
    return auroc(probability.transpose(2, 3).cpu().numpy(), labels).astype(np.float32)


def _draw(seed: int, classes: int, dim: int, count: int, epochs: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Initial weights `[C, D]` and row orders `[epochs, N]` as OPERA's code draws them.

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
    return weights, torch.stack(orders)


def _groups(data: ProbeData, runs: int, device: str) -> Iterator[list[str]]:
    """Neighbouring layers of one width; their number depends on nothing that changes between equal runs."""
    limit = GROUP_BYTES["cpu" if device == "cpu" else "cuda"]
    group: list[str] = []
    for layer in data.layers:
        batch_bytes = 4 * runs * data.recipe.batch * data.width(layer)
        if group and (data.width(layer) != data.width(group[0]) or (len(group) + 1) * batch_bytes > limit):
            yield group
            group = []
        group.append(layer)
    yield group


def _stack(data: ProbeData, layers: list[str]) -> dict[str, torch.Tensor]:
    """Features of each split, then a constant 1, then zeros up to a multiple of `ALIGNMENT`, `[G, N, D']`."""
    dim = data.width(layers[0])
    padded = -(-(dim + 1) // ALIGNMENT) * ALIGNMENT
    stacked = {part: torch.zeros(len(layers), len(rows), padded) for part, rows in data.rows.items()}
    for i, layer in enumerate(layers):
        values = data.layer(layer)
        for part, rows in data.rows.items():
            stacked[part][i, :, :dim] = torch.from_numpy(values[rows])
            stacked[part][i, :, dim] = 1.0
    return stacked


def _score_rows(data: ProbeData, layers: list[str], seeds: list[int], selected: Selected) -> list[dict]:
    return [
        {
            "protocol": "published",
            "task": data.task,
            "layer": layer,
            "run": run,
            "split": "test",
            "auroc_val": selected.auroc_val[i, run],
            "auroc_test": selected.auroc_test[i, run],
            "epoch": selected.epoch[i, run],
            "seed": seed,
            **data.counts(),
        }
        for i, layer in enumerate(layers)
        for run, seed in enumerate(seeds)
    ]
