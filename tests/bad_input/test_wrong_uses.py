"""Wrong uses, each through the command that a user would type: the message names the thing and the fix.

What Snakemake complains about itself before it reads any of this project (a missing --cores, an unknown profile) is
here too, so that a new version of it is noticed.
"""

import dataclasses
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile
import torch
from respfm.cli.main import main
from respfm.config.reading import read_yaml
from respfm.errors import RespfmError
from respfm.logmel.build import write_shard
from respfm.logmel.mixture import Quirk
from respfm.retrieve.dataset import fetch_dataset
from respfm.retrieve.download import Patience
from respfm.retrieve.finder import Finder
from workspace import REPOSITORY, SNAKEMAKE

DEMO = (REPOSITORY / "config" / "config.yaml").read_text()
RUNS = (REPOSITORY / "config" / "pretraining.yaml").read_text()


@dataclasses.dataclass(frozen=True)
class Use:
    """Arguments of `snakemake` in a clone where `files` were written; `said` is what it must print."""

    name: str
    said: tuple[str, ...]
    config: str | None = None
    arguments: tuple[str, ...] = ("--cores", "1", "--dry-run")
    registry: tuple[str, str] | None = None


def registry_with(old: str, new: str) -> tuple[str, str]:
    """config/pretraining.yaml after an edit."""
    assert old in RUNS
    head, _, tail = RUNS.rpartition(old)
    return "pretraining.yaml", head + new + tail


PLANNING = [
    Use("key", ("my.yaml", "unknown key 'modles' at the top level", "did you mean 'models'?"), "modles: [m2d_demo]"),
    Use("model", ("model 'm2d_dem' does not exist", "did you mean 'm2d_demo'?"), "models: [m2d_dem]"),
    Use("run", ("pre-training run 'demo_ass' does not exist", "did you mean 'demo_as'?"), "runs: [demo_ass]"),
    Use("device", ("device: 'gpu' does not match", "auto takes a GPU where there is one"), "device: gpu"),
    Use(
        "key twice",
        ("my.yaml", "duplicate key 'seed' in lines 1 and 2", "remove or rename one"),
        "seed: 1\nseed: 2",
    ),
    Use("results on a file", ("results is 'my.yaml/x'", "my.yaml is a file", "name a folder"), "results: my.yaml/x"),
    Use("mirror", ("the mirror nowhere is not a directory", "correct `mirror`"), "mirror: [{path: nowhere}]"),
    Use(
        "mixture",
        ("config/pretraining.yaml", ": demo_as: mixture 'demo_asp' does not exist", "did you mean 'demo_as'?"),
        registry=registry_with("    mixture: demo_as\n", "    mixture: demo_asp\n"),
    ),
    Use(
        "quirk",
        ("config/pretraining.yaml", "runs.demo_as.quirks.0 is 'loud_paddin'", "did you mean 'loud_padding'?"),
        registry=registry_with("    mixture: demo_as\n", "    mixture: demo_as\n    quirks: [loud_paddin]\n"),
    ),
    Use(
        "two runs of one name",
        ("pretraining.yaml: duplicate key 'demo_as'", "remove or rename one"),
        registry=registry_with("  demo_as_resp:\n", "  demo_as:\n"),
    ),
    Use(
        "runs that start from each other",
        ("demo_as <- demo_as_resp <- demo_as start from each other", "one must start from scratch"),
        registry=registry_with("    mixture: demo_as\n", "    mixture: demo_as\n    init_from: {run: demo_as_resp}\n"),
    ),
    Use(
        "module of an own model",
        ("module nowhere_to_be_found cannot be found", "PYTHONPATH"),
        registry=(
            "models.yaml",
            (REPOSITORY / "config" / "models.yaml").read_text()
            + """
mine:
  title: Mine
  family: nowhere_to_be_found:Encoder
  weights: none
""",
        ),
        config="models: [mine]\nfigures: {layers: [], embedding_map: ''}",
    ),
    Use("rule", ("No rule to produce embedd_all",), arguments=("--cores", "1", "-n", "--", "embedd_all")),
    Use("table", ("table9.csv",), arguments=("--cores", "1", "-n", "--", "results/demo/tables/table9.csv")),
    Use("profile", ("nowhere",), arguments=("--cores", "1", "-n", "--profile", "nowhere")),
    Use("no cores", ("cores have to be specified", "--cores N"), arguments=("all",)),
]


def test_all_quirks_can_be_named():
    schema = read_yaml(REPOSITORY / "config" / "schemas" / "pretraining.schema.yaml")
    assert set(schema["$defs"]["run"]["properties"]["quirks"]["items"]["enum"]) == set(Quirk)


