"""What is really in the recordings: decode every one, describe it, quarantine what cannot be used."""

import functools
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from respfm import audio
from respfm.workers import WorkerCrash, map_batches

BATCH_SIZE = 16

CRASHED = audio.AudioInfo(0, 0, 0.0, 0.0, "unreadable: the decoder crashed")


def inspect_recordings(frame: pd.DataFrame, root: Path, workers: int = 1) -> pd.DataFrame:
    """Add sample_rate (Hz), channels, seconds, peak (full scale = 1) and quarantine ("" = good) to `frame`.

    Every recording is decoded in full, in `workers` processes; the row order is kept. A recording that cannot
    be decoded, or that takes its process down, is quarantined with the reason.
    """
    inspect = functools.partial(_inspect, root)
    results = map_batches(inspect, frame["path"].tolist(), BATCH_SIZE, workers)
    infos = [
        CRASHED if isinstance(info, WorkerCrash) else info
        for info in tqdm(results, "decode", len(frame), unit="recording", disable=None)
    ]
    kinds = {
        "sample_rate": "int32",
        "channels": "int16",
        "seconds": "float64",
        "peak": "float32",
        "quarantine": str,
    }
    columns = {name: pd.Series([getattr(info, name) for info in infos], dtype=kind) for name, kind in kinds.items()}
    leading = frame[["id", "path", "patient"]].reset_index(drop=True).assign(**columns)
    return leading.join(frame.drop(columns=leading.columns, errors="ignore").reset_index(drop=True))


def _inspect(root: Path, paths: Sequence[str]) -> list[audio.AudioInfo]:
    return [audio.inspect(root / path) for path in paths]
