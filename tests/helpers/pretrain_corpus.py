"""A tiny corpus of formula log-mels and a tiny run on it, shared by the tests of pre-training."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from respfm.logmel.statistics import mixture_statistics
from respfm.shard import write_clips

DEFINITION = {"sample_rate": 16000, "n_fft": 400, "hop_length": 160, "n_mels": 80, "f_min": 50, "f_max": 8000}
MODEL = {
    "input_size": [80, 64],
    "patch_size": [16, 16],
    "dim": 32,
    "depth": 2,
    "heads": 2,
    "decoder_dim": 16,
    "decoder_depth": 1,
    "decoder_heads": 2,
}
RUN = {
    "title": "test run",
    "mixture": "test",
    "model": MODEL,
    "epochs": 12,
    "warmup_epochs": 2,
    "batch_size": 8,
    "base_lr": 1e-2,
    "ema": [0.9, 0.99],
    "log_every": 4,
    "seed": 5,
}


def log_mel(dataset: int, clip: int, frames: int) -> np.ndarray:
    """Frames [frames, 80] of one clip."""
    time, band = np.arange(frames)[:, None], np.arange(80)
    noise = np.random.default_rng([dataset, clip]).standard_normal((frames, 80))
    return (-7 + 3 * np.sin(time / (5 + clip) + band / 11) + noise).astype(np.float32)


def write_corpus(folder: Path, broken: str = "") -> dict[str, Any]:
    """Write two data sets of two shards each; returns a spec for `respfm.pretrain`. `broken` gets one NaN."""
    shards, rows = {}, []
    for number, dataset in enumerate(("coughs", "lungs")):
        shards[dataset] = []
        for part in range(2):
            path = folder / dataset / f"{part:03d}.h5"
            numbers = range(part * 12, part * 12 + 12)
            ids = [f"{dataset}{clip:02d}" for clip in numbers]
            clips = [log_mel(number, clip, 40 + 7 * clip) for clip in numbers]
            if broken in ids:
                clips[ids.index(broken)][20, 3] = np.nan
            write_clips(path, ids, [len(clip) for clip in clips], clips, DEFINITION, "log power", dtype="float32")
            rows += [(identifier, dataset, 1 + number) for identifier in ids]
            shards[dataset].append(str(path))
    mixture = pd.DataFrame(rows, columns=["recording", "dataset", "repeats"])
    mixture.to_parquet(folder / "mixture.parquet")
    statistics = {"mean": -7.0, "std": 2.3} if broken else mixture_statistics(mixture, shards)
    (folder / "statistics.json").write_text(json.dumps(statistics))
    return {
        "run": RUN,
        "mixture": str(folder / "mixture.parquet"),
        "shards": shards,
        "statistics": str(folder / "statistics.json"),
        "outdir": str(folder / "out"),
        "workers": 0,
        "machine": {"device": "cpu", "threads": 1},
    }
