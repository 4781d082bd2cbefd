"""The one exception that users see: it names the thing, what is wrong with it, and the cure."""

import difflib
import re
from collections.abc import Iterable

# Control characters but the line feed, what changes the direction of text, and what UTF-8 cannot write.
_UNSHOWN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class RespfmError(Exception):
    """Bad input or a bad state that the user can mend; the message is one or two plain sentences.

    File names of others may be in it: characters that would act on a terminal are shown as escapes.
    """

    def __str__(self) -> str:
        return _UNSHOWN.sub(lambda match: ascii(match[0])[1:-1], super().__str__())


def suggest(word: str, choices: Iterable[str]) -> str:
    """A cure for a name that is none of `choices`: the nearest one, else all."""
    choices = sorted(map(str, choices))
    close = difflib.get_close_matches(str(word), choices, n=1)
    return f"did you mean {close[0]!r}?" if close else f"choose from: {', '.join(choices)}"
