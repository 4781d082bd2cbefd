"""The tables and shards between the stages: reading them, the usable rows, the fixed partition into shards."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from respfm.errors import RespfmError

COLUMNS = ("id", "path", "patient", "sample_rate", "channels", "seconds", "peak", "quarantine")


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


def shard_of(recordings: pd.DataFrame, shard: int, shards: int) -> pd.DataFrame:
    """The `shard`-th of `shards` contiguous blocks of the usable recordings, equal in size within one."""
    rows = usable(recordings)
    count = len(rows)
    return rows.iloc[shard * count // shards : (shard + 1) * count // shards]


def group_shards(paths: Iterable[str | Path]) -> dict[str, list[Path]]:
    """Log-mel shards `<dataset>/<shard>.h5` by data set."""
    groups: dict[str, list[Path]] = {}
    for path in map(Path, paths):
        groups.setdefault(path.parent.name, []).append(path)
    return groups


def read_tasks(paths: Iterable[str | Path]) -> dict[tuple[str, str], pd.DataFrame]:
    """Task tables `<protocol>/<task>.parquet` by (protocol, task)."""
    return {(path.parent.name, path.stem): pd.read_parquet(path) for path in map(Path, paths)}
