"""A copy of the repository in which Snakemake is run for real."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SNAKEMAKE = [sys.executable, "-m", "snakemake"]


def job_counts(text: str) -> dict[str, int]:
    """Number of jobs by rule in what a dry run prints."""
    if "Nothing to be done" in text:
        return {}
    table = re.search(r"^job +count\n[- ]+\n((?:\w+ +\d+\n)+)", text, re.MULTILINE)
    counts = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table.group(1), re.MULTILINE)}
    counts.pop("total")
    return counts


def run_snakemake(root: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Snakemake in `root`."""
    return subprocess.run(
        [*SNAKEMAKE, *arguments], cwd=root, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
    )


class Workspace:
    """A copy of all files of the repository that are tracked or new, at `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard", "-z"],
            cwd=REPOSITORY,
            check=True,
            capture_output=True,
            text=True,
        )
        for name in filter(None, listed.stdout.split("\0")):
            if (REPOSITORY / name).is_file():
                target = root / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(REPOSITORY / name, target)

    def snakemake(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
        """Run Snakemake in the copy; with `check` a failure shows what it printed."""
        done = subprocess.run(
            [*SNAKEMAKE, "--cores", "2", *arguments],
            cwd=self.root,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        if check and done.returncode:
            raise AssertionError(f"snakemake {' '.join(arguments)} failed:\n{done.stdout}\n{done.stderr}")
        return done

    def jobs(self, *arguments: str) -> dict[str, int]:
        """Number of jobs that would run, by rule."""
        done = self.snakemake("--dry-run", *arguments)
        return job_counts(done.stdout + done.stderr)

    @contextmanager
    def edited(self, name: str, old: str, new: str) -> Iterator[None]:
        """Replace the first `old` by `new` in a file for the length of the block."""
        path = self.root / name
        text = path.read_text()
        assert old in text, f"{name} no longer has {old!r}"
        path.write_text(text.replace(old, new, 1))
        try:
            yield
        finally:
            path.write_text(text)
