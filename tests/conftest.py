"""Fixtures shared by the whole suite."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items):
    """Files that run Snakemake come first, so that no process is left with a long one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("workflow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Directory of the real recordings and metadata (RESPFM_SHARED_DATA, else ../shared/data beside the clone)."""
    path = Path(os.environ.get("RESPFM_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (path / "MANIFEST.csv").is_file():
        pytest.skip(f"real recordings are not here: {path} has no MANIFEST.csv (set RESPFM_SHARED_DATA)")
    return path
