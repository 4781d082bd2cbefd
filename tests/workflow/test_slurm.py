"""The workflow on a real Slurm of two virtual nodes, and what clusters do to jobs: limits, drains, cancellations."""

import csv
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import ClassVar

import pytest
import slurm_cluster
from slurm_cluster import Cluster, ask, wait_until
from workspace import SNAKEMAKE, Workspace

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

CONFIG = """
protocols: [strict]
tasks: [T10]
models: [hungry, m2d_demo]
figures: {layers: [m2d_demo], embedding_map: ""}
resources: {threads: 1, memory_gb: 2, gpus: 1}
"""
HUNGRY = """
import numpy as np


class Hungry:
    sample_rate = 8000
    layers = ["rms"]
    default_layer = "rms"

    def __init__(self, checkpoint=None):
        self.food = np.ones(2_200_000_000, np.uint8)

    def embed(self, waveforms, lengths=None):
        return {"rms": waveforms.square().mean(dim=1, keepdim=True).sqrt()}
"""
ENCODER = "results/demo/pretraining/demo_as/encoder.safetensors"
OUTPUTS = ("encoder.safetensors", "checkpoint.pth", "history.csv", "curves.pdf", "curves.png")


@pytest.fixture(scope="module")
def slurm() -> Iterator[Cluster]:
    if reason := slurm_cluster.why_not():
        pytest.skip(reason)
    with slurm_cluster.cluster() as cluster:
        yield cluster
        for submission in Submission.started:
            submission.process.kill()


class Submission:
    """A Snakemake with the profile of the project, in the background."""

    started: ClassVar[list["Submission"]] = []

    def __init__(self, workspace: Workspace, *arguments: str) -> None:
        self.log = workspace.root / f"snakemake-{time.monotonic_ns()}.log"
        command = [
            *SNAKEMAKE,
            *("--workflow-profile", "profiles/slurm", "--configfile", "config/config.yaml", "small.yaml"),
            *("--slurm-init-seconds-before-status-checks", "10", "--latency-wait", "5"),
            *arguments,
        ]
        with open(self.log, "w") as stream:
            self.process = subprocess.Popen(
                command, cwd=workspace.root, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
            )
        self.started.append(self)

    def abandon(self) -> None:
        """Kill Snakemake and remove its lock."""
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.log.parent / ".snakemake" / "locks")

    @property
    def said(self) -> str:
        return self.log.read_text()

    def finish(self, status: int = 0) -> str:
        """Wait for the end; what it printed."""
        assert self.process.wait(400) == status, self.said
        return self.said


@pytest.fixture(scope="module")
def workspace(slurm, tmp_path_factory) -> Workspace:
    workspace = Workspace(tmp_path_factory.mktemp("cluster"))
    (workspace.root / "small.yaml").write_text(CONFIG)
    (workspace.root / "hungry.py").write_text(HUNGRY)
    with open(workspace.root / "config" / "models.yaml", "a") as registry:
        registry.write("\nhungry:\n  title: Hungry\n  family: hungry:Hungry\n  weights: none\n")
    return workspace


@pytest.fixture(scope="module")
def demo(slurm, workspace) -> str:
    """What Snakemake says while it runs the whole demo, with a node drained under the pre-training job."""
    submission = Submission(workspace)
    wait_until(lambda: running(slurm, "pretrain_encoder"), 400, "the pre-training job")
    (job,) = running(slurm, "pretrain_encoder")
    slurm.set_node(job["NodeList"], "drain")
    said = submission.finish()
    slurm.resume(job["NodeList"])
    return said


@pytest.fixture(scope="module")
def unbroken(demo, workspace) -> dict[str, bytes]:
    """The files of the pre-training run that nothing interrupted."""
    return outputs(workspace)


@pytest.fixture
def untrained(unbroken, workspace) -> Workspace:
    """The finished demo without its pre-training run."""
    shutil.rmtree((workspace.root / ENCODER).parent)
    return workspace


def outputs(workspace: Workspace) -> dict[str, bytes]:
    return {name: (workspace.root / ENCODER).with_name(name).read_bytes() for name in OUTPUTS}


