"""The embedded demo from nothing to the report, and what runs again when one thing changes."""

import contextlib
import csv
import hashlib
import os
import shutil
from pathlib import Path

import h5py
import pandas as pd
import pytest
from workspace import Workspace

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

MODELS = ("logmel_stats", "hubert_random", "m2d_demo", "m2d_demo_meanpool", "m2d_demo_resp")
TASKS = tuple(f"T{number}" for number in range(5, 12))
AFTER_PUBLISHED_SCORES = {
    "make_table": 3,
    "plot_figure": 3,
    "write_report": 1,
    "all": 1,
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Workspace:
    """The finished demo."""
    workspace = Workspace(tmp_path_factory.mktemp("demo"))
    workspace.snakemake()
    return workspace


@pytest.fixture(scope="module")
def results(demo) -> Path:
    return demo.root / "results" / "demo"


def test_a_dry_run_writes_no_file(tmp_path):
    def files():
        """All but what Snakemake and Python keep for themselves."""
        names = (path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
        return {name for name in names if not {".snakemake", "__pycache__"} & {*name.parts}}

    workspace = Workspace(tmp_path)
    before = files()
    assert workspace.jobs()["all"] == 1
    assert files() == before


def test_every_table_figure_and_report_is_there(results):
    for table in ("table1", *(f"table{number}{suffix}" for number in (2, 3, 4) for suffix in ("", "_strict"))):
        for suffix in ("csv", "md", "tex"):
            text = (results / "tables" / f"{table}.{suffix}").read_text()
            assert "synthetic" in text.lower(), f"{table}.{suffix} is not labelled"
    for figure in ("layers_m2d_demo", "layers_hubert_random", "data_scale", "agreement", "audit", "curves"):
        for suffix in ("pdf", "svg", "png", "csv"):
            assert (results / "figures" / f"{figure}.{suffix}").stat().st_size > 50
    assert "synthetic" in (results / "report.html").read_text().lower()


@pytest.mark.parametrize("protocol", ["published", "strict"])
def test_every_model_task_and_layer_is_scored(results, protocol):
    for model in MODELS:
        for task in TASKS:
            scores = pd.read_csv(results / "scores" / protocol / model / f"{task}.csv")
            assert scores["auroc_test"].between(0, 1).all()
            assert scores["layer"].nunique() == {"logmel_stats": 1, "hubert_random": 6}.get(model, 4)
            assert (scores.groupby("layer").size() == (5 if protocol == "published" else 1)).all()


def test_curation_counts_are_told(results):
    threshold = pd.read_parquet(results / "recordings" / "coughvid.parquet")["cough_detected"]
    mixture = pd.read_parquet(results / "mixtures" / "demo_as_resp.parquet")
    coughs = mixture[mixture["dataset"] == "coughvid"]
    assert 0 < len(coughs) < len(threshold)
    assert (mixture.loc[mixture["dataset"] == "icbhi", "repeats"] > 1).all()
    quarantined = pd.read_parquet(results / "recordings" / "coswara.parquet")["quarantine"]
    assert (quarantined != "").sum() >= 1


def test_strict_mixture_has_no_test_recording(results):
    mixture = pd.read_parquet(results / "mixtures" / "demo_as_resp_strict.parquet")
    for task in TASKS:
        table = pd.read_parquet(results / "tasks" / "strict" / f"{task}.parquet")
        test = set(table.loc[table["split"] == "test", "recording"])
        assert not test & set(mixture.loc[mixture["dataset"] == table.attrs["dataset"], "recording"])


def test_embeddings_hold_every_layer_with_their_ids(results):
    with h5py.File(results / "embeddings" / "strict" / "m2d_demo" / "kauh.h5") as file:
        layers = list(file.attrs["layers"])
        assert len(layers) == 4
        assert {file[f"layers/{layer}"].shape[0] for layer in layers} == {len(file["ids"])}


def test_a_random_model_is_called_random(results):
    rows = csv.DictReader(line for line in (results / "tables" / "table2.csv").open() if not line.startswith("#"))
    marked = [row for row in rows if "HuBERT (small" in " ".join(filter(None, row.values()))]
    assert marked
    assert all("random" in " ".join(filter(None, row.values())).lower() for row in marked)


def test_snakemakes_own_report_works(demo):
    demo.snakemake("--report", "snakemake-report.zip")
    assert (demo.root / "snakemake-report.zip").stat().st_size > 100_000


def test_a_second_run_does_nothing(demo):
    assert demo.jobs() == {}


def test_touching_every_source_file_runs_nothing(demo):
    for path in demo.root.rglob("*"):
        if path.is_file() and not path.is_relative_to(demo.root / "results") and ".snakemake" not in path.parts:
            os.utime(path)
    assert demo.jobs() == {}


CHANGES = {
    "a comment in a module": (
        ("workflow/respfm/probe/published.py", "\nimport ", "\n# A comment.\nimport "),
        {},
    ),
    "a line of code in the published probe": (
        ("workflow/respfm/probe/published.py", "\nimport ", "\nEXTRA = 1\nimport "),
        {"probe_published": 35, **AFTER_PUBLISHED_SCORES, "plot_figure": 5},
    ),
    "a line of code in one encoder": (
        ("workflow/respfm/encoders/speech.py", "\nimport ", "\nEXTRA = 1\nimport "),
        {
            "extract_embeddings": 10,
            "probe_published": 7,
            "probe_strict": 7,
            **AFTER_PUBLISHED_SCORES,
            "plot_figure": 4,
            "make_table": 6,
            "compare_models": 1,
        },
    ),
    "one model's entry": (
        ("config/models.yaml", "random_seed: 0", "random_seed: 1"),
        {
            "extract_embeddings": 10,
            "probe_published": 7,
            "probe_strict": 7,
            **AFTER_PUBLISHED_SCORES,
            "plot_figure": 4,
            "make_table": 6,
            "compare_models": 1,
        },
    ),
    "one task's batch size": (
        ("config/tasks.yaml", "  epochs: 50\n", "  epochs: 40\n"),
        {"probe_published": 5, **AFTER_PUBLISHED_SCORES, "plot_figure": 5},
    ),
    "the probe's epochs": (
        ("config/config.yaml", "device: cpu\n", "probe: {epochs: 7}\ndevice: cpu\n"),
        {"probe_published": 35, **AFTER_PUBLISHED_SCORES, "plot_figure": 5},
    ),
    "the figures' style": (
        ("resources/style/respfm.mplstyle", "\n", "\naxes.linewidth: 3\n"),
        {"plot_figure": 13, "write_report": 1, "all": 1},
    ),
    "one figure's code": (
        ("workflow/respfm/report/figures/curves.py", "\nimport ", "\nEXTRA = 1\nimport "),
        {"plot_figure": 1, "write_report": 1, "all": 1},
    ),
    "the last pre-training run": (
        (
            "config/pretraining.yaml",
            "    init_from: {run: demo_as}\n",
            "    init_from: {run: demo_as}\n    strict: {seed: 9}\n",
        ),
        {
            "pretrain_encoder": 1,
            "extract_embeddings": 5,
            "probe_strict": 7,
            "make_table": 3,
            "compare_models": 1,
            "plot_figure": 1,
            "write_report": 1,
            "all": 1,
        },
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_runs_exactly_what_depends_on_it(demo, name):
    edit, expected = CHANGES[name]
    with demo.edited(*edit):
        assert demo.jobs() == expected
    assert demo.jobs() == {}


def test_an_edit_of_what_surrounds_a_job_or_of_an_error_text_runs_nothing(demo):
    library = demo.root / "workflow" / "respfm"
    plumbing = [*(library / "jobs").glob("*.py"), library / "errors.py"]
    edits = [(path, text := path.read_text(), f"{text}\nEXTRA = 1\n") for path in plumbing]
    edits.append((library / "pretrain" / "trainer.py", "gradient is not finite", "gradient is infinite"))
    with contextlib.ExitStack() as stack:
        for edit in edits:
            stack.enter_context(demo.edited(*edit))
        assert demo.jobs() == {}


def test_an_update_of_a_parser_that_gives_the_same_recordings_runs_nothing_after_them(demo):
    first = ("--until", "compute_statistics")
    with demo.edited("workflow/respfm/curate/icbhi.py", "\nimport ", "\nEXTRA = 1\nimport "):
        assert "pretrain_encoder" in demo.jobs()
        demo.snakemake(*first)
        assert demo.jobs() == {}
    demo.snakemake(*first)
    assert demo.jobs() == {}


def test_a_lost_shard_that_is_made_alone_runs_nothing_after_it(demo, results):
    shard = results / "logmel" / "esc10" / "000.h5"
    before = shard.read_bytes()
    shard.unlink()
    demo.snakemake("--", str(shard.relative_to(demo.root)))
    assert shard.read_bytes() == before
    assert demo.jobs() == {}


def test_results_behind_a_link_of_their_old_name_run_nothing(demo, results, tmp_path):
    results.rename(tmp_path / "moved")
    results.symlink_to(tmp_path / "moved")
    try:
        assert demo.jobs() == {}
    finally:
        results.unlink()
        (tmp_path / "moved").rename(results)


def test_one_recording_runs_its_data_set_again(demo, results):
    """A recording replaced in the mirror of KAUH: its data set, its task, and nothing that was pre-trained."""
    manifest = results / "mirror" / "kauh" / "MANIFEST.csv"
    text = manifest.read_text()
    manifest.write_text(text.replace(text.splitlines()[1].split(",")[1], "0" * 64))
    expected = {
        "retrieve_archive": 1,
        "curate_recordings": 1,
        "build_task": 2,
        "audit_leakage": 1,
        "audit_metadata": 1,
        "audit_duplicates": 1,
        "cache_waveforms": 1,
        "extract_embeddings": 10,
        "probe_published": 5,
        "probe_strict": 5,
        "make_table": 7,
        "compare_models": 1,
        "plot_figure": 6,
        "write_report": 1,
        "all": 1,
    }
    assert demo.jobs() == expected
    failed = demo.snakemake(str((results / "raw/kauh/.sources.json").relative_to(demo.root)), check=False)
    assert failed.returncode
    assert "sha256" in failed.stdout + failed.stderr
    assert not (results / "raw" / "kauh" / ".sources.json").exists()
    manifest.write_text(text)
    demo.snakemake()
    assert demo.jobs() == {}


OWN_ENCODER = """
import torch


class Loudness:
    sample_rate = 8000
    layers = ["rms"]
    default_layer = "rms"

    def __init__(self, checkpoint=None):
        pass

    def embed(self, waveforms, lengths=None):
        return {"rms": waveforms.square().mean(dim=1, keepdim=True).sqrt()}
"""


def test_a_model_of_ones_own_runs_alone(demo, results):
    (demo.root / "my_encoder.py").write_text(OWN_ENCODER)
    entry = "\nmine:\n  title: Loudness\n  family: my_encoder:Loudness\n  weights: none\n\nhubert_random:"
    with (
        demo.edited("config/models.yaml", "\nhubert_random:", entry),
        demo.edited("config/config.yaml", "models: [", "models: [mine, "),
    ):
        jobs = demo.jobs()
        assert (jobs["extract_embeddings"], jobs["probe_published"], jobs["probe_strict"]) == (10, 7, 7)
        assert not {"pretrain_encoder", "cache_logmel", "build_task"} & set(jobs)
        assert jobs["plot_figure"] == 3
        demo.snakemake("results/demo/scores/strict/mine/T10.csv")
    assert (results / "scores" / "strict" / "mine" / "T10.csv").is_file()
    assert demo.jobs() == {}


def test_a_job_whose_code_is_edited_while_it_runs_is_made_again(demo):
    edit = 'Path(__file__).write_text(Path(__file__).read_text() + "\\nEDITED = True\\n")'
    text = OWN_ENCODER.replace("import torch", "from pathlib import Path\n\nimport torch")
    (demo.root / "own_editor.py").write_text(text.replace("        pass\n", f"        {edit}\n"))
    entry = "\neditor:\n  title: Editor\n  family: own_editor:Loudness\n  weights: none\n\nhubert_random:"
    target = "results/demo/embeddings/strict/editor/kauh.h5"
    with (
        demo.edited("config/models.yaml", "\nhubert_random:", entry),
        demo.edited("config/config.yaml", "models: [", "models: [editor, "),
    ):
        demo.snakemake(target)
        assert "EDITED" in (demo.root / "own_editor.py").read_text()
        assert demo.jobs(target) == {"extract_embeddings": 1}


def test_a_failed_upstream_job_never_leaves_a_stale_figure(demo, results):
    """What Snakemake leaves after a failed rerun: the old output is gone and everything after it is old."""
    (results / "pretraining" / "demo_as_resp" / "encoder.safetensors").unlink()
    assert demo.jobs()["pretrain_encoder"] == 1
    demo.snakemake("results/demo/pretraining/demo_as_resp/encoder.safetensors")


def test_the_same_bytes_with_other_core_counts(demo, results):
    encoder = results / "pretraining" / "demo_as" / "encoder.safetensors"
    shard = results / "logmel" / "icbhi" / "000.h5"
    embeddings = results / "embeddings" / "strict" / "m2d_demo" / "icbhi.h5"
    scores = results / "scores" / "published" / "m2d_demo" / "T7.csv"
    paths = [shard, encoder, embeddings, scores]
    before = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    shutil.rmtree(encoder.parent)
    for path in paths:
        path.unlink(missing_ok=True)
    demo.snakemake("--cores", "1", *(str(path.relative_to(demo.root)) for path in paths))
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths] == before
