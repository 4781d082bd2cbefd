"""Published counts against what is there: a short data set stops the run unless that was asked for."""

from respfm.errors import RespfmError


def check_count(what: str, expected: int, found: int, allow_partial: bool) -> None:
    """Raise RespfmError unless `found` is `expected`, or less than that with `allow_partial`."""
    if found == expected or (allow_partial and found < expected):
        return
    fix = (
        "retrieve the data set again, or set allow_partial: true to go on with what is there"
        if found < expected
        else "this is another version of the data set, or its `expected` in config/ is out of date"
    )
    raise RespfmError(f"{what}: expected {expected:,}, found {found:,}; {fix}")
