"""Wrong configurations, each through the command that a user would type: the message names the thing and the fix.

What Snakemake complains about itself before it reads any of this project (a missing --cores, an unknown profile) is
here too, so that a new version of it is noticed.
"""

import dataclasses
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from respfm.cli.main import main
from respfm.config.reading import read_yaml
from respfm.logmel.mixture import Quirk
from workspace import REPOSITORY, run_snakemake

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
        return run_snakemake(root, *arguments)

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
    done = run_snakemake(tmp_path, "--cores", "1", "--dry-run", "--snakefile", "part/Snakefile")
    assert done.returncode
    assert "part/workflow/scripts is not here: clone respfm whole" in done.stdout + done.stderr


@pytest.mark.workflow
def test_windows_line_ends_and_a_byte_order_mark_are_no_mistake(tmp_path):
    root = make_clone(tmp_path)
    (root / "my.yaml").write_bytes(b"\xef\xbb\xbf" + DEMO.replace("\n", "\r\n").encode())
    done = run_snakemake(root, "--cores", "1", "--dry-run", "--quiet", "--configfile", "my.yaml")
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
