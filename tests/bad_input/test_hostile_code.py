"""Checkpoints, arrays and YAML never run code."""

import os
import pickle
import subprocess
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from respfm.cli.main import main
from respfm.config.reading import read_yaml
from respfm.curate.arrays import load_arrays
from respfm.encoders import load_encoder
from respfm.encoders.registry import read_registry
from respfm.errors import RespfmError
from respfm.weights import read_weights
from workspace import REPOSITORY, SNAKEMAKE


class Attack:
    """What runs when the pickle is read."""

    def __reduce__(self):
        return os.system, ("touch PWNED",)


def hostile_files(folder: Path) -> dict[str, Path]:
    """A pickle that runs a command, in every container that weights come in."""
    paths = {name: folder / name for name in ("zip.pth", "legacy.pt", "pytorch_model.bin", "model.joblib", "script.pt")}
    content = {"model": {"weight": torch.zeros(2)}, "args": Attack()}
    torch.save(content, paths["zip.pth"])
    torch.save(content, paths["legacy.pt"], _use_new_zipfile_serialization=False)
    paths["pytorch_model.bin"].write_bytes(pickle.dumps(content))
    joblib.dump(content, paths["model.joblib"])
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), paths["script.pt"])
    return paths


@pytest.mark.filterwarnings("ignore:.*torch.jit", "ignore:.*TorchScript", "ignore:Detected pickle protocol")
def test_no_checkpoint_runs_code(tmp_path, marker):
    for name, path in hostile_files(tmp_path).items():
        with pytest.raises(RespfmError) as error:
            read_weights(path)
        assert str(path) in str(error.value)
        refusal = "could run code; set `trust: true`" if name in ("zip.pth", "legacy.pt") else "damaged"
        assert refusal in str(error.value)


@pytest.mark.parametrize("name", [n for n, entry in read_registry().items() if entry["weights"] == "published"])
def test_no_model_of_the_zoo_runs_code_of_its_checkpoint(tmp_path, marker, name):
    path = tmp_path / "pytorch_model.bin"
    torch.save({"model": {"weight": torch.zeros(2)}, "args": Attack()}, path)
    with pytest.raises(RespfmError, match="could run code; set `trust: true`"):
        load_encoder(name, path)


def test_no_array_runs_code(tmp_path, marker):
    np.save(tmp_path / "labels.npy", np.array([Attack()], dtype=object), allow_pickle=True)
    with pytest.raises(RespfmError, match="is not a NumPy array file"):
        load_arrays(tmp_path, {"label": "labels.npy"})


# YAML.

TAGS = [
    "!!python/object/apply:os.system ['touch PWNED']",
    "!!python/object/new:os.system ['touch PWNED']",
    "!!python/name:os.system",
    "!!python/module:os",
]


@pytest.mark.parametrize("tag", TAGS)
def test_no_yaml_makes_objects(tmp_path, marker, tag):
    (tmp_path / "evil.yaml").write_text(f"seed: {tag}\n")
    with pytest.raises(RespfmError, match=r"evil\.yaml is not valid YAML: could not determine a constructor"):
        read_yaml(tmp_path / "evil.yaml")


@pytest.mark.workflow
def test_no_configuration_makes_objects(tmp_path, marker, capsys):
    (tmp_path / "evil.yaml").write_text(f"seed: {TAGS[0]}\n")
    command = [*SNAKEMAKE, "-n", "-s", REPOSITORY / "Snakefile", "--configfile", REPOSITORY / "config" / "config.yaml"]
    done = subprocess.run([*command, tmp_path / "evil.yaml"], capture_output=True, text=True)
    assert done.returncode
    assert "Config file is not valid JSON or YAML" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert main(["plan", "--configfile", str(tmp_path / "evil.yaml")]) == 1
    assert "evil.yaml is not valid YAML" in capsys.readouterr().err
