"""Getting data sets and checkpoints: mirrors, downloads, verification, unpacking.

Importing this package is cheap, because the Snakefile does it; `fetch_dataset` brings the network libraries.
"""

from typing import Any

from respfm.sources import raw_root

__all__ = ["fetch_dataset", "raw_root"]


def __getattr__(name: str) -> Any:
    if name == "fetch_dataset":
        from respfm.retrieve.dataset import fetch_dataset

        return fetch_dataset
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
