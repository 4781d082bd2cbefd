"""Pre-training mixtures: which recordings, how often each; never physically duplicated."""

import logging
from typing import Any

import pandas as pd

from respfm.curate.expected import check_count
from respfm.curate.select import select
from respfm.errors import RespfmError

log = logging.getLogger(__name__)

COUGH_THRESHOLD = (
    "the paper says a cough probability of 0.95 or higher, which 7,057 recordings of COUGHVID have; its count of "
    "7,054 needs strictly more than 0.95 (inclusive: false)"
)


def build_mixture(
    name: str,
    mixture: dict[str, Any],
    recordings: dict[str, pd.DataFrame],
    tasks: dict[str, pd.DataFrame],
    allow_partial: bool = False,
) -> pd.DataFrame:
    """Rows (recording, dataset, repeats), sorted; quarantined recordings are left out.

    `mixture` has `parts`, each with `dataset`, `repeats`, optionally `where` (see `select`) and the
    `expected` number of recordings, quarantined ones included; `exclude: test` drops the test recordings and
    test patients of all `tasks` (strict task tables, each with its `dataset` in attrs).
    """
    held_out = _held_out(tasks) if mixture.get("exclude") == "test" else {}
    parts = [_choose(name, part, recordings, held_out, allow_partial) for part in mixture["parts"]]
    frame = pd.concat(parts, ignore_index=True).sort_values(["dataset", "recording"], ignore_index=True)
    if frame.empty:
        raise RespfmError(f"mixture {name}: no recording is left; check its parts, where and exclude")
    repeated = frame[frame.duplicated(["dataset", "recording"])]
    if len(repeated):
        dataset = repeated["dataset"].iloc[0]
        raise RespfmError(f"mixture {name}: two parts choose the same recordings of {dataset}; add up their repeats")
    log.info("mixture %s: %d recordings, %d rows with repeats", name, len(frame), frame["repeats"].sum())
    return frame.astype({"repeats": "int64"})


def _choose(
    name: str,
    part: dict[str, Any],
    recordings: dict[str, pd.DataFrame],
    held_out: dict[str, tuple[set[str], set[str]]],
    allow_partial: bool,
) -> pd.DataFrame:
    """The rows of one part."""
    dataset, where, repeats = part["dataset"], part.get("where", {}), part["repeats"]
    if dataset not in recordings:
        raise RespfmError(f"mixture {name}: data set {dataset!r} is not curated; add it to config/datasets.yaml")
    chosen = select(recordings[dataset], where, f"mixture {name}: {dataset}")
    if "min_cough_detected" in where:
        log.info("mixture %s: %s", name, COUGH_THRESHOLD)
    if "expected" in part:
        check_count(f"mixture {name}: recordings of {dataset}", part["expected"], len(chosen), allow_partial)
    good = chosen[chosen["quarantine"] == ""]
    ids, patients = held_out.get(dataset, (set(), set()))
    kept = good[~good["id"].isin(ids) & ~good["patient"].isin(patients)]
    log.info(
        "mixture %s: %s: %d chosen, %d quarantined, %d held out for tests, %d kept, each %d times",
        *(name, dataset, len(chosen), len(chosen) - len(good), len(good) - len(kept), len(kept), repeats),
    )
    return pd.DataFrame({"recording": kept["id"], "dataset": dataset, "repeats": repeats})


def _held_out(tasks: dict[str, pd.DataFrame]) -> dict[str, tuple[set[str], set[str]]]:
    """Test recordings and known test patients per data set."""
    held_out: dict[str, tuple[set[str], set[str]]] = {}
    for task in tasks.values():
        ids, patients = held_out.setdefault(task.attrs["dataset"], (set(), set()))
        test = task[task["split"] == "test"]
        ids.update(test["recording"])
        patients.update(patient for patient in test["patient"] if patient)
    return held_out
