"""Getting data sets and checkpoints: mirrors, downloads, verification, unpacking.

Importing this package is cheap, because the Snakefile does it; `fetch_dataset` brings the network libraries.
"""

import json
from pathlib import Path
from typing import Any

from respfm.errors import RespfmError

__all__ = ["fetch_dataset", "raw_root", "weights_path"]

_WEIGHTS = (".pth", ".pt", ".ckpt", ".bin", ".safetensors")


def __getattr__(name: str) -> Any:
    if name == "fetch_dataset":
        from respfm.retrieve.dataset import fetch_dataset

        return fetch_dataset
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def raw_root(sources: Path) -> Path:
    """The directory that holds a data set's files, from its `.sources.json`."""
    sources = Path(sources)
    return sources.parent / json.loads(sources.read_text(encoding="utf-8"))["root"]


def weights_path(sources: Path) -> Path:
    """The weights of a fetched checkpoint, from its `.sources.json`: its one file with a usual suffix.

    Raises:
        RespfmError: there is none, or more than one.
    """
    root = raw_root(sources)
    found = sorted(path for path in root.rglob("*") if path.suffix in _WEIGHTS)
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise RespfmError(f"{root} must hold one file of weights ({', '.join(_WEIGHTS)}) but holds {names}.")
    return found[0]
