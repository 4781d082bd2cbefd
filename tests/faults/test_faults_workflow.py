"""Kills at random moments, skewed clocks, damage, failures and rivals, with the real workflow on a small corpus."""

import copy
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml
from workspace import SNAKEMAKE, Workspace

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

SMALL = {
    "results": "results/small",
    "demo_corpus": {"scale": 0.3},
    "tasks": ["T11"],
    "models": ["logmel_stats", "m2d_demo"],
    "figures": {"layers": ["m2d_demo"], "embedding_map": "logmel_stats"},
    "probe": {"runs": 2, "epochs": 4},
}
CONFIGURED = ("--configfile", "config/config.yaml", "small.yaml")
ENCODER = "pretraining/demo_as/encoder.safetensors"
FIGURE = "figures/layers_m2d_demo.svg"
# What tells of a run itself: when, and for how long.
TELLING = re.compile(r"^(logs|benchmarks)/|/timing\.csv$|\.sources\.json|report\.html")


class SmallDemo(Workspace):
    """The demo cut down to one task, two models and one short pre-training run."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        (root / "small.yaml").write_text(yaml.safe_dump(SMALL))
        self.results = root / SMALL["results"]

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
        return self.snakemake(*CONFIGURED, *arguments, check=check)

    def target(self, name: str) -> tuple[str, str]:
        return "--", f"{SMALL['results']}/{name}"

    def failure(self, *arguments: str) -> str:
        """What a run that fails prints."""
        done = self.run(*arguments, check=False)
        assert done.returncode, done.stdout + done.stderr
        return done.stdout + done.stderr

    def pending(self, *arguments: str) -> dict[str, int]:
        return self.jobs(*CONFIGURED, *arguments)

    def digests(self) -> dict[str, str]:
        """SHA-256 of every result that tells nothing of the run."""
        files = {str(path.relative_to(self.results)): path for path in self.results.rglob("*") if path.is_file()}
        return {
            name: hashlib.sha256(path.read_bytes()).hexdigest()
            for name, path in sorted(files.items())
            if not TELLING.search(name)
        }

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start Snakemake in a session of its own."""
        return subprocess.Popen(
            [*SNAKEMAKE, "--cores", "2", *CONFIGURED, *arguments],
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=(self.root / "printed").open("w"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> SmallDemo:
    """An undisturbed run."""
    demo = SmallDemo(tmp_path_factory.mktemp("undisturbed"))
    demo.run()
    return demo


# Kills


def session_of(leader: int) -> dict[int, str]:
    """Process ids of a session with the rule whose job each of them works for ("" for Snakemake itself)."""
    members = {}
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and os.getsid(int(folder.name)) == leader:
                command = (folder / "cmdline").read_bytes().decode()
                script = re.search(r"scripts/tmp\w+\.(\w+)\.py", command)
                members[int(folder.name)] = script[1] if script and "python" in command.split("\0")[0] else ""
        except OSError:
            continue
    return members


def kill(processes: Iterable[int]) -> None:
    for process in processes:
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            continue


class Killer:
    """Runs Snakemake and kills jobs, each at a random moment of the time that its rule takes; then everything.

    The moments are uniform on a logarithmic scale, so that most also hit when the machine is quicker than it was.
    """

    def __init__(self, demo: SmallDemo, seconds: dict[str, float], seed: int) -> None:
        self.demo, self.seconds, self.random = demo, seconds, random.Random(seed)
        self.kills: Counter[str] = Counter()

    def run_until(self, last: str | None, jobs_per_rule: int) -> bool:
        """Let Snakemake run, killing up to `jobs_per_rule` jobs of each rule, until a job of the rule `last` is under
        way or just over; then kill the whole session. False if Snakemake ended before.
        """
        snakemake = self.demo.start("--retries", "3")
        due: dict[int, float] = {}
        awaited: set[int] = set()
        while snakemake.poll() is None:
            now = time.monotonic()
            members = session_of(snakemake.pid)
            for process, rule in members.items():
                if rule in AIMED_AT and process not in due:
                    due[process] = now + 0.05 * (self.seconds[rule] / 0.05) ** self.random.random()
            awaited |= {process for process, rule in members.items() if rule == last}
            if any(process not in members or now > due[process] for process in awaited):
                kill(list(members))
                snakemake.wait()
                self.kills[last] += 1
                return True
            for process, rule in members.items():
                if rule in AIMED_AT and now > due[process] and self.kills[rule] < jobs_per_rule:
                    kill([other for other, its in members.items() if its == rule])
                    self.kills[rule] += 1
            time.sleep(0.01)
        return False


def rule_seconds(demo: SmallDemo) -> dict[str, float]:
    """Seconds that the quickest job of each rule took."""
    seconds: dict[str, float] = {}
    for path in (demo.results / "benchmarks").rglob("*.tsv"):
        rule = path.relative_to(demo.results / "benchmarks").parts[0].removesuffix(".tsv")
        taken = float(path.read_text().splitlines()[1].split("\t")[0])
        seconds[rule] = min(taken, seconds.get(rule, taken))
    return seconds


STAGES = {
    "retrieve": {"make_demo_corpus", "retrieve_archive"},
    "curate": {"curate_recordings", "build_task", "build_mixture"},
    "logmel": {"cache_logmel", "compute_statistics"},
    "pretrain": {"pretrain_encoder"},
    "embed": {"extract_embeddings"},
    "probe": {"probe_published", "probe_strict"},
    "report": {"make_table", "compare_models", "plot_figure", "write_report"},
}
AIMED_AT = {rule for rules in STAGES.values() for rule in rules}
TREES = ("curate_recordings", "cache_logmel", "pretrain_encoder", "extract_embeddings", "probe_published", "make_table")


def test_kills_at_random_moments_of_every_stage_leave_no_trace(finished, tmp_path):
    demo = SmallDemo(tmp_path / "killed")
    killer, trees = Killer(demo, rule_seconds(finished), seed=0), 0
    for rule in TREES:
        if killer.run_until(rule, jobs_per_rule=3):
            trees += 1
            if trees == 1:
                assert "It can be removed with the --unlock argument" in demo.failure()
            demo.run("--unlock")
    killer.run_until(None, jobs_per_rule=3)
    demo.run()
    assert trees >= 4
    for stage, rules in STAGES.items():
        assert any(killer.kills[rule] for rule in rules), f"no kill hit {stage}"
    assert killer.kills.total() >= 30
    assert demo.digests() == finished.digests()
    assert demo.pending() == {}


SLOW = """
import time


class Slow:
    sample_rate, layers, default_layer = 16000, ["rms"], "rms"

    def __init__(self, checkpoint=None):
        pass

    def embed(self, waveforms, lengths=None):
        time.sleep(0.3)
        return {"rms": waveforms.square().mean(dim=1, keepdim=True).sqrt()}
"""


def test_a_killed_embedding_job_continues_where_it_was(finished, tmp_path):
    """Killed with Snakemake, as by a power cut."""
    demo = copy.copy(finished)
    demo.root, demo.results = tmp_path / "copy", tmp_path / "copy" / SMALL["results"]
    shutil.copytree(finished.root, demo.root)
    (demo.root / "slow_encoder.py").write_text(SLOW)
    entry = {"title": "Slow", "family": "slow_encoder:Slow", "weights": "none", "sample_rate": 16000}
    slow = {"add": {"models": {"slow": entry}}, "models": [*SMALL["models"], "slow"], "embed": {"batch_size": 2}}
    (demo.root / "slow.yaml").write_text(yaml.safe_dump(slow))
    name = "embeddings/strict/slow/respiratory_tr.h5"
    out, checkpoints = demo.results / name, demo.results / "embeddings" / "strict" / "slow" / "checkpoints"
    target = ("--configfile", "config/config.yaml", "small.yaml", "slow.yaml", *demo.target(name))
    with demo.edited("workflow/respfm/embed/dataset.py", "SAVE_EVERY_MINUTES = 5.0", "SAVE_EVERY_MINUTES = 0"):
        demo.snakemake(*target)
        unbroken = out.read_bytes()
        assert not list(checkpoints.glob("*"))
        out.unlink()
        snakemake = demo.start(*target)
        while not list(checkpoints.glob("*/*/step000000003-*.pt")):
            assert snakemake.poll() is None, (demo.root / "printed").read_text()
            time.sleep(0.01)
        kill(session_of(snakemake.pid))
        snakemake.wait()
        demo.snakemake("--unlock", *target)
        done = demo.snakemake(*target)
    assert re.search(r"continuing after batch [34]\b", done.stdout + done.stderr)
    assert out.read_bytes() == unbroken
    assert not list(checkpoints.glob("*"))


# Clocks and rivals


def test_skewed_clocks_and_touched_files_recompute_nothing(finished):
    chance, before = random.Random(0), finished.digests()
    for path in sorted(finished.root.rglob("*")):
        if path.is_file() and ".snakemake" not in path.parts:
            moment = time.time() + chance.choice([-1, 1]) * chance.uniform(0, 1e7)
            os.utime(path, (moment, moment))
    assert finished.pending() == {}
    table = finished.results / "tables" / "table1.csv"
    table.unlink()
    tomorrow = time.time() + 86_400
    os.utime(finished.results / "audit" / "metadata_baselines.csv", (tomorrow, tomorrow))
    finished.run()
    assert finished.digests() == before
    assert finished.pending() == {}


def test_a_second_snakemake_in_the_same_directory_is_refused(finished):
    before = finished.digests()
    for path in finished.results.glob("tables/table[12].*"):
        path.unlink()
    first = finished.start()
    while first.poll() is None and not list(finished.root.glob(".snakemake/locks/*.output.lock")):
        time.sleep(0.01)
    os.killpg(first.pid, signal.SIGSTOP)
    text = finished.failure()
    os.killpg(first.pid, signal.SIGCONT)
    assert "Directory cannot be locked" in text
    assert "--unlock" in text
    assert "Traceback" not in text
    assert first.wait() == 0
    assert finished.digests() == before
    assert finished.pending() == {}


# Disks


def mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs the right to mount: {done.stderr.strip()}")


def test_a_full_disk_while_publishing(finished):
    tables = finished.results / "tables"
    expected = {path.name: path.read_bytes() for path in tables.glob("table1.*")}
    mount("-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tables))
    try:
        (tables / "filler").write_bytes(bytes(60_000))
        text = finished.failure(*finished.target("tables/table1.csv"))
        assert re.search(r"respfm: .*tables/table1\.\w+ cannot be written: the disk is full; free some space", text)
        assert [path.name for path in tables.iterdir()] == ["filler"]
        (tables / "filler").unlink()
        finished.run(*finished.target("tables/table1.csv"))
        assert {path.name: path.read_bytes() for path in tables.glob("table1.*")} == expected
    finally:
        subprocess.run(["umount", "--lazy", str(tables)], check=True)
    assert finished.pending() == {}


def test_read_only_results(finished):
    results = str(finished.results)
    mount("--bind", results, results)
    mount("-o", "remount,ro,bind", results)
    before = finished.digests()
    try:
        assert finished.pending() == {}
        with finished.edited("workflow/respfm/report/figures/layers.py", "\nimport ", "\nEXTRA = 1\nimport "):
            text = finished.failure(*finished.target(FIGURE))
        assert "Write-protected output files for rule plot_figure" in text
        assert "Traceback" not in text
    finally:
        subprocess.run(["umount", "--lazy", results], check=True)
    assert finished.digests() == before
    assert finished.pending() == {}


# Failures and damage


def doctor(demo: SmallDemo) -> str:
    """What `respfm doctor` prints about the workspace."""
    command = [
        sys.executable,
        "-c",
        "from respfm.cli.main import main; raise SystemExit(main())",
        "doctor",
        *CONFIGURED,
    ]
    environment = {**os.environ, "PYTHONPATH": str(demo.root / "workflow")}
    done = subprocess.run(command, cwd=demo.root, env=environment, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    return done.stdout


def test_neither_a_failure_nor_damage_upstream_ever_reaches_a_figure(finished):
    before, encoder = finished.digests(), finished.results / ENCODER
    seed = ("config/pretraining.yaml", "    mixture: demo_as\n", "    mixture: demo_as\n    seed: 1\n")
    crash = ("workflow/respfm/pretrain/trainer.py", "        export_encoder(", "        1 / 0\n        export_encoder(")
    for careless in ([], ["--keep-incomplete"]):
        with finished.edited(*seed):
            with finished.edited(*crash):
                assert "ZeroDivisionError" in finished.failure(*careless)
            assert not encoder.exists()
            jobs = finished.pending()
            assert {"pretrain_encoder", "extract_embeddings", "make_table", "plot_figure", "write_report"} <= set(jobs)
    assert "pretrain_encoder" in finished.pending()
    assert re.search(r"! \d+ results are out of date .*; run snakemake to make them again", doctor(finished))

    shard, mixture = "logmel/esc10/000.h5", "mixtures/demo_as.parquet"
    embeddings, scores = "embeddings/published/m2d_demo/respiratory_tr.h5", "scores/published/m2d_demo/T11.csv"
    for damages, reader in (
        ({shard: flip, mixture: truncate}, ENCODER),
        ({ENCODER: flip}, embeddings),
        ({embeddings: truncate}, scores),
    ):
        finished.run(*finished.target(next(iter(damages))))
        whole = {name: (finished.results / name).read_bytes() for name in damages}
        for name, damage in damages.items():
            damage(finished.results / name)
        text = finished.failure(*finished.target(reader))
        for name in damages:
            assert f"{name} is damaged: its sha256 is not the one that was noted when it was written. Delete it" in text
        assert "Traceback" not in text
        assert not (finished.results / reader).exists()
        for name, content in whole.items():
            (finished.results / name).write_bytes(content)
    finished.run()
    assert finished.digests() == before


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 16
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])
