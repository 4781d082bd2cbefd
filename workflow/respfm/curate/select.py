"""Choosing recordings by their metadata, the same way for tasks and mixtures."""

import logging
from typing import Any

import pandas as pd

from respfm.errors import RespfmError

log = logging.getLogger(__name__)


def select(frame: pd.DataFrame, where: dict[str, Any], context: str) -> pd.DataFrame:
    """Rows of `frame` that meet every condition of `where`.

    `<column>: value` or a list of values keeps equal ones; `min_<column>: number` keeps those at least as
    large, or strictly larger with `inclusive: false` (for all minima of this `where`). NaN never meets a
    minimum.
    """
    inclusive = where.get("inclusive", True)
    chosen = pd.Series(True, index=frame.index)
    for key, value in where.items():
        if key == "inclusive":
            continue
        column = key if key in frame.columns else key.removeprefix("min_")
        if column not in frame.columns:
            raise RespfmError(
                f"{context}: where names the column {column!r}, which is not there; "
                f"choose from {', '.join(frame.columns)}"
            )
        if column == key:
            chosen &= frame[column].isin(value if isinstance(value, list) else [value])
        elif pd.api.types.is_numeric_dtype(frame[column]):
            at_least, above = chosen & (frame[column] >= value), chosen & (frame[column] > value)
            chosen = at_least if inclusive else above
            _explain(context, column, value, inclusive, int(at_least.sum()), int(above.sum()))
        else:
            raise RespfmError(f"{context}: where has {key}, but {column} is text; list the wanted values")
    return frame[chosen]


def _explain(context: str, column: str, value: float, inclusive: bool, at_least: int, above: int) -> None:
    if at_least != above:
        log.info(
            "%s: %s >= %g keeps %d recordings and %s > %g keeps %d (%d have exactly that value); "
            "inclusive: %s takes %d",
            *(context, column, value, at_least, column, value, above, at_least - above),
            *(str(inclusive).lower(), at_least if inclusive else above),
        )
