"""Wrong uses of the command `respfm`: the message names the thing and the fix."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile
import torch
from respfm.cli.main import main
from respfm.logmel.build import write_shard
from workspace import REPOSITORY, run_snakemake

DEMO = (REPOSITORY / "config" / "config.yaml").read_text()


OWN = """
import torch

class Good:
    sample_rate, layers, default_layer = 16000, ["last"], "last"
    def __init__(self, checkpoint, **options): pass
    def embed(self, waveforms, lengths=None): return {"last": waveforms[:, :4]}

class NoRate:
    layers, default_layer, embed = ["last"], "last", Good.embed
    def __init__(self, checkpoint): pass

class NoEmbed:
    sample_rate, layers, default_layer = 16000, ["last"], "last"
    def __init__(self, checkpoint): pass

class NoCheckpoint(Good):
    def __init__(self): pass

class TextRate(Good):
    sample_rate = "16 kHz"

class OtherDefault(Good):
    default_layer = "first"

class Frames(Good):
    def embed(self, waveforms, lengths=None): return {"last": waveforms[:, None, :4]}

class Bare(Good):
    def embed(self, waveforms, lengths=None): return waveforms[:, :4]

class Array(Good):
    def embed(self, waveforms, lengths=None): return {"last": waveforms[:, :4].numpy()}

class OtherLayer(Good):
    def embed(self, waveforms, lengths=None): return {"first": waveforms[:, :4]}

class NotFinite(Good):
    def embed(self, waveforms, lengths=None): return {"last": waveforms[:, :4] / 0}

class Broken(Good):
    def embed(self, waveforms, lengths=None): raise ValueError("no such thing")
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Path:
    """A folder with a good recording, and things that are not what they seem."""
    folder = tmp_path_factory.mktemp("desk")
    tone = 0.1 * np.sin(0.1 * np.arange(16000))
    soundfile.write(folder / "good.wav", tone, 16000)
    (folder / "text.wav").write_text("this is no sound\n")
    (folder / "empty.wav").touch()
    for name in ("nothing", "folder.h5"):
        (folder / name).mkdir()
    (folder / "own_encoders.py").write_text(OWN)
    (folder / "page.pth").write_text("<!DOCTYPE html><html><body>Sign in</body></html>")
    (folder / "noise.pth").write_bytes(bytes(range(256)) * 20)
    torch.save({"model": {"fc.weight": torch.zeros(3, 3)}}, folder / "other.pth")
    with h5py.File(folder / "foreign.h5", "w") as file:
        file["frames"] = np.zeros(3)
    write_shard(folder / "shard.h5", ["a"], [folder / "good.wav"], {}, min_seconds=2.0)
    whole = (folder / "shard.h5").read_bytes()
    (folder / "short.h5").write_bytes(whole[:-100])
    (folder / "old.h5").write_bytes(whole.replace(b" 2\n", b" 1\n", 1))
    (folder / "empty.yaml").touch()
    (folder / "list.yaml").write_text("- models\n- tasks\n")
    (folder / "tabs.yaml").write_text("probe:\n\tepochs: 3\n")
    (folder / "latin.yaml").write_bytes("# caf\xe9\n".encode("latin-1"))
    (folder / "wide.yaml").write_bytes(DEMO.encode("utf-16"))
    (folder / "open.yaml").write_text("models: [m2d_demo\n")
    return folder


def embed(recording: str, model: str, *more: str, out: str = "out.h5") -> list[str]:
    return ["embed", recording, "--model", model, "--device", "cpu", "-o", out, *more]


def own(name: str) -> list[str]:
    return embed("good.wav", f"own_encoders:{name}")


