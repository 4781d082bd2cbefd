"""What the numbers were measured on, said wherever they are shown."""

from dataclasses import dataclass

from respfm.errors import RespfmError


@dataclass(frozen=True)
class DataKind:
    """`badge` is loud and short, `sentence` says what may be concluded."""

    badge: str
    sentence: str
    comparable: bool


KINDS = {
    "synthetic": DataKind(
        "SYNTHETIC DATA",
        "Every reproduced number comes from a small generated corpus. It shows that the workflow runs; it says "
        "nothing about any model or disease, and differences to the paper mean nothing.",
        comparable=False,
    ),
    "sample": DataKind(
        "SAMPLE OF REAL DATA",
        "Every reproduced number comes from a small sample of the real recordings. It must not be compared with "
        "the paper, whose numbers are shown for orientation only.",
        comparable=False,
    ),
    "full": DataKind(
        "FULL DATA",
        "Reproduced numbers come from the complete data sets of the paper.",
        comparable=True,
    ),
}


def kind_of(name: str) -> DataKind:
    """The kind called `name`; RespfmError names the allowed ones."""
    if name not in KINDS:
        raise RespfmError(f"data kind {name!r} is unknown; it must be one of {', '.join(KINDS)}")
    return KINDS[name]
