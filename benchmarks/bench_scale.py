"""What planning and scheduling cost: wall time against the number of jobs, with sleeping stand-ins for the scripts.

    python benchmarks/bench_scale.py [--cores 16] [--shards 50 250 450] [--seconds 0 1]

The Snakefile, the rules and the library run as they are (benchmarks/scale.yaml), in a copy whose workflow/scripts are
replaced: each sleeps for so many seconds and touches its outputs. The number of jobs grows with the shards of one data
set. Overhead is the share of wall time that perfect use of the cores would not need. `--cores` may exceed the
machine's, since sleep needs none; what a job costs beside its sleep does.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PARTS = ("Snakefile", "config", "envs", "profiles", "resources", "rules", "workflow")
SIMULATED = "benchmarks/scale.yaml"
TENFOLD = "tests/helpers/audioset_x10.yaml"
STAND_IN = """import time
from pathlib import Path

time.sleep({seconds})
for path in snakemake.output:
    Path(path).touch()
"""


def copy_workflow(root: Path) -> None:
    """The workflow, without what it makes."""
    for name in (*PARTS, SIMULATED, TENFOLD):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy2
        copy(REPOSITORY / name, root / name)


def snakemake(root: Path, *arguments: str) -> tuple[str, float, float, float]:
    """What a run prints, its wall time and CPU time with that of its jobs (s), and Snakemake's peak memory (MB)."""
    command = [sys.executable, "-m", "snakemake", "--quiet", "rules", *arguments]
    start = time.perf_counter()
    with open(root / "output.txt", "w+") as output:
        process = subprocess.Popen(command, cwd=root, stdout=output, stderr=subprocess.STDOUT)
        _, process.returncode, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        output.seek(0)
        text = output.read()
    if process.returncode:
        raise SystemExit(text)
    return text, wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def plan(root: Path, *configs: str) -> str:
    """A row of the first table: a dry run."""
    text, wall, cpu, megabytes = snakemake(root, "--dry-run", "--cores", "2", "--configfile", *configs)
    jobs = re.search(r"^total +(\d+)$", text, re.MULTILINE)[1]
    return f"| {' + '.join(Path(name).stem for name in configs)} | {jobs} | {wall:.1f} | {cpu:.1f} | {megabytes:.0f} |"


def simulate(root: Path, cores: int, shards: int, seconds: float) -> str:
    """A row of the second table: a whole run of stand-ins."""
    for script in (root / "workflow" / "scripts").glob("*.py"):
        script.write_text(STAND_IN.format(seconds=seconds))
    change = {"change": {"datasets": {"esc10": {"shards": shards}}}, "results": f"results/{shards}-{seconds:g}"}
    (root / "change.yaml").write_text(str(change))
    configs = ("config/config.yaml", SIMULATED, "change.yaml")
    text, wall, cpu, _ = snakemake(root, "--cores", str(cores), "--configfile", *configs)
    jobs = int(re.search(r"(\d+) of \d+ steps \(100%\) done", text)[1])
    # Only the job of `all` has no script.
    work = seconds * (jobs - 1)
    return (
        f"| {jobs} | {seconds:g} | {work / cores:.1f} | {wall:.1f} | {100 * (1 - work / cores / wall):.0f} % | "
        f"{1000 * cpu / jobs:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cores", type=int, default=16)
    parser.add_argument("--shards", type=int, nargs="+", default=[50, 250, 450])
    parser.add_argument("--seconds", type=float, nargs="+", default=[0, 1])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        copy_workflow(root)
        print("| plan of | jobs | wall (s) | CPU (s) | memory (MB) |\n|---|---|---|---|---|")
        for configs in (["config/config.yaml"], ["config/paper.yaml"], ["config/paper.yaml", TENFOLD]):
            print(plan(root, *configs), flush=True)
        print(
            f"\n{arguments.cores} jobs at a time on a machine of {os.cpu_count()} cores:\n\n"
            "| jobs | sleep of each (s) | sleep / cores (s) | wall (s) | overhead | CPU of a job (ms) |\n"
            "|---|---|---|---|---|---|"
        )
        for seconds in arguments.seconds:
            for shards in arguments.shards:
                print(simulate(root, arguments.cores, shards, seconds), flush=True)


if __name__ == "__main__":
    main()
