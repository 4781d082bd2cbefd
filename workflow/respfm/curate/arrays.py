"""OPERA's label and split arrays (evelyn0414/OPERA, pinned commit): the definition of the published tasks."""

from pathlib import Path

import numpy as np
import pandas as pd

from respfm.curate.metadata import stem
from respfm.errors import RespfmError


def load_arrays(opera_root: Path, names: dict[str, str]) -> pd.DataFrame:
    """Table of text: one column per entry of `names` (column -> path in OPERA's repository)."""
    columns = {column: _load_array(opera_root / name) for column, name in names.items()}
    lengths = {names[column]: len(array) for column, array in columns.items()}
    if len(set(lengths.values())) > 1:
        lines = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise RespfmError(f"{opera_root}: arrays of one task differ in length ({lines}); retrieve opera again")
    return pd.DataFrame({column: pd.Series(array.astype(str), dtype=str) for column, array in columns.items()})


def _load_array(path: Path) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise RespfmError(f"{path} does not exist; retrieve opera again") from error
    except Exception as error:  # a damaged header makes NumPy raise errors of many kinds
        raise RespfmError(f"{path} is not a NumPy array file ({error}); retrieve opera again") from error
    if not isinstance(array, np.ndarray) or array.ndim != 1:
        raise RespfmError(f"{path} is not a one-dimensional array; retrieve opera again")
    return array


def match_recordings(files: pd.Series, recordings: pd.Series, dataset: str) -> list[str | None]:
    """Id of the recording behind each of OPERA's file names, None where it is not among `recordings`.

    Files are matched by their stem, Coswara's by `<date>/<user>/<sound>`. COUGHVID's conversion cut the last
    character of the uuid of every ogg file, so there the first 35 characters find the recording too (no two
    share them).
    """
    by_name = {identifier: identifier for identifier in recordings}
    if dataset == "coughvid":
        for identifier in recordings:
            by_name.setdefault(identifier[:35], identifier)
    depth = 3 if dataset == "coswara" else 1
    return [by_name.get("/".join([*file.split("/")[-depth:-1], stem(file)])) for file in files]
