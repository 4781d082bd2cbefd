"""Run all benchmarks and write their rows, the machine and the versions into docs/benchmarks.md.

    python benchmarks/run.py [bench_store ...]

Sizes are chosen so that all together take less than 15 minutes on two cores. Of the page only what is between the two
marks is replaced, and only if all were run.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs" / "benchmarks.md"
BEGIN, END = "<!-- written by make bench -->\n", "<!-- end of what make bench writes -->\n"
REAL = Path(os.environ.get("RESPFM_SHARED_DATA", REPOSITORY.parent / "shared" / "data")) / "real-sample"
SIZES = {
    "bench_decode": ["--rounds", "1", "--real", str(REAL)],
    "bench_logmel": ["--repeats", "2", *(["--real", str(REAL)] if REAL.is_dir() else [])],
    "bench_m2d_layers": ["--clips", "8", "--rounds", "1"],
    "bench_pretrain": ["--steps", "5"],
    "bench_probe": ["--tasks", "T9", "T10"],
    "bench_scale": ["--shards", "50", "--seconds", "0"],
}
NEEDS_REAL = {"bench_decode"}
VERSIONS = ("torch", "numpy", "h5py", "soundfile", "snakemake")


def run(name: str, log: Path) -> list[dict]:
    """Rows that the script `name` reports; its own output is shown."""
    start, before = time.perf_counter(), len(read_rows(log))
    print(f"== {name}", flush=True)
    subprocess.run(
        [sys.executable, str(REPOSITORY / "benchmarks" / f"{name}.py"), *SIZES.get(name, [])],
        check=True,
        cwd=REPOSITORY,
        env={**os.environ, "RESPFM_BENCH_LOG": str(log)},
    )
    print(f"== {name}: {time.perf_counter() - start:.0f} s\n", flush=True)
    return [{**row, "script": name} for row in read_rows(log)[before:]]


def read_rows(log: Path) -> list[dict]:
    """All rows so far."""
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.is_file() else []


def machine() -> str:
    """Processor, cores, memory and GPU in one line."""
    cpuinfo = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.+)", cpuinfo.read_text()) if cpuinfo.is_file() else None
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GB, {gpu}"


def render(rows: list[dict], seconds: float, load: float) -> str:
    """The measured part of the page."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in VERSIONS)
    lines = [
        f"Measured on {datetime.date.today()} in {seconds / 60:.0f} minutes on {machine()}; load before: {load:.1f}.",
        f"Python {platform.python_version()}, {versions}.",
        "",
        "| what | respfm | beside it, in the same run | ratio | script |",
        "|---|---|---|---|---|",
    ]
    lines += ["| {name} | {measured} | {baseline} | {ratio:.3g} | `{script}` |".format(**row) for row in rows]
    return "\n".join(lines) + "\n"


def write_page(page: Path, measured: str) -> None:
    """Replace what is between the marks."""
    head, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, mark, tail = rest.partition(END)
    if not mark:
        raise SystemExit(f"{page} has lost the lines {BEGIN.strip()} and {END.strip()}; put them back")
    page.write_text(f"{head}{BEGIN}\n{measured}\n{END}{tail}", encoding="utf-8")


def main() -> None:
    """Run what was asked for; write the page if that is everything."""
    names = sorted(path.stem for path in (REPOSITORY / "benchmarks").glob("bench_*.py"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help=f"one of {', '.join(names)}; default: all")
    chosen = parser.parse_args().names or names
    if unknown := set(chosen) - set(names):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; choose from {', '.join(names)}")
    load, start, rows = os.getloadavg()[0], time.perf_counter(), []
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen:
            if name in NEEDS_REAL and not REAL.is_dir():
                print(f"== {name} left out: {REAL} is not here\n")
                continue
            rows += run(name, Path(folder) / "rows.jsonl")
    if chosen == names:
        write_page(PAGE, render(rows, time.perf_counter() - start, load))
        print(f"written: {PAGE}")


if __name__ == "__main__":
    main()
