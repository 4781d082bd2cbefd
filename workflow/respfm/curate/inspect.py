"""What is really in the recordings: decode every one, describe it, quarantine what cannot be used."""

import functools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from respfm import audio
from respfm.curate.expected import check_count
from respfm.errors import RespfmError
from respfm.workers import WorkerCrash, map_batches

log = logging.getLogger(__name__)

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


def summarise(frame: pd.DataFrame) -> dict[str, Any]:
    """Numbers of recordings, known patients, hours, quarantined recordings, and of each quarantine reason."""
    reasons = frame["quarantine"][frame["quarantine"] != ""]
    return {
        "recordings": len(frame),
        "patients": frame["patient"][frame["patient"] != ""].nunique(),
        "hours": frame["seconds"].sum() / 3600,
        "quarantined": len(reasons),
        **reasons.value_counts().sort_index().to_dict(),
    }


def check_recordings(
    dataset: str,
    frame: pd.DataFrame,
    expected: dict[str, int],
    allow_partial: bool = False,
    max_quarantine_share: float = 0.05,
) -> None:
    """Log the summary of an inspected data set and compare it with its `expected` numbers.

    Raises RespfmError when the number of recordings or patients differs (fewer are fine with
    `allow_partial`), or when more than `max_quarantine_share` of the recordings are quarantined.
    """
    summary = summarise(frame)
    log.info("%s: %s", dataset, ", ".join(f"{key} {value:g}" for key, value in summary.items()))
    for what, number in expected.items():
        if what not in ("recordings", "patients"):
            raise RespfmError(f"{dataset}: expected names {what!r}; it can name recordings and patients")
        check_count(f"{dataset}: {what}", number, summary[what], allow_partial)
    bad = frame[frame["quarantine"] != ""]
    if len(bad) > max_quarantine_share * len(frame):
        examples = "; ".join(f"{row.id}: {row.quarantine}" for row in bad.head(3).itertuples())
        raise RespfmError(
            f"{dataset}: {len(bad)} of {len(frame)} recordings cannot be used ({examples}), more than "
            f"max_quarantine_share {max_quarantine_share:g} allows. Replace the files or raise it"
        )
