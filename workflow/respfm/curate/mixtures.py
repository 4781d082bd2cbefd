"""Pre-training mixtures: which recordings, how often each; never physically duplicated."""

import logging
from typing import Any

import pandas as pd

from respfm.curate.expected import check_count
from respfm.curate.select import select
from respfm.errors import RespfmError

log = logging.getLogger(__name__)


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
    test patients of all `tasks` (strict task tables, each with its `dataset` in attrs); `note` is logged.
    """
    if "note" in mixture:
        log.info("mixture %s: %s", name, mixture["note"])
    held_out = _held_out(tasks) if mixture.get("exclude") == "test" else {}
    rows = []
    for part in mixture["parts"]:
        dataset = part["dataset"]
        if dataset not in recordings:
            raise RespfmError(f"mixture {name}: data set {dataset!r} is not curated; add it to config/datasets.yaml")
        chosen = select(recordings[dataset], part.get("where", {}), f"mixture {name}: {dataset}")
        if "expected" in part:
            check_count(f"mixture {name}: recordings of {dataset}", part["expected"], len(chosen), allow_partial)
        good = chosen[chosen["quarantine"] == ""]
        ids, patients = held_out.get(dataset, (set(), set()))
        kept = good[~good["id"].isin(ids) & ~good["patient"].isin(patients)]
        log.info(
            "mixture %s: %s: %d chosen, %d quarantined, %d held out for tests, %d kept, each %d times",
            *(
                name,
                dataset,
                len(chosen),
                len(chosen) - len(good),
                len(good) - len(kept),
                len(kept),
                part["repeats"],
            ),
        )
        rows.append(pd.DataFrame({"recording": kept["id"], "dataset": dataset, "repeats": part["repeats"]}))
    frame = pd.concat(rows, ignore_index=True).sort_values(["dataset", "recording"], ignore_index=True)
    frame["repeats"] = frame["repeats"].astype("int64")
    if frame.empty:
        raise RespfmError(f"mixture {name}: no recording is left; check its parts, where and exclude")
    if frame.duplicated(["dataset", "recording"]).any():
        dataset = frame.loc[frame.duplicated(["dataset", "recording"]), "dataset"].iloc[0]
        raise RespfmError(f"mixture {name}: two parts choose the same recordings of {dataset}; add up their repeats")
    log.info("mixture %s: %d recordings, %d rows with repeats", name, len(frame), frame["repeats"].sum())
    return frame


def _held_out(tasks: dict[str, pd.DataFrame]) -> dict[str, tuple[set[str], set[str]]]:
    """Test recordings and known test patients per data set."""
    held_out: dict[str, tuple[set[str], set[str]]] = {}
    for task in tasks.values():
        ids, patients = held_out.setdefault(task.attrs["dataset"], (set(), set()))
        test = task[task["split"] == "test"]
        ids.update(test["recording"])
        patients.update(patient for patient in test["patient"] if patient)
    return held_out
