"""The workflow on the sample of real recordings, from archives to Table 2."""

import pandas as pd
import pytest
import yaml
from workspace import Workspace

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

MODELS = ("logmel_stats", "hubert_random", "m2d_real_random", "m2d_real_sample", "m2d_real_sample_meanpool")


@pytest.fixture(scope="module")
def sample(shared_data, tmp_path_factory):
    """Results of config/real-sample.yaml with a shorter pre-training run."""
    workspace = Workspace(tmp_path_factory.mktemp("real"))
    registry = workspace.root / "config" / "pretraining.yaml"
    entries = yaml.safe_load(registry.read_text())
    entries["runs"]["real_sample"].update(epochs=2, warmup_epochs=1)
    registry.write_text(yaml.safe_dump(entries))
    here = {
        "mirror": [
            {"path": str(shared_data), "urlmap": "URLMAP.csv", "checksums": "MANIFEST.csv"},
            {"path": str(shared_data / "mirror")},
        ],
        "resources": {"threads": 1},
    }
    (workspace.root / "here.yaml").write_text(yaml.safe_dump(here))
    workspace.snakemake("--configfile", "config/real-sample.yaml", "here.yaml")
    return workspace.root / "results" / "real-sample"


def test_tables_and_figures_are_labelled_as_a_sample(sample):
    for name in ("tables/table1.md", "tables/table2.md", "tables/table2_strict.md", "report.html"):
        assert "sample" in (sample / name).read_text().lower(), name
    assert (sample / "figures" / "layers_m2d_real_sample.png").stat().st_size > 1000


def test_every_model_is_scored_on_real_audio(sample):
    for protocol in ("published", "strict"):
        for model in MODELS:
            for task in ("T7", "T8", "T9", "T10"):
                assert len(pd.read_csv(sample / "scores" / protocol / model / f"{task}.csv"))


def test_the_statistics_baseline_hears_something(sample):
    """The lung sounds of T7 differ in bandwidth with the label (see the audit): any model shows that."""
    scores = pd.read_csv(sample / "scores" / "strict" / "logmel_stats" / "T7.csv")
    assert scores["auroc_test"].max() > 0.7


def test_silent_and_empty_coughs_are_quarantined(sample):
    table = pd.read_parquet(sample / "recordings" / "coswara.parquet")
    assert len(table) == 53
    assert (table["quarantine"] != "").sum() == 8


def test_the_header_alone_separates_t7(sample):
    audit = pd.read_csv(sample / "audit" / "metadata_baselines.csv")
    rate = audit[(audit["task"] == "T7") & audit.isin(["sample_rate"]).any(axis=1)]
    assert rate.select_dtypes("number").max(axis=1).max() > 0.9
