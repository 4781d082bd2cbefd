"""Getting the data sets: mirrors, downloads, verification, unpacking."""

import json
from pathlib import Path

from respfm.retrieve.dataset import fetch_dataset

__all__ = ["fetch_dataset", "raw_root"]


def raw_root(sources: Path) -> Path:
    """The directory that holds a data set's files, from its `.sources.json`."""
    sources = Path(sources)
    return sources.parent / json.loads(sources.read_text(encoding="utf-8"))["root"]
