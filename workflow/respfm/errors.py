"""The one exception that users see: it names the thing, what is wrong with it, and the cure."""


class RespfmError(Exception):
    """Bad input or a bad state that the user can mend; the message is one or two plain sentences."""
