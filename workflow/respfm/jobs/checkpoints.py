"""States of unfinished work on disk: whole or absent, verified when read, the previous one always kept."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import torch

from respfm.files import file_digest

KEEP = 2
NAME = re.compile(r"step(\d{9})-([0-9a-f]{16})\.pt")


class StateDirectory:
    """States of one run or job in `directory`, named by step and content (`step000000120-<sha256>.pt`).

    The digest in the name is checked when a state is read, so a truncated or damaged one is passed over.
    """

    def __init__(self, directory: Path):
        self.directory = Path(directory)

    def _files(self) -> list[Path]:
        """Newest first."""
        return sorted((p for p in self.directory.glob("step*.pt") if NAME.fullmatch(p.name)), reverse=True)

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Write the state after `step` steps, then remove all but the newest two.

        If the disk is full, OSError or RuntimeError is raised and the older states are as before.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        partial = self.directory / "partial"
        try:
            with open(partial, "wb") as stream:
                torch.save(state, stream)
                stream.flush()
                os.fsync(stream.fileno())
            path = self.directory / f"step{step:09d}-{file_digest(partial)[:16]}.pt"
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        for old in self._files()[KEEP:]:
            old.unlink()
        return path

    def load(self, device: torch.device) -> tuple[dict[str, Any] | None, list[str]]:
        """The newest good state (None if there is none), and a sentence about each damaged one."""
        complaints: list[str] = []
        for path in self._files():
            if (name := NAME.fullmatch(path.name)) and file_digest(path).startswith(name[2]):
                return torch.load(path, map_location=device, weights_only=True), complaints
            complaints.append(f"{path} is damaged (its content does not match its name) and was passed over.")
        return None, complaints

    def clear(self) -> None:
        """Remove all states."""
        shutil.rmtree(self.directory, ignore_errors=True)
