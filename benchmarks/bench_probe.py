"""Time of the published probe on T5 to T11 beside a plain loop over layers and runs.

    python benchmarks/bench_probe.py [--dim 3840] [--layers 12] [--runs 5] [--tasks T9 T10] [--threads 2] [--full]

Features and labels are random with the sizes and prevalences of the tasks. The plain loop trains one head at a time
with PyTorch's autograd and Adam on tensors in memory, single-threaded, which is faster for it than two threads. It
runs for one layer and one run of each task and is multiplied, or for all of them with `--full`; its AUROCs must agree
with the probe's. The last lines set T9 against OPERA's code as shipped (620 s for 5 runs and one layer of 64 features,
about 890 s of 3,840 features, measured on a 2-core machine).
"""

import argparse
import time

import numpy as np
import torch
from report import report
from respfm.config.reading import read_yaml
from respfm.probe import linear_probe
from respfm.probe.auroc import auroc
from respfm.probe.data import TASKS, Recipe

ENTRIES = read_yaml(TASKS)
RECIPES = {
    name: Recipe(*(ENTRIES[name][key] for key in ("batch", "epochs", "candidates")))
    for name in ("T5", "T6", "T7", "T8", "T9", "T10", "T11")
}
REFERENCE_SECONDS = {64: 620.7, 3840: 890.0}
"""OPERA's code as shipped on T9: 5 runs, one layer."""


def make_task(task: str, layers: int, dim: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng([int(task[1:]), dim])
    labels, split = [], []
    for part, counts in ENTRIES[task]["counts"].items():
        labels.append(rng.permutation(np.repeat(np.arange(len(counts)), counts)))
        split += [part] * sum(counts)
    labels = np.concatenate(labels)
    features = rng.standard_normal((layers, len(labels), dim), dtype=np.float32)
    features += 3 / np.sqrt(dim) * rng.standard_normal((labels.max() + 1, dim), dtype=np.float32)[labels]
    return features, labels, np.array(split)


def plain_probe(features: np.ndarray, labels: np.ndarray, split: np.ndarray, recipe: Recipe, seed: int) -> float:
    """Test AUROC of one head, trained step by step on tensors in memory."""
    parts = {part: torch.from_numpy(features[split == part]) for part in ("train", "val", "test")}
    wanted = {part: torch.from_numpy(labels[split == part]) for part in parts}
    torch.manual_seed(seed)
    head = torch.nn.Linear(features.shape[1], int(labels.max()) + 1)
    torch.nn.init.normal_(head.weight, 0.0, 0.01)
    torch.nn.init.zeros_(head.bias)
    optimiser = torch.optim.Adam(head.parameters(), lr=1e-4)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.97)

    def score(part: str) -> np.float32:
        with torch.no_grad():
            probability = head(parts[part]).softmax(dim=1).numpy()
        return np.float32(auroc(probability, wanted[part].numpy()))

    best, tested = -1.0, 0.0
    for epoch in range(recipe.epochs):
        draws = [int(torch.empty((), dtype=torch.int64).random_()) for _ in range(4)]
        order = torch.randperm(len(parts["train"]), generator=torch.Generator().manual_seed(draws[1]))
        for rows in order.split(recipe.batch):
            logits = head(parts["train"][rows])
            loss = torch.nn.functional.cross_entropy(logits, wanted["train"][rows])
            loss = loss + recipe.l2 * sum(values.square().sum() for values in head.parameters())
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
            optimiser.step()
        schedule.step()
        if (epoch + 1) % recipe.candidates == 0 and score("val") > best:
            best, tested = score("val"), score("test")
    return float(tested)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dim", type=int, default=3840)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--tasks", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--full", action="store_true", help="run the plain loop for every layer and run")
    options = parser.parse_args()
    torch.set_num_threads(1)
    heads = [(layer, run) for layer in range(options.layers) for run in range(options.runs)]
    measured = heads if options.full else heads[:1]
    features, labels, split = make_task("T10", 1, 8)
    plain_probe(features[0], labels, split, Recipe(epochs=1), 0)

    print(f"{options.layers} layers x {options.runs} runs, {options.dim} features, {options.device}")
    print(f"{'task':5}{'probe s':>10}{'plain s':>10}{'ratio':>8}{'largest AUROC difference':>27}")
    seconds: dict[str, tuple[float, float]] = {}
    for task in options.tasks:
        features, labels, split = make_task(task, options.layers, options.dim)
        start = time.perf_counter()
        scores = linear_probe(
            features, labels, split, task, runs=options.runs, device=options.device, threads=options.threads
        ).set_index(["layer", "run"])["auroc_test"]
        probe = time.perf_counter() - start
        start = time.perf_counter()
        expected = [plain_probe(features[layer], labels, split, RECIPES[task], run) for layer, run in measured]
        plain = (time.perf_counter() - start) * len(heads) / len(measured)
        found = [scores[str(layer), run] for layer, run in measured]
        difference = np.abs(np.subtract(expected, found)).max()
        seconds[task] = probe, plain
        print(f"{task:5}{probe:10.2f}{plain:10.1f}{plain / probe:8.1f}{difference:27.1e}", flush=True)
    probe, plain = np.sum(list(seconds.values()), axis=0)
    heads_run = "" if options.full else ", one head of each multiplied"
    report(
        f"published probe, {' '.join(seconds)}, {options.layers} layers x {options.runs} runs, {options.dim} features",
        f"{probe:.1f} s",
        f"plain loop {plain:.0f} s{heads_run}",
        plain / probe,
    )
    if "T9" in seconds and options.dim in REFERENCE_SECONDS:
        reference = REFERENCE_SECONDS[options.dim] * options.layers * options.runs / 5
        print(f"OPERA's code as shipped, T9: {reference:.0f} s, {reference / seconds['T9'][0]:.0f} times the probe's")


if __name__ == "__main__":
    main()
