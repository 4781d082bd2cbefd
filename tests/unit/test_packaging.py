"""Versions, environments, the container and the public CI say the same as pyproject.toml, the Makefile and .ci/run."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from respfm.config.reading import read_yaml
from respfm.jobs.code import reached_files

REPOSITORY = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
PINS = dict(pin.split("==") for pin in [*PROJECT["dependencies"], *(pin for pins in EXTRAS.values() for pin in pins)])
MAKEFILE = (REPOSITORY / "Makefile").read_text()
LOCK = (REPOSITORY / "envs" / "lock.txt").read_text()
# What is installed under another name, or comes with another package.
DISTRIBUTIONS = {
    "markupsafe": "jinja2",
    "referencing": "jsonschema",
    "sklearn": "scikit-learn",
    "threadpoolctl": "scikit-learn",
    "urllib3": "requests",
    "yaml": "pyyaml",
}
PLUG_INS = {"data": ("respfm.curate", "respfm.demo"), "torch": ("respfm.encoders", "respfm.probe")}


def test_the_lock_has_every_pin_with_its_hashes():
    locked = {}
    entries = re.compile(r"^([\w.-]+)==([\w.+-]+)[^\n]*((?:\n +--hash=\S+[^\n]*)*)", re.MULTILINE)
    for name, version, hashes in entries.findall(LOCK):
        assert "--hash=sha256:" in hashes, f"{name} has no hash; run make lock"
        locked.setdefault(name, set()).add(version)
    for name, version in PINS.items():
        assert locked.get(name) == {version}, f"envs/lock.txt lacks {name}=={version}; run make lock"


def test_setup_installs_the_lock():
    assert "--no-deps --require-hashes -r envs/lock.txt" in MAKEFILE
    assert "$(BIN)/respfm: pyproject.toml envs/lock.txt" in MAKEFILE


def test_nothing_installs_past_the_lock():
    places = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md"), *(REPOSITORY / "benchmarks").glob("*.py")]
    places += [REPOSITORY / name for name in ("Makefile", "Dockerfile", ".ci/run", "workflow/respfm/cli/doctor.py")]
    lines = [line for path in places for line in path.read_text().splitlines() if "pip install" in line]
    assert len(lines) >= 5
    assert not [line for line in lines if "--no-deps" not in line and "uv==" not in line]


def rules_by_environment() -> dict[str, list[Path]]:
    """Scripts of the rules that run in each of envs/*.yaml."""
    found: dict[str, list[Path]] = {}
    for path in sorted((REPOSITORY / "rules").glob("*.smk")):
        for body in re.split(r"^rule ", path.read_text(), flags=re.MULTILINE)[1:]:
            environment, script = re.search(r"envs/(\w+)\.yaml", body), re.search(r"scripts/(\w+\.py)", body)
            if script:
                assert environment, f"rule {body.partition(':')[0]} has no environment"
                found.setdefault(environment[1], []).append(REPOSITORY / "workflow" / "scripts" / script[1])
    return found


def imported(path: Path) -> Iterator[str]:
    """Top-level names that a module imports from outside of the library and of Python itself."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        for name in names:
            top = name.partition(".")[0]
            if top != "respfm" and top not in sys.stdlib_module_names:
                yield DISTRIBUTIONS.get(top, top)


@pytest.mark.parametrize("name", sorted(path.stem for path in (REPOSITORY / "envs").glob("*.yaml")))
def test_an_environment_has_what_its_rules_import_in_the_versions_of_pyproject(name):
    environment = read_yaml(REPOSITORY / "envs" / f"{name}.yaml")["dependencies"]
    packages = dict(package.split("==") for package in environment[-1]["pip"])
    assert packages.items() <= PINS.items()
    minor = re.fullmatch(r"python=(3\.\d+)\.\d+", environment[0])
    assert minor, "python is not pinned exactly"
    assert f"Programming Language :: Python :: {minor[1]}" in PROJECT["classifiers"]
    files = {file for script in rules_by_environment()[name] for file in reached_files(script)}
    for package in PLUG_INS.get(name, ()):
        files |= set((REPOSITORY / "workflow").joinpath(*package.split(".")).glob("*.py"))
    needed = {module for file in files for module in imported(file)}
    assert needed <= packages.keys(), f"envs/{name}.yaml lacks {sorted(needed - packages.keys())}"


def targets() -> set[str]:
    """Targets of the Makefile."""
    return set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))


def test_the_container_takes_the_steps_of_the_readme():
    text = (REPOSITORY / "Dockerfile").read_text()
    steps = re.findall(r"^(?:RUN make |CMD ..make., .)(\w+)", text, re.MULTILINE)
    assert steps == ["setup", "demo"]
    assert set(steps) <= targets()
    assert "make demo" in (REPOSITORY / "README.md").read_text()
    python = re.search(r"^FROM python:(3\.\d+)-slim", text, re.MULTILINE)[1]
    assert f"Programming Language :: Python :: {python}" in PROJECT["classifiers"]


def test_the_public_ci_runs_what_ci_run_runs():
    jobs = read_yaml(REPOSITORY / ".github" / "workflows" / "ci.yml")["jobs"]
    assert ".ci/run" in [step.get("run") for step in jobs["test"]["steps"]]
    versions = jobs["test"]["strategy"]["matrix"]["python"]
    assert [f"Programming Language :: Python :: {version}" for version in versions] == PROJECT["classifiers"]
    last = (REPOSITORY / ".ci" / "run").read_text().strip().splitlines()[-1]
    assert last == "make test"


def test_what_the_workflow_catalogue_asks_for():
    usage = read_yaml(REPOSITORY / ".snakemake-workflow-catalog.yml")["usage"]
    assert usage["software-stack-deployment"]["conda"] is True
    assert usage["report"] is True
    for name in ("config/README.md", "config/config.yaml", "workflow/Snakefile", "LICENSE", "README.md"):
        assert (REPOSITORY / name).is_file()
    assert (REPOSITORY / "profiles" / "default" / "config.yaml").is_file()
