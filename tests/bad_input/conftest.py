"""A file that shows whether foreign code ran."""

from pathlib import Path

import pytest


@pytest.fixture
def marker(tmp_path, monkeypatch) -> Path:
    """A file in the working directory that only attacks make."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    path = tmp_path / "here" / "PWNED"
    yield path
    assert not path.exists()
