"""The recipes of README.md and the examples of docs/adding.md, run as they are written."""

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
import yaml
from opera_golden import load_json
from respfm.config.reading import merge
from respfm.embed.dataset import read_embeddings
from respfm.m2d import M2D, M2DConfig, export_encoder
from workspace import REPOSITORY, Workspace

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

README = (REPOSITORY / "README.md").read_text()
ADDING = (REPOSITORY / "docs" / "adding.md").read_text()
TOLD = (REPOSITORY / "docs" / "reproduction.md").read_text()
EVALUATE = "Your own checkpoint on T5-T11"
EMBED = "Embed your own recordings"
FURTHER = "Further pre-training on your own recordings"
SLURM = "Run on Slurm"
RIGHT = {
    "A data set": lambda made: (len(made), made["patient"].nunique()) == (40, 20) and not made["quarantine"].any(),
    "A task": lambda made: set(made["split"]) == {"train", "val", "test"} and set(made["label"]) == {0, 1},
    "A model": lambda made: set(made["layer"]) == {"rms"} and made["auroc_test"].between(0, 1).all(),
    "A figure": lambda made: set(made["dataset"]) == {"clinic"} and (made["seconds"] == 1).all(),
}


def section(text: str, heading: str) -> str:
    """What stands between a heading and the next one."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"there is no heading {heading!r}"
    return found[1]


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def block(heading: str, language: str) -> str:
    """The one block of a language below a heading of README.md."""
    (only,) = blocks(section(README, heading), language)
    return only


def shell(commands: str, workspace: Workspace) -> None:
    """Run what a user would type, with the Python of the tests and the library of the copy."""
    path = os.pathsep.join([str(workspace.root / ".venv" / "bin"), os.environ["PATH"]])
    environment = {**os.environ, "PYTHONPATH": str(workspace.root / "workflow"), "PATH": path}
    done = subprocess.run(
        ["bash", "-euc", commands],
        cwd=workspace.root,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"


def clone(root: Path) -> Workspace:
    workspace = Workspace(root)
    (root / ".venv").symlink_to(sys.prefix)
    return workspace


def write_noise(path: Path, seconds: float, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).standard_normal(int(16000 * seconds))
    soundfile.write(path, 0.1 * noise, 16000)


@pytest.fixture(scope="module")
def user(tmp_path_factory) -> Workspace:
    """A clone with somebody's recordings and checkpoint; the demo's corpus is smaller, of one protocol."""
    workspace = clone(tmp_path_factory.mktemp("user"))
    config = workspace.root / "config" / "config.yaml"
    text = config.read_text()
    for old, new in (("scale: 1.0", "scale: 0.7"), ("protocols: [published, strict]", "protocols: [strict]")):
        assert old in text
        text = text.replace(old, new)
    config.write_text(text)
    sizes = yaml.safe_load(block(FURTHER, "yaml"))["add"]["runs"]["my_run"]["model"]
    torch.manual_seed(0)
    export_encoder(M2D(M2DConfig.from_dict(sizes)), (-7.0, 4.0), workspace.root / "my_encoder.safetensors")
    for i in range(12):
        write_noise(workspace.root / "my_recordings" / f"{i:02d}.wav", 2 + i % 4, i)
    (workspace.root / "my_model.yaml").write_text(block(EVALUATE, "yaml"))
    (workspace.root / "my_run.yaml").write_text(block(FURTHER, "yaml"))
    return workspace


def test_embed_your_own_recordings(user):
    shell(block(EMBED, "sh"), user)
    ids, vectors = read_embeddings(user.root / "my_embeddings.h5", ["block4"])
    assert [Path(name).name for name in ids] == [f"{i:02d}.wav" for i in range(12)]
    assert np.isfinite(vectors["block4"]).all()


def test_pre_train_further_on_your_own_recordings(user):
    shell(block(FURTHER, "sh"), user)
    run = user.root / "results" / "demo" / "pretraining" / "my_run"
    history = pd.read_csv(run / "history.csv")
    assert np.isfinite(history["loss"]).all()
    log = (user.root / "results" / "demo" / "logs" / "pretrain_encoder" / "my_run.log").read_text()
    assert "from my_encoder.safetensors: encoder" in log
    assert (run / "encoder.safetensors").read_bytes() != (user.root / "my_encoder.safetensors").read_bytes()


def test_evaluate_your_own_checkpoint(user):
    shell(block(EVALUATE, "sh"), user)
    results = user.root / "results" / "demo"
    for task in [f"T{number}" for number in range(5, 12)]:
        scores = pd.read_csv(results / "scores" / "strict" / "my_model" / f"{task}.csv")
        assert scores["auroc_test"].between(0, 1).all()
    assert "My M2D" in (results / "tables" / "table2_strict.md").read_text()
    assert (results / "figures" / "layers_my_model.svg").is_file()


def test_both_models_can_be_evaluated(user):
    command = block(FURTHER, "sh").replace("-- pretrain_all", "--dry-run")
    assert "--dry-run" in command
    shell(command, user)


def test_the_slurm_recipe_is_the_one_that_is_tested():
    install, run = block(SLURM, "sh").splitlines()
    assert install == "make setup"
    program, *arguments = shlex.split(run)
    assert program == ".venv/bin/snakemake"
    tested = (REPOSITORY / "tests" / "workflow" / "test_slurm.py").read_text()
    assert arguments[:2] == ["--workflow-profile", "profiles/slurm"]
    assert '"--workflow-profile", "profiles/slurm", "--configfile"' in tested
    assert arguments[2] == "--configfile"
    assert len(arguments) == 4


@pytest.fixture(scope="module")
def developer(tmp_path_factory) -> Workspace:
    """A clone with all that docs/adding.md adds, and the recordings of the clinic."""
    workspace = clone(tmp_path_factory.mktemp("developer"))
    config: dict = {}
    for heading in RIGHT:
        for name, how, language, content in files_of(heading):
            path = workspace.root / name
            if how == "add":
                path.write_text(f"{path.read_text()}\n\n{content}")
            elif language == "diff":
                path.write_text(changed(path.read_text(), content))
            elif language == "yaml":
                config = merge(config, yaml.safe_load(content))
                path.write_text(yaml.safe_dump(config))
            else:
                assert not path.exists(), f"{name} is there already"
                path.write_text(content)
    lines = ["file,patient,finding"]
    for i in range(40):
        write_noise(workspace.root / "clinic" / f"{i:02d}.wav", 1, i)
        lines.append(f"{i:02d}.wav,P{i // 2},{'wheeze' if i // 2 % 2 else 'none'}")
    (workspace.root / "clinic" / "clips.csv").write_text("\n".join(lines))
    return workspace


def files_of(heading: str) -> list[tuple[str, str, str, str]]:
    """(name, add or change or nothing, language, content) of the files that an addition consists of."""
    pattern = r"^`([\w./]+)`(?: \((\w+)\))?\n\n```(\w+)\n(.*?)^```$"
    return re.findall(pattern, section(ADDING, heading), re.MULTILINE | re.DOTALL)


def changed(text: str, diff: str) -> str:
    """`text` with the lines that begin with - replaced by those that begin with +."""
    old, new = ("".join(line[1:] for line in diff.splitlines(True) if line[0] == sign) for sign in "-+")
    assert text.count(old) == 1
    return text.replace(old, new)


@pytest.mark.parametrize("heading", RIGHT)
def test_an_addition_works_and_is_short(developer, heading):
    (command,) = blocks(section(ADDING, heading), "sh")
    shell(command, developer)
    target = developer.root / command.split()[-1]
    made = pd.read_parquet(target) if target.suffix == ".parquet" else pd.read_csv(target.with_suffix(".csv"))
    assert RIGHT[heading](made)
    written = files_of(heading)
    assert written
    assert sum(len(content.splitlines()) for *_, content in written) < 50


def test_additions_follow_the_style(developer):
    ruff = shutil.which("ruff", path=str(Path(sys.prefix) / "bin"))
    if ruff is None:
        pytest.skip("ruff is not installed")
    names = [name for heading in RIGHT for name, how, *_ in files_of(heading) if name.endswith(".py") and not how]
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run([ruff, *command, *names], cwd=developer.root, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_additions_fit_in(developer):
    """Those of the repository's own tests that look at every module and rule."""
    tests = ["tests/unit/test_architecture.py", "tests/unit/test_packaging.py", "tests/unit/test_docs.py"]
    shell(shlex.join([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]), developer)


