"""What a probe needs: features by layer, labels, splits and patients, checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import yaml

from respfm.errors import RespfmError
from respfm.recordings import SPLITS

TASKS = Path(__file__).resolve().parents[3] / "config" / "tasks.yaml"


@dataclass(frozen=True)
class ProbeOptions:
    """How to probe: `runs` seeds from `seed` on, where, and in how many threads (None: as many as PyTorch uses)."""

    runs: int = 5
    seed: int = 0
    device: str = "cpu"
    threads: int | None = None


@dataclass(frozen=True)
class Recipe:
    """Training of the published protocol; every `candidates` epochs the weights may be selected."""

    batch: int = 32
    epochs: int = 64
    candidates: int = 1
    l2: float = 1e-5


@dataclass(frozen=True)
class ProbeData:
    """Checked input of a probe; `rows` maps each split to its rows, in batch order."""

    task: str
    recipe: Recipe
    features: Mapping[str, np.ndarray]
    layers: list[str]
    labels: np.ndarray
    classes: int
    rows: dict[str, np.ndarray]
    patients: np.ndarray | None

    @classmethod
    def build(
        cls,
        features: np.ndarray | Mapping[str, np.ndarray],
        labels: np.ndarray,
        split: np.ndarray,
        task: str | Mapping[str, Any] | None = None,
        layers: list[str] | None = None,
        patients: np.ndarray | None = None,
        order: np.ndarray | None = None,
    ) -> Self:
        """Check labels, splits and shapes; that features are finite is checked when a layer is read."""
        name, recipe = _recipe(task)
        labels, split = np.asarray(labels), np.asarray(split).astype(str)
        if labels.ndim != 1 or split.shape != labels.shape:
            raise RespfmError(
                f"{name}: {labels.size} labels and {split.size} split names; give one of each per recording"
            )
        if labels.size == 0 or not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
            raise RespfmError(f"{name}: labels must be integers from 0; number the classes 0, 1, ...")
        unknown = sorted(set(split.tolist()) - set(SPLITS))
        if unknown:
            raise RespfmError(f"{name}: the split is called {unknown[0]!r}; use train, val and test")
        position = np.arange(labels.size) if order is None else np.asarray(order)
        if position.shape != labels.shape:
            raise RespfmError(f"{name}: {position.size} positions for {labels.size} recordings; give one each")
        by_position = np.argsort(position, kind="stable")
        rows = {part: by_position[split[by_position] == part] for part in SPLITS}
        classes = int(labels.max()) + 1
        _check_classes(name, labels, rows, classes)
        named = _named_layers(features)
        layers = list(named) if layers is None else list(layers)
        missing = [layer for layer in layers if layer not in named]
        if missing:
            raise RespfmError(f"{name}: there is no layer {missing[0]!r}; the features have {', '.join(named)}")
        for layer in layers:
            shape = np.shape(named[layer])
            if len(shape) != 2 or shape[0] != labels.size:
                raise RespfmError(
                    f"{name}: layer {layer} has features of shape {shape} for {labels.size} labels; "
                    "give one vector for each recording of the task"
                )
        if patients is not None:
            patients = np.asarray(patients).astype(str)
            if patients.shape != labels.shape:
                raise RespfmError(f"{name}: {patients.size} patients for {labels.size} recordings; give one each")
        return cls(name, recipe, named, layers, labels.astype(np.int64), classes, rows, patients)

    def width(self, name: str) -> int:
        """Number of features of a layer."""
        return np.shape(self.features[name])[1]

    def layer(self, name: str) -> np.ndarray:
        """Features `[N, D]` of a layer, float32; `RespfmError` unless all are finite."""
        values = np.asarray(self.features[name], dtype=np.float32)
        bad = ~np.isfinite(values).all(axis=1)
        if bad.any():
            split = next(part for part, rows in self.rows.items() if bad[rows].any())
            raise RespfmError(
                f"{self.task}: layer {name} has NaN or infinite features in {int(bad.sum())} recordings "
                f"(first in row {int(bad.argmax())}, {split} split); quarantine these recordings and embed again"
            )
        return values

    def counts(self) -> dict[str, int | None]:
        """Recordings and patients of each split; the patients are None where any is unknown."""
        counts: dict[str, int | None] = {f"n_{part}": len(rows) for part, rows in self.rows.items()}
        for part, rows in self.rows.items():
            ids = None if self.patients is None else self.patients[rows]
            counts[f"patients_{part}"] = None if ids is None or (ids == "").any() else len(set(ids))
        return counts


def _recipe(task: str | Mapping[str, Any] | None) -> tuple[str, Recipe]:
    if task is None:
        return "task", Recipe()
    if isinstance(task, str):
        known = yaml.safe_load(TASKS.read_text(encoding="utf-8"))
        if task not in known:
            raise RespfmError(f"{task}: no such task; known are {', '.join(known)}; or give a mapping")
        task = {**known[task], "name": task}
    keys = Recipe.__dataclass_fields__.keys() & task.keys()
    name, recipe = str(task.get("name", "task")), Recipe(**{key: task[key] for key in keys})
    if recipe.candidates > recipe.epochs:
        raise RespfmError(
            f"{name}: with a candidate every {recipe.candidates} epochs, {recipe.epochs} epochs leave nothing to "
            "select; lower `candidates` or raise `epochs`"
        )
    return name, recipe


def _named_layers(features: np.ndarray | Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    if isinstance(features, Mapping):
        return features
    features = np.asarray(features)
    if features.ndim < 3:
        features = features[None]
    return {str(index): layer for index, layer in enumerate(features)}


def _check_classes(name: str, labels: np.ndarray, rows: dict[str, np.ndarray], classes: int) -> None:
    if classes < 2:
        raise RespfmError(f"{name}: all labels are 0; a probe needs two classes")
    for part, index in rows.items():
        absent = sorted(set(range(classes)) - set(labels[index].tolist()))
        if absent:
            raise RespfmError(
                f"{name}: the {part} split ({len(index)} recordings) has no recording of class {absent[0]}; "
                "add recordings of that class or change the split"
            )
