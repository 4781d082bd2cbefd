"""A real browser without a window, and a text that would show if it ran in one."""

import shutil
import subprocess
from pathlib import Path

import pytest

EVIL = "<script>document.title='broken'</script>"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def browse(page: Path, tmp_path: Path, *options: str) -> subprocess.CompletedProcess:
    if BROWSER is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    return subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
         f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", *options, page.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
