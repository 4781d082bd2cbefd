"""What the documentation says is true of the code."""

import re
from pathlib import Path

import pytest
from respfm.config.reading import read_yaml
from respfm.config.reference import updated

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = REPOSITORY / "config"


def test_the_reference_of_all_keys_is_that_of_the_schemas():
    text = (CONFIG / "README.md").read_text()
    assert text == updated(text), "run: .venv/bin/python -m respfm.config.reference"
    assert "|  |\n" not in text, "a key has no description"
    assert "| `figures.layers` | list of text | empty | Models whose AUROC is drawn" in text
    assert "| `model.dim` | whole number | 768 |" in text


@pytest.mark.parametrize("path", [*CONFIG.glob("*.yaml"), REPOSITORY / "benchmarks" / "pretraining_gain.yaml"])
def test_editors_find_the_schema_of_a_file(path):
    schema = re.match(r"# yaml-language-server: \$schema=(\S+)\n", path.read_text())[1]
    name = "config" if "data_kind" in path.read_text() else path.stem
    assert (path.parent / schema).resolve() == CONFIG / "schemas" / f"{name}.schema.yaml"


def test_readme_names_files_that_exist():
    text = (REPOSITORY / "README.md").read_text()
    for name in re.findall(r"`((?:config|workflow|rules|docs|profiles)/[\w./-]+)`", text):
        assert (REPOSITORY / name).exists(), f"README.md names {name}, which does not exist"


def test_the_slurm_profile_keeps_the_rules_of_the_default_one():
    default, slurm = (read_yaml(REPOSITORY / "profiles" / name / "config.yaml") for name in ("default", "slurm"))
    del default["resources"]  # counts GPUs of one machine
    assert {key: slurm.get(key) for key in default} == default
    assert "slurm-array-jobs" not in slurm
    assert slurm["slurm-status-command"] == "squeue"
