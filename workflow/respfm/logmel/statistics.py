"""Mean and standard deviation of a mixture's log-mel values: one pass, one result for all ranks."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from respfm.logmel.frontend import EPSILON
from respfm.logmel.mixture import Recordings


def mixture_statistics(
    mixture: pd.DataFrame, shards: dict[str, list[Path]], progress: bool = True
) -> dict[str, float | int]:
    """Exact statistics over all frames of all recordings of `mixture`, each counted `repeats` times.

    Returns `mean`, `std` (unbiased, plus 2^-23 as in the M2D reference), `frames`, `recordings`. Accumulated in
    float64 around the first recording's mean, in the mixture's order, so the result does not depend on the machine.
    """
    from tqdm import tqdm

    recordings = Recordings.open(mixture, shards)
    count, total, squares, frames = 0, 0.0, 0.0, 0
    shift: Any = None
    rows = zip(recordings.row_store, recordings.row_index, recordings.row_repeats, strict=True)
    bar = tqdm(
        rows,
        total=len(recordings.rows),
        desc="statistics",
        unit="recording",
        disable=None if progress else True,
    )
    for store, index, repeats in bar:
        values = recordings.stores[store].clip(int(index)).astype(np.float64)
        shift = values.mean() if shift is None else shift
        values -= shift
        count += int(repeats) * values.size
        frames += int(repeats) * values.shape[-1]
        total += float(repeats) * values.sum()
        squares += float(repeats) * np.square(values).sum()
    variance = (squares - total * total / count) / (count - 1)
    return {
        "mean": float(shift + total / count),
        "std": float(np.sqrt(variance) + EPSILON),
        "frames": frames,
        "recordings": len(recordings.rows),
    }
