"""Bad input stops the workflow with one sentence that names it and the fix, and leaves no half-made file."""

import shutil

import numpy as np
import pytest
import soundfile
import yaml
from workspace import Workspace

pytestmark = [pytest.mark.workflow, pytest.mark.slow]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("bad"))


def configured(workspace: Workspace, name: str, change: dict) -> tuple[str, ...]:
    """Arguments for a run with `change` laid over the demo's configuration."""
    path = workspace.root / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"results": f"results/{name}", **change}))
    return "--configfile", "config/config.yaml", path.name


def output_of(workspace: Workspace, *arguments: str) -> str:
    """What a failing run prints."""
    done = workspace.snakemake(*arguments, check=False)
    assert done.returncode
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"prob": {"epochs": 3}}, "unknown key 'prob' at the top level; did you mean 'probe'?"),
        ({"change": {"tasks": {"T5": {"dataset": "coughvit"}}}}, "data set 'coughvit' does not exist"),
        ({"models": ["m2d_demmo"]}, "model 'm2d_demmo' does not exist; did you mean 'm2d_demo'?"),
    ],
    ids=["key", "data set of a task", "model"],
)
def test_a_mistake_in_the_configuration(workspace, change, sentence):
    text = output_of(workspace, "--dry-run", *configured(workspace, "mistake", change))
    assert sentence in text
    assert "Traceback" not in text


def test_a_file_missing_from_the_mirror(workspace):
    mirror = workspace.root / "mirror"
    mirror.mkdir()
    place = "github.com/karoldvl/ESC-10/archive/master.zip"
    (mirror / "MANIFEST.csv").write_text(f"path,sha256,bytes\n{place},{'0' * 64},1\n")
    change = {"mirror": [{"path": "mirror", "checksums": "MANIFEST.csv"}], "offline": True}
    config = yaml.safe_load((workspace.root / "config" / "config.yaml").read_text())
    del config["demo_corpus"]
    (workspace.root / "no-demo.yaml").write_text(yaml.safe_dump({**config, **change, "results": "results/missing"}))
    target = "results/missing/raw/esc10/.sources.json"
    text = output_of(workspace, "--configfile", "no-demo.yaml", "--", target)
    assert place in text
    assert "missing" in text
    assert not (workspace.root / target).exists()


def write_corpus(folder, good: int, bad: int) -> None:
    folder.mkdir()
    for index in range(good):
        tone = 0.1 * np.sin(np.arange(8000) * (0.1 + 0.01 * index)).astype(np.float32)
        soundfile.write(folder / f"good{index}.wav", tone, 8000)
    for index in range(bad):
        (folder / f"bad{index}.wav").write_bytes(b"RIFF and then nothing of use")


def test_a_few_unreadable_recordings_are_quarantined_and_many_stop_the_run(workspace):
    import pandas as pd

    corpus = workspace.root / "corpus"
    write_corpus(corpus, good=19, bad=1)
    change = {"local": {"esc10": "corpus"}, "max_quarantine_share": 0.05}
    arguments = configured(workspace, "quarantine", change)
    target = "results/quarantine/recordings/esc10.parquet"
    workspace.snakemake(*arguments, "--", target)
    table = pd.read_parquet(workspace.root / target).set_index("id")
    assert (table["quarantine"] != "").sum() == 1
    assert table.loc["bad0", "quarantine"].startswith("unreadable")

    shutil.rmtree(corpus)
    write_corpus(corpus, good=10, bad=10)
    (workspace.root / target).unlink()
    text = output_of(workspace, *arguments, "--", target)
    assert "10 of 20 recordings cannot be used" in text
    assert "max_quarantine_share" in text
    assert "Traceback" not in text
    assert not (workspace.root / target).exists()
