"""What grows with the data stays affordable: the plan of the whole DAG, and one shard of a table of millions."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from respfm.config.plan import Plan
from respfm.config.reading import merge, read_yaml
from respfm.config.settings import load_settings
from respfm.errors import RespfmError
from respfm.recordings import read_shard
from workspace import REPOSITORY, SNAKEMAKE, Workspace, job_counts


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("scale"))


PEAK_OF_CHILD = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
print("peak", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""
"""A process of its own, because a child's peak counts the memory of the process that it was forked from."""


def dry_run(workspace: Workspace, *configs: str) -> tuple[dict[str, int], int]:
    """Number of jobs by rule, and the peak of the planner's resident memory in bytes."""
    options = ["--dry-run", "--quiet", "rules", "--cores", "2", "--configfile", *configs]
    command = [sys.executable, "-c", PEAK_OF_CHILD, *SNAKEMAKE, *options]
    done = subprocess.run(command, cwd=workspace.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    return job_counts(done.stdout), 1024 * int(re.search(r"^peak (\d+)$", done.stdout, re.MULTILINE)[1])


@pytest.mark.workflow
@pytest.mark.slow
@pytest.mark.parametrize(("configs", "clips"), [([], 2_005_132), (["tests/helpers/audioset_x10.yaml"], 20_051_320)])
def test_the_whole_paper_is_planned_in_less_than_a_gigabyte(workspace, configs, clips):
    configs = ["config/paper.yaml", *configs]
    config = {}
    for name in configs:
        config = merge(config, read_yaml(REPOSITORY / name))
    plan = Plan(load_settings(config, REPOSITORY))
    jobs, peak = dry_run(workspace, *configs)
    shards = {name: entry["shards"] for name, entry in plan.settings.datasets.items()}
    assert plan.settings.datasets["audioset"]["expected"]["recordings"] == clips
    assert clips / shards["audioset"] < 4100
    assert jobs["cache_logmel"] == sum(shards[name] for name in plan.mixture_datasets)
    assert jobs["pretrain_encoder"] == len(plan.runs) >= 9
    assert jobs["extract_embeddings"] == 2 * len(plan.models) * 5 >= 220
    assert jobs["probe_published"] == jobs["probe_strict"] == len(plan.models) * 7
    assert peak < 1e9


@pytest.mark.workflow
@pytest.mark.slow
def test_the_simulation_runs_every_rule(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    import bench_scale

    bench_scale.copy_workflow(tmp_path)
    row = bench_scale.simulate(tmp_path, cores=8, shards=3, seconds=0.5)
    _, jobs, sleep, ideal, wall, overhead, _, _ = row.split("|")
    assert float(sleep) == 0.5
    assert abs(float(ideal) - (int(jobs) - 1) * 0.5 / 8) < 0.1
    assert 0 < float(ideal) < float(wall)
    assert abs(float(overhead.strip(" %")) - 100 * (1 - float(ideal) / float(wall))) < 2
    ran = {path.stem for path in (tmp_path / "results" / "3-0.5" / "benchmarks").iterdir()}
    rules = {path.stem for path in (REPOSITORY / "workflow" / "scripts").glob("*.py")}
    assert rules - ran == {"retrieve_checkpoint"}
    assert len(list((tmp_path / "results" / "3-0.5" / "logmel").rglob("*.h5"))) == 3


@pytest.fixture
def table(tmp_path) -> Path:
    """1,000 recordings in five row groups, 99 of them quarantined."""
    ids = [f"clip{i:04d}" for i in range(1000)]
    frame = pd.DataFrame({"id": ids, "path": [f"{name}.wav" for name in ids], "patient": "", "quarantine": ""})
    frame.loc[np.random.default_rng(0).permutation(1000)[:99], "quarantine"] = "silent"
    frame.to_parquet(tmp_path / "recordings.parquet", index=False, row_group_size=200)
    return tmp_path / "recordings.parquet"


@pytest.mark.parametrize("shards", [1, 7, 90, 2000])
def test_shards_are_the_usable_recordings_cut_evenly(table, shards):
    blocks = [read_shard(table, shard, shards) for shard in range(shards)]
    frame = pd.read_parquet(table)
    expected = frame.loc[frame["quarantine"] == "", ["id", "path"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(pd.concat(blocks, ignore_index=True).astype(expected.dtypes), expected)
    sizes = {len(block) for block in blocks}
    assert max(sizes) - min(sizes) <= 1


def test_a_shard_reads_no_more_of_the_table_than_its_own_rows(table):
    whole = read_shard(table, 0, 10)
    chunk = pq.ParquetFile(table).metadata.row_group(4).column(0)
    content = bytearray(table.read_bytes())
    start = min(chunk.dictionary_page_offset, chunk.data_page_offset)
    content[start : start + chunk.total_compressed_size] = bytes(chunk.total_compressed_size)
    table.write_bytes(content)
    pd.testing.assert_frame_equal(read_shard(table, 0, 10), whole)
    with pytest.raises(RespfmError, match="no whole recordings table"):
        read_shard(table, 9, 10)


def test_a_table_without_the_columns_is_refused(tmp_path):
    pd.DataFrame({"id": ["a"]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(RespfmError, match=r"other\.parquet is no whole recordings table"):
        read_shard(tmp_path / "other.parquet", 0, 1)
