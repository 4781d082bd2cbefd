"""Another workflow, in a folder of its own, takes respfm in as a module, as docs/environments.md shows."""

import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import yaml
from workspace import REPOSITORY, SNAKEMAKE

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

PAGE = REPOSITORY / "docs" / "environments.md"


def snakemake(folder: Path, *arguments: str) -> str:
    """What Snakemake prints in `folder`; a failure shows it."""
    profile = ["--workflow-profile", str(REPOSITORY / "profiles" / "default")]
    command = [*SNAKEMAKE, "--cores", "2", *profile, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def counts(text: str) -> dict[str, int]:
    """Jobs by rule in what a dry run prints."""
    table = text.partition("job ")[2].partition("\n\n")[0].splitlines()[2:]
    return {name: int(count) for name, count in map(str.split, table)}


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    config = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text())
    (folder / "study.yaml").write_text(yaml.safe_dump({"respfm": {**config, "results": "results/study"}}))
    example = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
    assert "/path/to/respfm/" in example
    (folder / "Snakefile").write_text(example.replace("/path/to/respfm/", f"{REPOSITORY}/"))
    return folder


def test_all_of_it_is_planned_from_elsewhere(study):
    jobs = counts(snakemake(study, "--dry-run", "--quiet", "reason", "--", "respfm_all"))
    assert jobs["respfm_extract_embeddings"] > 40
    assert jobs["respfm_write_report"] == 1
    assert jobs["total"] > 150


def test_its_files_are_made_for_a_rule_of_the_other_workflow(study):
    snakemake(study)
    table = study / "results" / "study" / "recordings" / "kauh.parquet"
    assert int((study / "count.txt").read_text()) == table.stat().st_size
    assert len(pd.read_parquet(table)) == 72
    assert {path.name for path in study.iterdir()} == {".snakemake", "Snakefile", "count.txt", "results", "study.yaml"}
    assert "Nothing to be done" in snakemake(study, "--dry-run")


def test_the_catalogue_finds_the_same_workflow(study):
    here, there = (
        counts(snakemake(REPOSITORY, "-n", "-q", "reason", "-F", "-s", name, "--config", f"results={study}/empty"))
        for name in ("Snakefile", "workflow/Snakefile")
    )
    assert there.pop("default") == here.pop("all") == 1
    assert here == there
