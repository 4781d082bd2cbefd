"""Published counts against what is there: a short data set stops the run unless that was asked for."""

import logging
from typing import Any

import pandas as pd

from respfm.errors import RespfmError

log = logging.getLogger(__name__)


def check_recordings(
    dataset: str,
    frame: pd.DataFrame,
    expected: dict[str, int],
    allow_partial: bool = False,
    max_quarantine_share: float = 0.05,
) -> dict[str, Any]:
    """Compare an inspected data set with its `expected` numbers and return its summary.

    Raises RespfmError when the number of recordings or patients differs (fewer are fine with `allow_partial`)
    or when too large a share of the recordings is quarantined. The summary counts recordings, patients, hours
    and quarantine reasons.
    """
    found = {"recordings": len(frame), "patients": frame["patient"][frame["patient"] != ""].nunique()}
    for what, number in expected.items():
        if what not in found:
            raise RespfmError(f"{dataset}: expected names {what!r}, which cannot be counted; use {' or '.join(found)}")
        check_count(f"{dataset}: {what}", number, found[what], allow_partial)
    bad = frame["quarantine"] != ""
    reasons = frame.loc[bad, "quarantine"].value_counts().sort_index()
    if bad.mean() > max_quarantine_share:
        examples = "; ".join(f"{row.id}: {row.quarantine}" for row in frame[bad].head(3).itertuples())
        raise RespfmError(
            f"{dataset}: {bad.sum()} of {len(frame)} recordings cannot be used ({examples}), more than "
            f"max_quarantine_share {max_quarantine_share:g} allows. Replace the files or raise it"
        )
    summary = {
        **found,
        "hours": frame["seconds"].sum() / 3600,
        "quarantined": int(bad.sum()),
        **reasons.to_dict(),
    }
    log.info("%s: %s", dataset, ", ".join(f"{key} {value:g}" for key, value in summary.items()))
    return summary


def check_count(what: str, expected: int, found: int, allow_partial: bool) -> None:
    """Raise RespfmError unless `found` is `expected`, or less than that with `allow_partial`."""
    if found == expected or (allow_partial and found < expected):
        return
    cure = (
        "retrieve the data set again, or set allow_partial: true to go on with what is there"
        if found < expected
        else "this is another version of the data set, or its `expected` in config/ is out of date"
    )
    raise RespfmError(f"{what}: expected {expected:,}, found {found:,}; {cure}")
