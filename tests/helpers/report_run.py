"""A made-up run with formula scores: what the report reads, small and repeatable."""

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

REPOSITORY = Path(__file__).resolve().parents[2]
PAPER = REPOSITORY / "resources" / "paper"
STYLE = REPOSITORY / "resources" / "style" / "respfm.mplstyle"
CAPTIONS = REPOSITORY / "resources" / "captions"
TEMPLATE = REPOSITORY / "resources" / "report" / "report.html.jinja"
MODELS = {
    "ast": {"title": "AST", "family": "ast", "weights": "published", "paper_row": {"table": 2, "row": 1},
            "checkpoint": {"url": "https://example.org/ast_audioset.pth", "bytes": 350_000_000}},
    "m2d": {"title": "M2D", "family": "m2d", "weights": "published", "paper_row": {"table": 2, "row": 16}},
    "opera_ct": {"title": "OPERA-CT", "family": "opera", "weights": "published", "paper_row": {"table": 2, "row": 20}},
    "m2d_resp": {"title": "M2D+Resp", "family": "m2d", "weights": "own", "run": "resp",
                 "paper_row": {"table": 4, "row": 6}},
    "m2d_tiny": {"title": "M2D tiny", "family": "m2d", "weights": "own", "run": "demo"},
    "hubert_random": {"title": "HuBERT", "family": "hubert", "weights": "random", "paper_row": {"table": 2, "row": 5}},
    "logmel_statistics": {"title": "Log-mel mean & std", "family": "statistics", "weights": "none"},
}  # fmt: skip
SELECTED = ["m2d", "opera_ct", "m2d_tiny", "hubert_random", "logmel_statistics"]
CLASSES = {"T11": 5}


def layers_of(model: str) -> list[str]:
    return ["statistics"] if model == "logmel_statistics" else [str(layer) for layer in range(1, 13)]


def score_frame(model: str, task: str, protocol: str = "published") -> pd.DataFrame:
    """Scores that rise with depth and differ between models and tasks; the last layer is the default one."""
    strength = sum(map(ord, model)) % 7 / 20
    centre = 0.55 + strength * 0.6 + sum(map(ord, task)) % 5 / 50
    rows = []
    layers = layers_of(model)
    for depth, layer in enumerate(layers):
        for run in range(5 if protocol == "published" else 1):
            auroc = min(1.0, centre + 0.1 * (depth / 12) - 0.002 * max(0, depth - 10) ** 2 + 0.003 * (run - 2))
            row = {"protocol": protocol, "model": model, "task": task, "layer": layer, "run": run, "split": "test",
                   "auroc_val": auroc - 0.01, "auroc_test": auroc, "default_layer": depth == len(layers) - 1,
                   "n_train": 60, "n_val": 20, "n_test": 40,
                   "patients_train": 30, "patients_val": 10, "patients_test": 20}  # fmt: skip
            if protocol == "strict":
                row |= {
                    "auroc_low": auroc - 0.06,
                    "auroc_high": min(1, auroc + 0.05),
                    "sensitivity_at_90_specificity": 0.41,
                    "ece": 0.062,
                    "p_value": 0.001,
                    "chosen": depth == len(layers) - 1,
                }
            rows.append(row)
    return pd.DataFrame(rows)


def write_scores(
    root: Path, tasks: list[str], selected: list[str] = SELECTED, protocol: str = "published"
) -> list[Path]:
    paths = []
    for model in selected:
        for task in tasks:
            path = root / "scores" / protocol / model / f"{task}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            score_frame(model, task, protocol).to_csv(path, index=False)
            paths.append(path)
    return paths


def task_frame(task: str) -> pd.DataFrame:
    count = CLASSES.get(task, 2)
    size = 120
    label = np.arange(size) % count
    return pd.DataFrame(
        {
            "recording": [f"{task}-{index:03d}" for index in range(size)],
            "label": label,
            "label_name": [f"class {value}" for value in label],
            "split": np.array(["train", "val", "test"])[np.arange(size) // 5 % 3],
            "patient": [f"p{index // 4}" for index in range(size)],
            "order": np.arange(size),
        }
    )


def write_tasks(root: Path, tasks: list[str]) -> dict[str, Path]:
    paths = {}
    for task in tasks:
        path = root / "tasks" / f"{task}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        task_frame(task).to_parquet(path)
        paths[task] = path
    return paths


def write_embeddings(path: Path, frame: pd.DataFrame, model: str) -> Path:
    """Two layers; in the last one the classes stand apart."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).normal(size=(len(frame), 32)).astype("float32")
    with h5py.File(path, "w") as file:
        file["ids"] = frame["recording"].tolist()
        file["layers/1"] = noise
        file["layers/2"] = noise + 3 * frame["label"].to_numpy("float32")[:, None]
        file.attrs.update(layers=["1", "2"], default_layer="2", model=model, weights="random")
    return path


def write_audit(root: Path, tasks: list[str]) -> dict[str, Path]:
    """Two thirds of the published test sets are in a list, 12 % of their recordings have their patient in train."""
    published = {"resp": {"shared_recordings": 66}, "train": {"recordings_of_shared_patients": 12}}
    leakage = [
        {"protocol": protocol, "task": task, "dataset": "x", "split": "test", "against": against, "class": "all",
         "recordings": 100, "shared_recordings": 0, "patients": 50, "shared_patients": 0,
         "recordings_of_shared_patients": 0} | (published[against] if protocol == "published" else {})
        for protocol in ("published", "strict") for task in tasks for against in ("train", "resp")
    ]  # fmt: skip
    baselines = [
        {
            "protocol": protocol,
            "task": task,
            "column": column,
            "auroc_test": auroc,
            "seen": 1.0,
            "n_train": 60,
            "n_test": 40,
        }
        for protocol in ("published", "strict")
        for task in tasks
        for column, auroc in (("patient", 0.99), ("date", 0.7), ("device", 0.9))
    ]
    duplicates = [{"dataset": "x", "recording": "a", "duplicate": "<b>"}]
    parts = {"leakage": leakage, "duplicates": duplicates, "metadata_baselines": baselines}
    paths = {name: root / "audit" / f"{name}.csv" for name in parts}
    for name, rows in parts.items():
        paths[name].parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows).to_csv(paths[name], index=False)
    return paths


def write_history(root: Path, run: str) -> Path:
    """A falling loss and a rising spread over ten epochs."""
    path = root / "pretraining" / run / "history.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    epoch = np.linspace(0, 10, 21)
    loss = 2 * np.exp(-epoch / 5) + len(run) / 100
    pd.DataFrame({"epoch": epoch, "loss": loss, "target_std": 0.04 + epoch / 100}).to_csv(path, index=False)
    return path


def outputs(directory: Path) -> Mapping[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir()) if path.is_file()}
