"""The tables and shards between the stages: reading them, the usable rows, the fixed partition into shards."""

from collections.abc import Iterable
from itertools import accumulate
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute
import pyarrow.parquet

from respfm.errors import RespfmError

COLUMNS = ("id", "path", "patient", "sample_rate", "channels", "seconds", "peak", "quarantine")
SPLITS = ("train", "val", "test")
"""Values of a task table's column `split`."""


def read_recordings(path: str | Path) -> pd.DataFrame:
    """Read `recordings/<dataset>.parquet`; RespfmError if it is damaged or another table."""
    try:
        frame = pd.read_parquet(path)
    except Exception as error:
        raise RespfmError(f"{path} cannot be read as Parquet ({error}); delete it and run again") from error
    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing:
        raise RespfmError(f"{path} is no recordings table: it lacks {', '.join(missing)}; delete it and run again")
    return frame


def usable(recordings: pd.DataFrame) -> pd.DataFrame:
    """The rows that are not quarantined, in id order."""
    good = recordings[recordings["quarantine"] == ""]
    return good.sort_values("id", ignore_index=True)


def read_shard(path: str | Path, shard: int, shards: int) -> pd.DataFrame:
    """`id`, `path` of the `shard`-th of `shards` contiguous blocks of the usable recordings, equal in size within one.

    Of a table of millions only the row groups that hold the block are read. Its rows are in id order, as curation
    writes them. Raises RespfmError for a table that is damaged or another one.
    """
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            rows = np.flatnonzero(pyarrow.compute.equal(file.read(["quarantine"])["quarantine"], ""))
            rows = rows[shard * len(rows) // shards : (shard + 1) * len(rows) // shards]
            ends = list(accumulate(file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)))
            groups = np.unique(np.searchsorted(ends, rows, "right"))
            first = ends[groups[0] - 1] if len(groups) and groups[0] else 0
            block = file.read_row_groups(groups.tolist(), ["id", "path"]).take(rows - first)
    except (OSError, KeyError, pyarrow.ArrowException) as error:
        raise RespfmError(f"{path} is no whole recordings table ({error}); delete it and run again") from error
    return block.to_pandas()


def group_shards(paths: Iterable[str | Path]) -> dict[str, list[Path]]:
    """Log-mel shards `<dataset>/<shard>.h5` by data set."""
    groups: dict[str, list[Path]] = {}
    for path in map(Path, paths):
        groups.setdefault(path.parent.name, []).append(path)
    return groups


def read_tasks(paths: Iterable[str | Path]) -> dict[tuple[str, str], pd.DataFrame]:
    """Task tables `<protocol>/<task>.parquet` by (protocol, task)."""
    return {(path.parent.name, path.stem): pd.read_parquet(path) for path in map(Path, paths)}
