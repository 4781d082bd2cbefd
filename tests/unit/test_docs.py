"""What the documentation says is true of the code."""

import re
from collections.abc import Iterator
from pathlib import Path

from respfm.config.reading import read_yaml

REPOSITORY = Path(__file__).resolve().parents[2]


def schema_keys(schema: dict, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys of a schema with their descriptions."""
    for key, entry in schema.get("properties", {}).items():
        yield prefix + key, entry.get("description", "")
        yield from schema_keys(entry, f"{prefix}{key}.")
        yield from schema_keys(entry.get("items", {}), f"{prefix}{key}[].")


def test_config_readme_explains_every_key():
    text = (REPOSITORY / "config" / "README.md").read_text()
    keys = dict(schema_keys(read_yaml(REPOSITORY / "config" / "schemas" / "config.schema.yaml")))
    for key, description in keys.items():
        assert f"| `{key}` |" in text, f"config/README.md does not explain {key}"
        assert description in text, f"config/README.md explains {key} in other words than the schema"
    explained = re.findall(r"^\| `([\w.\[\]]+)` \|", text.partition("## Keys")[2], re.MULTILINE)
    assert set(explained) == set(keys)


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
