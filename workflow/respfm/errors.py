"""The one exception that users see: it names the thing, what is wrong with it, and the fix."""

import contextlib
import difflib
import errno
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

# Control characters but the line feed, what changes the direction of text, and what UTF-8 cannot write.
_UNSHOWN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_REFUSALS = {
    errno.ENOSPC: "the disk is full; free some space there",
    errno.EDQUOT: "your quota on that disk is used up; free some of it",
    errno.EROFS: "it lies on a read-only file system; mount it writable or move `results` in the configuration",
    errno.EACCES: "you may not write there; change its permissions or move `results` in the configuration",
}


class RespfmError(Exception):
    """Bad input or a bad state that the user can fix; the message is one or two plain sentences.

    File names of others may be in it: characters that would act on a terminal are shown as escapes.
    """

    def __str__(self) -> str:
        return _UNSHOWN.sub(lambda match: ascii(match[0])[1:-1], super().__str__())


def suggest(word: str, choices: Iterable[str]) -> str:
    """Advice for a name that is none of `choices`: the nearest one, else all."""
    choices = sorted(map(str, choices))
    close = difflib.get_close_matches(str(word), choices, n=1)
    return f"did you mean {close[0]!r}?" if close else f"choose from: {', '.join(choices)}"


@contextlib.contextmanager
def named_trouble(path: str | os.PathLike) -> Iterator[None]:
    """Raise a RespfmError that names `path` and the fix if the disk is full or may not be written."""
    try:
        yield
    except RespfmError:
        raise
    except Exception as error:
        if reason := why_not_written(error):
            raise RespfmError(f"{path} cannot be written: {reason} and run again") from error
        if isinstance(error, OSError) and not Path(path).parent.is_dir():
            folder = Path(path).parent
            raise RespfmError(f"{path} cannot be written: {folder} is no folder; name another place") from error
        raise


def why_not_written(error: BaseException | None) -> str | None:
    """Why a write failed and how to fix it; None if `error` is about something else.

    HDF5, Arrow, PyTorch and safetensors raise errors of their own, which have the system's as context or in the text.
    """
    while error is not None:
        for number, reason in _REFUSALS.items():
            if getattr(error, "errno", None) == number or os.strerror(number) in str(error):
                return reason
        error = error.__cause__ or error.__context__
    return None