def running(slurm: Cluster, rule: str) -> list[dict[str, str]]:
    return [job for job in slurm.jobs_of(rule) if job["JobState"] == "RUNNING"]


def started(slurm: Cluster, workspace: Workspace) -> dict[str, str]:
    """The pre-training job, once it trains."""
    wait_until((workspace.root / ENCODER).with_name("timing.csv").exists, 200, "the first step")
    (job,) = running(slurm, "pretrain_encoder")
    return job


def trainer(workspace: Workspace) -> int:
    """The process that trains: a task of a Slurm step."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().split(b"\0")
            parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
            if b"respfm.pretrain" in arguments and Path(f"/proc/{parent}/comm").read_text() == "slurmstepd\n":
                return int(process.name)
        except FileNotFoundError:
            continue
    raise AssertionError("no trainer is a direct task of a Slurm step")


def state(slurm: Cluster, job: dict[str, str]) -> dict[str, str]:
    return next(now for now in slurm.jobs() if now["JobId"] == job["JobId"])


def training_log(workspace: Workspace) -> str:
    return (workspace.root / "results/demo/logs/pretrain_encoder/demo_as.log").read_text()


def test_the_whole_demo_runs_on_the_cluster(demo, workspace):
    results = workspace.root / "results" / "demo"
    assert "synthetic" in (results / "tables" / "table2_strict.md").read_text().lower()
    assert (results / "report.html").stat().st_size > 10_000
    assert workspace.jobs("--configfile", "config/config.yaml", "small.yaml") == {}
    assert list((workspace.root / "logs" / "slurm").glob("rule_extract_embeddings/*/*.log"))


def test_only_the_gpu_stages_are_in_the_gpu_partition(demo, slurm):
    for job in slurm.jobs():
        gpu = job in [*slurm.jobs_of("pretrain_encoder"), *slurm.jobs_of("extract_embeddings")]
        assert job["Partition"] == ("gpu" if gpu else "cpu")
        assert job.get("TresPerNode") == ("gres:gpu:1" if gpu else None)
        assert job["Requeue"] == "1"


def test_downloads_tables_and_figures_run_where_snakemake_runs(demo, slurm):
    submitted = {job["Comment"].partition("_wildcards")[0].removeprefix("rule_") for job in slurm.jobs()}
    assert submitted >= {"curate_recordings", "cache_logmel", "pretrain_encoder", "extract_embeddings", "probe_strict"}
    assert not submitted & {"make_demo_corpus", "retrieve_archive", "build_task", "make_table", "plot_figure"}


def test_a_job_that_lacked_memory_is_tried_with_twice_as_much(demo, slurm):
    first, second = [job for job in slurm.jobs_of("extract_embeddings") if "hungry" in job["Comment"]]
    assert (first["JobState"], second["JobState"]) == ("FAILED", "COMPLETED")
    assert (first["MinMemoryNode"], second["MinMemoryNode"]) == ("2G", "4G")
    assert (first["TimeLimit"], second["TimeLimit"]) == ("04:00:00", "08:00:00")


def test_a_drained_node_finishes_its_job_and_gets_no_other(demo, slurm):
    (drained,) = slurm.jobs_of("pretrain_encoder")
    assert drained["JobState"] == "COMPLETED"
    later = [job for job in slurm.jobs() if job["StartTime"] > drained["EndTime"]]
    assert later
    assert drained["NodeList"] not in {job["NodeList"] for job in later}


@pytest.mark.skipif(not slurm_cluster.TRACKS_BY_CGROUP, reason="no freezer cgroup: signals reach too much")
def test_a_run_that_meets_its_time_limit_is_saved_and_ends_with_the_same_bytes(slurm, untrained, unbroken):
    before = len(slurm.jobs_of("pretrain_encoder"))
    submission = Submission(untrained, ENCODER)
    job = started(slurm, untrained)
    # Slurm looks every 30 s and the run is shorter; its signal wakes what is stopped.
    os.kill(trainer(untrained), signal.SIGSTOP)
    end = datetime.now() + timedelta(seconds=125)
    ask("scontrol", "update", f"jobid={job['JobId']}", f"EndTime={end:%FT%T}")
    wait_until(lambda: state(slurm, job)["Restarts"] == "1", 100, "the job back in the queue")
    ask("scontrol", "update", f"jobid={job['JobId']}", "TimeLimit=60")
    wait_until(lambda: state(slurm, job)["JobState"] == "COMPLETED", 200, "the end")
    submission.abandon()  # it looks every half minute by now
    assert len(slurm.jobs_of("pretrain_encoder")) == before + 1
    assert state(slurm, job)["Restarts"] == "1"
    assert "continuing after step" in training_log(untrained)
    assert outputs(untrained) == unbroken


def test_a_run_whose_node_fails_is_started_again(slurm, untrained, unbroken):
    submission = Submission(untrained, ENCODER)
    job = started(slurm, untrained)
    slurm.set_node(job["NodeList"], "down")
    submission.finish()
    slurm.resume(job["NodeList"])
    assert state(slurm, job)["Restarts"] == "1"
    assert outputs(untrained) == unbroken


def test_a_cancelled_run_is_told_saved_and_continued(slurm, untrained, unbroken):
    submission = Submission(untrained, ENCODER, "--retries", "0")
    job = started(slurm, untrained)
    ask("scancel", job["JobId"])
    message = f"SLURM-job '{job['JobId']}' failed, SLURM status is: 'CANCELLED'"
    wait_until(lambda: message in submission.said, 100, message)
    submission.abandon()
    assert list((untrained.root / ENCODER).parent.glob("checkpoints/*/step*.pt"))
    Submission(untrained, ENCODER).finish()
    assert "continuing after step" in training_log(untrained)
    assert outputs(untrained) == unbroken


def test_a_killed_snakemake_loses_nothing(slurm, untrained, unbroken):
    submission = Submission(untrained, ENCODER)
    job = started(slurm, untrained)
    ask("scontrol", "suspend", job["JobId"])  # it must not be over before it is in the way
    submission.process.kill()
    submission.process.wait()
    Submission(untrained, "--unlock").finish()
    refused = Submission(untrained, ENCODER).finish(1)
    assert f"scancel {job['JobId']}" in refused
    ask("scontrol", "resume", job["JobId"])
    wait_until(lambda: state(slurm, job)["JobState"] == "COMPLETED", 200, "the job that was left alone")
    assert "Nothing to be done" in Submission(untrained, ENCODER).finish()
    assert outputs(untrained) == unbroken


def test_two_nodes_follow_the_loss_curve_of_one(slurm, untrained, unbroken):
    lines = "    # nodes: 2\n    # tasks: 2\n    # tasks_per_gpu: 0\n    # mpi: srun\n"
    with untrained.edited("profiles/slurm/config.yaml", lines, lines.replace("# ", "")):
        Submission(untrained, ENCODER).finish()
    job = slurm.jobs_of("pretrain_encoder")[-1]
    assert (job["NumNodes"], job["TresPerNode"]) == ("2", "gres:gpu:1")
    assert "on 2 x cpu" in training_log(untrained)
    two, one = history(outputs(untrained)["history.csv"]), history(unbroken["history.csv"])
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-3)


def history(text: bytes) -> dict[str, list[float]]:
    rows = list(csv.DictReader(text.decode().splitlines()))
    return {name: [float(row[name]) for row in rows] for name in rows[0]}


def test_the_profile_for_other_schedulers(slurm, demo, workspace):
    text = (workspace.root / "docs" / "clusters.md").read_text()
    profile = workspace.root / "profiles" / "other" / "config.yaml"
    profile.parent.mkdir()
    profile.write_text(text.partition("```yaml\n")[2].partition("```")[0])
    mixture = workspace.root / "results/demo/mixtures/demo_as.parquet"
    before = mixture.read_bytes()
    mixture.unlink()
    config = ("--configfile", "config/config.yaml", "small.yaml")
    workspace.snakemake("--workflow-profile", "profiles/other", *config, "--", str(mixture.relative_to(workspace.root)))
    assert mixture.read_bytes() == before
    assert slurm.jobs()[-1]["MinMemoryNode"] == "2G"
