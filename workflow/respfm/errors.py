"""The one exception that users see: it names the thing, what is wrong with it, and the cure."""

import difflib
from collections.abc import Iterable


class RespfmError(Exception):
    """Bad input or a bad state that the user can mend; the message is one or two plain sentences."""


def suggest(word: str, choices: Iterable[str]) -> str:
    """A cure for a name that is none of `choices`: the nearest one, else all."""
    choices = sorted(map(str, choices))
    close = difflib.get_close_matches(str(word), choices, n=1)
    return f"did you mean {close[0]!r}?" if close else f"choose from: {', '.join(choices)}"
