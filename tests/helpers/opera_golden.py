"""The golden numbers of OPERA's linear evaluation and the synthetic features that they belong to."""

import json
from pathlib import Path

import numpy as np

DIRECTORY = Path(__file__).parents[1] / "golden" / "opera"


def load_json(name: str) -> dict:
    return json.loads((DIRECTORY / name).read_text(encoding="utf-8"))


def load_task(task: str) -> dict[str, np.ndarray]:
    """Labels, split names and positions inside the split, as `linear_probe` takes them."""
    with np.load(DIRECTORY / "splits.npz") as arrays:
        split = np.array(["train", "val", "test"])[arrays[f"{task}_split"]]
        labels = arrays[f"{task}_label"].astype(np.int64)
        return {"labels": labels, "split": split, "order": arrays[f"{task}_position"]}


def make_features(task: str, dim: int, strength: float, seed: int = 0) -> np.ndarray:
    """Synthetic features `[N, dim]` of a task; the formula is in golden/opera/README.md."""
    labels = load_task(task)["labels"]
    rng = np.random.default_rng([seed, int(task.removeprefix("T")), dim])
    offset = 0.3 * rng.standard_normal(dim)
    scale = np.exp(0.5 * rng.standard_normal(dim))
    direction = rng.standard_normal((labels.max() + 1, dim))
    direction -= direction.mean(axis=0)
    direction[:, dim // 8 :] = 0.0
    noise = rng.standard_normal((len(labels), dim))
    return (offset + scale * (noise + strength * direction[labels])).astype(np.float32)