def test_the_report_has_the_new_figure(developer):
    jobs = developer.jobs(
        "--forcerun", "results/demo/figures/lengths.svg", "--configfile", "config/config.yaml", "my.yaml"
    )
    assert (jobs["plot_figure"], jobs["write_report"]) == (4, 1)


def test_what_reproduction_cites_exists():
    cited = re.findall(r"`((?:tests|config)/[\w./*-]+)(?:::(\w+))?`", TOLD)
    assert len(cited) > 30
    for name, function in cited:
        files = list(REPOSITORY.glob(name))
        assert files, f"docs/reproduction.md cites {name}, which does not exist"
        assert not function or f"def {function}(" in files[0].read_text(), f"{name} has no {function}"


def test_the_probe_table_of_reproduction(tmp_path):
    (code,) = blocks(TOLD, "python")
    (tmp_path / "probes.py").write_text(code)
    compare = runpy.run_path(str(tmp_path / "probes.py"))["compare"]
    (case,) = (case for case in load_json("probe_seed0.json")["cases"] if (case["task"], case["dim"]) == ("T10", 64))
    rows = re.findall(r"^\| (?:published|published, features[^|]*|strict) \| (0\.\d{3} .*)\|$", TOLD, re.MULTILINE)
    column = [float(row.split("|")[5]) for row in rows]
    assert compare("T10", case["strength"]) == pytest.approx(column, abs=1e-3)
