"""Code digests follow imports and ignore what decides no result."""

import shutil
from pathlib import Path

import pytest
from respfm.errors import RespfmError
from respfm.jobs import code as module
from respfm.jobs.code import PACKAGE_ROOT, code_digest, reached_files

REPOSITORY = Path(__file__).resolve().parents[3]
SCRIPTS = REPOSITORY / "workflow" / "scripts"


def digest_of(folder: Path, text: str) -> str:
    """Digest of a script with this text, read afresh."""
    module._read_module.cache_clear()
    script = folder / "script.py"
    script.write_text(text)
    return code_digest(script)


CODE = 'from respfm.recordings import usable\n\ndef f(x):\n    """Old."""\n    return x + 1\n'


@pytest.mark.parametrize(
    "change",
    [
        CODE + "\n# a comment\n",
        CODE.replace("Old.", "New."),
        CODE.replace("x + 1", "(x\n        + 1)"),
        '"""Module docstring."""\n' + CODE,
    ],
    ids=["comment", "docstring", "layout", "module docstring"],
)
def test_cosmetic_changes_do_not_count(tmp_path, change):
    assert digest_of(tmp_path, CODE) == digest_of(tmp_path, change)


@pytest.mark.parametrize(
    "change",
    [CODE.replace("x + 1", "x + 2"), CODE.replace("respfm.recordings import usable", "respfm import files")],
    ids=["code", "another import"],
)
def test_real_changes_count(tmp_path, change):
    assert digest_of(tmp_path, CODE) != digest_of(tmp_path, change)


TALK = """
def f(self, n, name):
    log.info("%d clips of %s", n, name)
    print(f"{n} clips")
    tqdm.write(f"{n} clips" + ("" if n else " and that is few"))
    self.say(f"{n} clips, {name:>5}")
    raise RespfmError(f"{n} clips are too few; add some")
"""


def test_what_is_only_said_does_not_count(tmp_path):
    before = digest_of(tmp_path, TALK)
    assert digest_of(tmp_path, TALK.replace("clips", "recordings")) == before
    counts = {"info": "critical", "{n} clips,": "{n + 1} clips,", "if n": "if not n", "RespfmError": "AudioError"}
    for old, new in counts.items():
        assert digest_of(tmp_path, TALK.replace(old, new)) != before


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """A copy of the library whose scripts are digested."""
    copy = shutil.copytree(REPOSITORY / "workflow", tmp_path / "workflow", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(module, "PACKAGE_ROOT", copy / "respfm")
    return copy


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    module._read_module.cache_clear()


def digests(package: Path, scripts: str = "*") -> dict[str, str]:
    return {script.stem: code_digest(script) for script in (package / "scripts").glob(f"{scripts}.py")}


def test_plumbing_and_the_text_of_errors_count_for_no_script(package):
    before, respfm = digests(package), package / "respfm"
    for path in [*(respfm / "jobs").glob("*.py"), respfm / "errors.py"]:
        path.write_text(path.read_text() + "\nEXTRA = 1\n")
    edit(respfm / "files.py", "there is a folder of that name", "it is a folder")
    edit(respfm / "shard.py", "is not whole: it has", "is cut off: it has")
    edit(respfm / "pretrain" / "trainer.py", "or its gradient is not finite", "or the gradient is infinite")
    edit(respfm / "pretrain" / "trainer.py", ", peak memory ", ", most memory ")
    assert digests(package) == before


@pytest.mark.parametrize(
    ("rule", "name", "old", "new"),
    [
        ("pretrain_encoder", "pretrain/trainer.py", "self.step += 1", "self.step += 2"),
        ("curate_recordings", "audio.py", 'AudioError(path, "truncated")', 'AudioError(path, "cut off")'),
    ],
)
def test_a_changed_expression_or_reason_for_quarantine_counts(package, rule, name, old, new):
    before = digests(package, rule)
    edit(package / "respfm" / name, old, new)
    assert digests(package, rule) != before


def test_imports_inside_functions_and_relative_imports_are_followed(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("def f():\n    import respfm.config.plan\n")
    names = {path.name for path in reached_files(script)}
    assert {"plan.py", "settings.py", "files.py"} <= names


def test_a_plug_in_counts_only_for_those_who_load_it():
    script = SCRIPTS / "curate_recordings.py"
    assert code_digest(script, ["respfm.curate.kauh"]) != code_digest(script, ["respfm.curate.icbhi"])
    names = {path.name for path in reached_files(script, ["respfm.curate.kauh"])}
    assert "kauh.py" in names
    assert "icbhi.py" not in names


def test_a_module_of_the_users_own_counts(tmp_path, monkeypatch):
    own = tmp_path / "my_encoder_module.py"
    own.write_text("WIDTH = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = code_digest(SCRIPTS / "extract_embeddings.py", ["my_encoder_module"])
    own.write_text("WIDTH = 2\n")
    module._read_module.cache_clear()
    assert code_digest(SCRIPTS / "extract_embeddings.py", ["my_encoder_module"]) != before


def test_unknown_plug_in_is_an_error():
    with pytest.raises(RespfmError, match=r"respfm\.curate\.nowhere"):
        code_digest(SCRIPTS / "curate_recordings.py", ["respfm.curate.nowhere"])


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.py")), ids=lambda path: path.stem)
def test_scripts_are_thin_and_take_nothing_untracked(script):
    text = script.read_text()
    assert len(text.splitlines()) <= 60
    assert "snakemake.config" not in text


def test_publishing_does_not_reach_torch_or_training():
    figures = [f"respfm.report.figures.{path.stem}" for path in (PACKAGE_ROOT / "report" / "figures").glob("*.py")]
    for rule, modules in (("make_table", []), ("plot_figure", figures), ("write_report", [])):
        files = reached_files(SCRIPTS / f"{rule}.py", modules)
        reached = {path.relative_to(REPOSITORY).as_posix() for path in files}
        assert not [path for path in reached if "/pretrain/" in path or "/m2d/" in path or "/probe/" in path]
        for path in reached:
            assert "import torch" not in (REPOSITORY / path).read_text(), path
