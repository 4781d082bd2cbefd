"""Where a report's numbers come from: code, libraries, machine, and what every rule cost."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

import pandas as pd

LIBRARIES = ("respfm", "snakemake", "torch", "torchaudio", "transformers", "timm", "numpy", "scipy",
             "scikit-learn", "pandas", "h5py", "matplotlib")  # fmt: skip


def git_commit(repository: Path) -> str:
    """Commit of the working tree, with "+ uncommitted changes" if there are any; "unknown" outside a clone."""
    commit = _git(repository, "rev-parse", "HEAD")
    if commit is None:
        return "unknown (not a git clone)"
    return commit + (" + uncommitted changes" if _git(repository, "status", "--porcelain") else "")


def _git(repository: Path, *arguments: str) -> str | None:
    try:
        result = subprocess.run(["git", "-C", str(repository), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()


def library_versions() -> dict[str, str]:
    """Installed versions of the libraries that matter to the numbers."""
    versions = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            versions[library] = "not installed"
    return versions


def hardware() -> dict[str, str]:
    """Processor, usable cores, memory, graphics cards and system of the machine that writes the report."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cards = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    models = [line.split(":", 1)[1].strip() for card in cards for line in card.read_text().splitlines()
              if line.startswith("Model")]  # fmt: skip
    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "graphics": ", ".join(models) or "none",
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def rule_costs(benchmarks: Path) -> pd.DataFrame:
    """rule, jobs, seconds (all jobs), longest (s), peak_mb (largest job), from Snakemake's benchmark files.

    Files are `<rule>.tsv` or lie anywhere under `<rule>/`. What Snakemake could not measure ("-", "NA") stays empty.
    """
    rows = []
    for path in sorted(benchmarks.rglob("*.tsv")):
        place = path.relative_to(benchmarks)
        measured = pd.read_csv(path, sep="\t", na_values=["-", "NA"])
        rows.append({"rule": place.parts[0].removesuffix(".tsv"), "seconds": measured["s"].max(),
                     "peak_mb": pd.to_numeric(measured["max_rss"]).max()})  # fmt: skip
    frame = pd.DataFrame(rows, columns=["rule", "seconds", "peak_mb"])
    return frame.groupby("rule", as_index=False, sort=True).agg(
        jobs=("seconds", "size"),
        seconds=("seconds", "sum"),
        longest=("seconds", "max"),
        peak_mb=("peak_mb", "max"),
    )