def make_clone(root: Path) -> Path:
    """Links to all that Snakemake reads, with a `config` folder of its own."""
    for name in ("Snakefile", "rules", "workflow", "resources", "profiles", "envs"):
        (root / name).symlink_to(REPOSITORY / name)
    (root / "config").mkdir()
    for path in (REPOSITORY / "config").iterdir():
        (root / "config" / path.name).symlink_to(path)
    return root


def snakemake(root: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Snakemake in `root`."""
    return subprocess.run(
        [*SNAKEMAKE, *arguments], cwd=root, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
    )


@pytest.fixture(scope="module")
def planned(tmp_path_factory) -> dict[str, subprocess.CompletedProcess]:
    """What each wrong use does, two at a time."""

    def run(use: Use) -> subprocess.CompletedProcess:
        root = make_clone(tmp_path_factory.mktemp("use"))
        arguments = list(use.arguments)
        if use.config is not None:
            (root / "my.yaml").write_text(use.config + "\n")
            arguments += ["--configfile", "my.yaml"]
        if use.registry is not None:
            path = root / "config" / use.registry[0]
            path.unlink()
            path.write_text(use.registry[1])
        return snakemake(root, *arguments)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip([use.name for use in PLANNING], pool.map(run, PLANNING), strict=True))


@pytest.mark.workflow
@pytest.mark.slow
@pytest.mark.parametrize("use", PLANNING, ids=lambda use: use.name)
def test_snakemake_refuses_before_the_first_job(planned, use):
    done = planned[use.name]
    text = done.stdout + done.stderr
    assert done.returncode
    assert not [part for part in use.said if part not in text], text
    assert "Traceback (most recent call last)" not in text


@pytest.mark.workflow
def test_rules_without_the_library_beside_them(tmp_path):
    make_clone(tmp_path)
    for name in ("Snakefile", "rules"):
        (tmp_path / "part" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "part" / name).symlink_to(REPOSITORY / name)
    done = snakemake(tmp_path, "--cores", "1", "--dry-run", "--snakefile", "part/Snakefile")
    assert done.returncode
    assert "part/workflow/scripts is not here: clone respfm whole" in done.stdout + done.stderr


@pytest.mark.workflow
def test_windows_line_ends_and_a_byte_order_mark_are_no_mistake(tmp_path):
    root = make_clone(tmp_path)
    (root / "my.yaml").write_bytes(b"\xef\xbb\xbf" + DEMO.replace("\n", "\r\n").encode())
    done = snakemake(root, "--cores", "1", "--dry-run", "--quiet", "--configfile", "my.yaml")
    assert done.returncode == 0, done.stderr


OWN_RUN = "add: {runs: {mine: {title: mine, mixture: demo_as, epochs: 1, batch_size: 8, model: %s}}}"
VALUES = {
    "nested key": ("probe: {epoch: 3}", "unknown key 'epoch' at probe", "did you mean 'epochs'?"),
    "text for a list": ("models: m2d_demo", "models is 'm2d_demo'", "a list, `[a, b]` is expected"),
    "list for a mapping": ("probe: [1]", "probe is [1]", "a mapping, `key: value` is expected"),
    "empty section": ("models:", "models is empty", "a list"),
    "text for a number": ("seed: abc", "seed is 'abc'", "a whole number"),
    "1e3 for a number": ("probe: {epochs: 1e3}", "probe.epochs is the text '1e3'", "write 1.0e-3"),
    "out of range": ("max_quarantine_share: 2", "max_quarantine_share", "2 is greater than the maximum of 1"),
    "task": ("tasks: [T12]", "task 'T12' does not exist", "did you mean 'T1"),
    "protocol": ("protocols: [strickt]", "'strickt'", "did you mean 'strict'?"),
    "data set": ("change: {tasks: {T5: {dataset: coughvit}}}", "data set 'coughvit' does not exist", "'coughvid'"),
    "setting of a network": (OWN_RUN % "{dimm: 96}", "'dimm' at add.runs.mine.model", "did you mean 'dim'?"),
    "sizes of a network": (OWN_RUN % "{dim: 98}", "runs.mine.model: dim 98 must be", "12 heads"),
    "local data set": ("local: {audioste: /data}", "local: data set 'audioste'", "'audioset'"),
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_that_cannot_be(tmp_path, capsys, name):
    config, *said = VALUES[name]
    (tmp_path / "my.yaml").write_text(config)
    assert main(["plan", "--configfile", str(tmp_path / "my.yaml")]) == 1
    text = capsys.readouterr().err
    assert not [part for part in ("my.yaml", *said) if part not in text], text


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
    done = snakemake(desk, "--snakefile", str(REPOSITORY / "Snakefile"), "--cores", "1", "-n", "--configfile", name)
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


FILE = "https://example.org/data/corpus.zip"
HURRY = Patience(attempts=2, first_wait=0.01, longest_wait=0.01, connect=1, stall=1)


def retrieval_error(tmp_path: Path, content: bytes | None, offline: bool = True, **mirror: str) -> str:
    """What is said when a data set of one zip is looked for in a mirror that holds `content`."""
    archive = tmp_path / "mirror" / "example.org" / "data" / "corpus.zip"
    archive.parent.mkdir(parents=True)
    if content is not None:
        archive.write_bytes(content)
    (tmp_path / "mirror" / "SUMS.csv").write_text(f"path,sha256,bytes\nexample.org/data/corpus.zip,{'0' * 64},\n")
    entry = {"title": "Corpus", "files": [{"url": FILE, "unpack": "zip"}]}
    mirrors = [{"path": str(tmp_path / "mirror"), **mirror}]
    finder = Finder(tmp_path / "downloads" / "corpus", mirrors, offline, patience=HURRY)
    with pytest.raises(RespfmError) as caught:
        fetch_dataset("corpus", entry, tmp_path / "raw" / "corpus", finder)
    assert not (tmp_path / "raw" / "corpus").exists()
    return str(caught.value)


def test_an_archive_with_another_checksum(tmp_path):
    text = retrieval_error(tmp_path, b"PK\x03\x04", checksums="SUMS.csv")
    assert str(tmp_path / "mirror") in text
    assert "sha256" in text
    assert "replace it" in text


def test_a_web_page_in_the_place_of_an_archive(tmp_path):
    text = retrieval_error(tmp_path, b"<html><body>Please sign in</body></html>")
    assert "corpus.zip" in text
    assert "is a web page, not a zip archive" in text


def test_an_archive_that_no_mirror_has(tmp_path):
    text = retrieval_error(tmp_path, None)
    assert FILE in text
    assert "put the file at" in text


def test_a_mirror_with_a_closed_port(tmp_path):
    text = retrieval_error(tmp_path, None, offline=False, path="http://127.0.0.1:9", checksums="SUMS.csv")
    assert "SUMS.csv of the mirror http://127.0.0.1:9 cannot be read" in text


@pytest.mark.parametrize(
    ("interpreter", "said"),
    [
        ("no-such-python", "no-such-python is not here; set PYTHON=<Python 3.11 or newer>"),
        ("./old-python", "./old-python is too old, respfm needs Python 3.11 or newer; set PYTHON="),
    ],
)
def test_make_without_a_python_that_will_do(tmp_path, interpreter, said):
    (tmp_path / "envs").mkdir()
    for name in ("Makefile", "pyproject.toml", "envs/lock.txt"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    old = tmp_path / "old-python"
    pretend = "import sys; sys.version_info = (3, 9, 18); exec(sys.argv[1])"
    old.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{pretend}' \"$2\"\n")
    old.chmod(old.stat().st_mode | stat.S_IXUSR)
    done = subprocess.run(
        ["make", "demo", f"PYTHON={interpreter}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={key: value for key, value in os.environ.items() if not key.startswith("MAKE")},
    )
    assert done.returncode
    assert said in done.stderr
    assert not (tmp_path / ".venv").exists()


@pytest.mark.slow
def test_make_completes_an_environment_without_pip(tmp_path):
    """As Debian's Python leaves it behind where the package python3-venv is missing."""
    for name in ("Makefile", "pyproject.toml"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "lock.txt").write_text("./nothing-to-install\n")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / ".venv"], check=True)
    done = subprocess.run(
        ["make", "setup", f"PYTHON={sys.executable}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={key: value for key, value in os.environ.items() if not key.startswith("MAKE")},
    )
    assert "(from line 1 of envs/lock.txt)" in done.stderr
    assert (tmp_path / ".venv" / "bin" / "pip").is_file()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "spec.json cannot be read (No such file or directory)"),
        ("{", "spec.json is not JSON"),
        ("[]", "spec.json lacks run, mixture"),
        ('{"run": {}}', "lacks mixture, shards, statistics, outdir"),
    ],
    ids=["no file", "no JSON", "a list", "keys missing"],
)
def test_a_pretraining_rank_without_its_spec(tmp_path, monkeypatch, capsys, content, said):
    from respfm.pretrain.__main__ import main as train

    path = tmp_path / "spec.json"
    if content is not None:
        path.write_text(content)
    monkeypatch.setattr(sys, "argv", ["respfm.pretrain", "--spec", str(path)])
    assert train() == 1
    assert said in capsys.readouterr().err
