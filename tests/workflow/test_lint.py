"""Snakemake's own linter."""

import re
import subprocess

import pytest
from workspace import REPOSITORY, SNAKEMAKE


@pytest.mark.workflow
def test_the_linter_minds_nothing_but_helpers_beside_their_rules():
    """A helper of one rule file stands at its head, where a reader of the rule looks for it."""
    done = subprocess.run([*SNAKEMAKE, "--lint"], cwd=REPOSITORY, capture_output=True, text=True)
    complaints = re.findall(r"^ +\* (.+):$", done.stdout + done.stderr, re.MULTILINE)
    assert set(complaints) == {"Mixed rules and functions in same snakefile."}