STATISTICS = "logmel_stats"
COMMANDS = {
    "recording that is not there": (embed("lost.wav", STATISTICS), "lost.wav does not exist; name audio files"),
    "folder without recordings": (embed("nothing", STATISTICS), "nothing holds no audio (.3g2"),
    "text named wav": (embed("text.wav", STATISTICS), "left out: text.wav: unreadable", "none of the 1 recordings"),
    "empty file": (embed("empty.wav", STATISTICS), "left out: empty.wav: empty"),
    "model": (embed("good.wav", "m2d_dmo"), "model 'm2d_dmo' does not exist; did you mean 'm2d_demo'?"),
    "layer of another model": (
        embed("good.wav", STATISTICS, "--layer", "block12"),
        "logmel_stats has no layer 'block12'; choose all or one of statistics",
    ),
    "kind of output": (embed("good.wav", STATISTICS, out="out.npz"), "out.npz: write embeddings to a file .h5, .csv"),
    "output on a folder": (embed("good.wav", STATISTICS, out="folder.h5"), "folder.h5", "move it or name another file"),
    "output below a file": (embed("good.wav", STATISTICS, out="good.wav/out.h5"), "good.wav is no folder"),
    "published weights not given": (embed("good.wav", "beats"), "get it from https://", "licence", "as `checkpoint`"),
    "weights under a licence": (embed("good.wav", "m2d"), "from https://github.com/nttcslab", "NTT evaluation licence"),
    "own weights not given": (embed("good.wav", "m2d_demo"), "encoder.safetensors", "run makes it (demo_as)"),
    "a start not given": (embed("good.wav", "m2d_real_random"), "safetensors", "run makes it (real_start)"),
    "checkpoint that is not there": (
        embed("good.wav", "m2d", "--checkpoint", "lost.pth"),
        "lost.pth: there is no such checkpoint file",
    ),
    "folder for a checkpoint": (embed("good.wav", "m2d", "--checkpoint", "nothing"), "nothing: this is a folder"),
    "shard for a checkpoint": (
        embed("good.wav", "m2d", "--checkpoint", "shard.h5"),
        "shard.h5: this is a shard, not a checkpoint; name a file .pth",
    ),
    "recording for a checkpoint": (
        embed("good.wav", "m2d", "--checkpoint", "good.wav"),
        "good.wav: this is a recording, not a checkpoint",
    ),
    "noise for a checkpoint": (embed("good.wav", "m2d", "--checkpoint", "noise.pth"), "noise.pth", "get it again"),
    "web page for a checkpoint": (
        embed("good.wav", "m2d", "--checkpoint", "page.pth"),
        "page.pth: this is an HTML page, not a checkpoint; download the file itself again",
    ),
    "checkpoint of something else": (
        embed("good.wav", "m2d", "--checkpoint", "other.pth"),
        "other.pth: not an M2D checkpoint; its tensors are called fc.weight",
    ),
    "checkpoint of another model": (
        embed("good.wav", "cnn14", "--checkpoint", "other.pth"),
        "other.pth has the md5", "of PANNs Cnn14 has at https://zenodo.org", "get it again",
    ),
    "device": (["embed", "good.wav", "--model", STATISTICS, "--device", "gpu", "-o", "x.h5"], "'gpu' is not known"),
    "module of an own class": (embed("good.wav", "no_module:Encoder"), "No module named 'no_module'", "PYTHONPATH"),
    "own class not in the module": (own("Missing"), "has no attribute 'Missing'", "`module:Class`"),
    "own class without a rate": (own("NoRate"), "'own_encoders:NoRate' has no sample_rate; add what"),
    "own class without embed": (own("NoEmbed"), "'own_encoders:NoEmbed' has no embed"),
    "own class that takes no checkpoint": (own("NoCheckpoint"), "TypeError", "own_encoders.py"),
    "own class, rate as text": (own("TextRate"), "sample_rate is '16 kHz'; give a whole number of Hz"),
    "own class, default layer": (own("OtherDefault"), "default_layer 'first' is not one of layers ['last']"),
    "own class, frames": (own("Frames"), "gave [1, 1, 4] as layer 'last'; it must be a tensor [1, dim]"),
    "own class, no mapping": (own("Bare"), "gave a Tensor; it must return {layer: tensor [B, dim]}"),
    "own class, array": (own("Array"), "gave ndarray as layer 'last'; it must be a tensor"),
    "own class, other layer": (own("OtherLayer"), "gave the layers ['first'] and not 'last', which `layers` names"),
    "own class, not finite": (own("NotFinite"), "layer last gave values that are not finite", "good.wav"),
    "own class that fails": (own("Broken"), "failed with ValueError: no such thing", "own_encoders.py, line 42"),
    "shard that is not there": (["store", "show", "lost.h5"], "shard lost.h5 cannot be read (No such file"),
    "folder for a shard": (["store", "check", "nothing"], "nothing cannot be read (Is a directory)"),
    "other HDF5 file": (["store", "show", "foreign.h5"], "foreign.h5 is not a", "delete it and run the workflow again"),
    "shard of an old version": (["store", "check", "old.h5"], "old.h5 is not a", "of this version", "run the workflow"),
    "shard cut short": (["store", "check", "short.h5"], "short.h5 is not whole", "run the workflow again"),
    "configuration that is not there": (["plan", "--configfile", "lost.yaml"], "lost.yaml does not exist; check"),
    "folder for a configuration": (["plan", "--configfile", "nothing"], "nothing is a directory; a file"),
    "configuration below a file": (["plan", "--configfile", "good.wav/my.yaml"], "my.yaml cannot be read (Not a"),
    "empty configuration": (["plan", "--configfile", "empty.yaml"], "empty.yaml is no configuration; it must hold"),
    "list for a configuration": (["doctor", "--configfile", "list.yaml"], "list.yaml is no configuration"),
    "tabs": (["plan", "--configfile", "tabs.yaml"], "tabs.yaml is not valid YAML", "in line 2,", "spaces, not tabs"),
    "open bracket": (["plan", "--configfile", "open.yaml"], "open.yaml is not valid YAML", "in line 2,", "correct it"),
    "Latin-1": (["plan", "--configfile", "latin.yaml"], "latin.yaml is not UTF-8 text", "save it as UTF-8"),
    "UTF-16": (["plan", "--configfile", "wide.yaml"], "wide.yaml is not UTF-8 text", "save it as UTF-8"),
    "recording for a configuration": (["doctor", "--configfile", "good.wav"], "good.wav is not UTF-8 text"),
    "corpus without its settings": (
        ["demo-data", "corpus", "--configfile", str(REPOSITORY / "config" / "paper.yaml")],
        "paper.yaml has no demo_corpus; use config/config.yaml",
    ),
    "corpus on a file": (["demo-data", "good.wav"], "good.wav is a file; name a folder"),
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_the_command_says_what_is_wrong(desk, monkeypatch, capsys, name):
    arguments, *said = COMMANDS[name]
    monkeypatch.chdir(desk)
    monkeypatch.syspath_prepend(desk)
    before = sorted(path.name for path in desk.iterdir() if path.name != "__pycache__")
    assert main(arguments) == 1
    text = capsys.readouterr().err
    assert text.splitlines()[-1].startswith("respfm: ")
    assert not [part for part in said if part not in text], text
    assert sorted(path.name for path in desk.iterdir() if path.name != "__pycache__") == before


KEYS = "Config file must be given as JSON or YAML with keys at top level"
SYNTAX = "Config file is not valid JSON or YAML"
DECODING = "UnicodeDecodeError: 'utf-8' codec can't decode byte"
UNREADABLE = {
    "lost.yaml": "FileNotFoundError: [Errno 2] No such file or directory: 'lost.yaml'",
    "nothing": "IsADirectoryError: [Errno 21] Is a directory: 'nothing'",
    "empty.yaml": KEYS,
    "list.yaml": KEYS,
    "tabs.yaml": SYNTAX,
    "open.yaml": SYNTAX,
    "latin.yaml": DECODING,
    "wide.yaml": DECODING,
}


@pytest.mark.workflow
@pytest.mark.slow
@pytest.mark.parametrize("name", UNREADABLE)
def test_respfm_plan_names_the_configuration_that_snakemake_cannot_read(desk, monkeypatch, capsys, name):
    """Snakemake reads --configfile before any line of this project, and often does not say which file it was."""
    done = run_snakemake(desk, "--snakefile", str(REPOSITORY / "Snakefile"), "--cores", "1", "-n", "--configfile", name)
    assert done.returncode
    assert UNREADABLE[name] in done.stdout + done.stderr
    monkeypatch.chdir(desk)
    assert main(["plan", "--configfile", name]) == 1
    assert capsys.readouterr().err.startswith(f"respfm: {name} ")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there(desk, monkeypatch, capsys):
    monkeypatch.chdir(desk)
    assert main(["embed", "good.wav", "--model", STATISTICS, "--device", "cuda", "-o", "x.h5"]) == 1
    assert "device cuda was asked for, but there is no usable GPU; set it to auto or cpu" in capsys.readouterr().err
