"""The table behind `respfm plan`: sizes, states, work by hand and GPU hours."""

import json
from pathlib import Path

import pytest
from respfm.cli.needs import (
    CORE_FLOPS,
    SUSTAINED_FLOPS,
    dataset_needs,
    describe_needs,
    run_needs,
    waveform_gigabytes,
)
from respfm.config.plan import Plan
from respfm.config.settings import load_settings
from respfm.m2d.config import M2DConfig
from respfm.pretrain.flops import sample_flops

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def plan(tmp_path):
    def build(**changes) -> Plan:
        config = {
            "data_kind": "full",
            "results": str(tmp_path / "results"),
            "downloads": str(tmp_path / "downloads"),
            "protocols": ["published"],
            "tasks": ["T5", "T8", "T10"],
            "models": ["logmel_stats"],
            "curation": {"min_cough_detected": 0.95, "inclusive": False},
            "runs": ["scratch_as_resp_400k", "scratch_librispeech"],
        }
        return Plan(load_settings(config | changes, REPOSITORY))

    return build


def needs(plan: Plan) -> dict:
    return {need.name: need for need in dataset_needs(plan)}


def test_sizes(plan):
    found = needs(plan())
    assert set(found) == {
        "coughvid", "coswara", "kauh", "audioset", "hf_lung", "icbhi", "librispeech", "opera",
    }  # fmt: skip
    assert found["librispeech"].download == pytest.approx((6_387_309_499 + 23_049_477_885 + 30_593_501_606) / 1e9)
    assert found["coughvid"].download == found["coughvid"].missing == pytest.approx(0.951442487)
    # 960.9 h in frames of 10 ms, 80 bands, 2 bytes each; Coswara is not pre-trained on here.
    assert found["librispeech"].logmel == pytest.approx(960.9 * 3600 * 100 * 80 * 2 / 1e9)
    assert found["coswara"].logmel == 0
    # Clips of HF_Lung are longer than the shortest stored; AudioSet is stored at least 6.1 s for each clip.
    assert found["audioset"].logmel > 2_005_132 * 6.1 * 100 * 80 * 2 / 1e9


def test_what_is_here_already(plan, tmp_path):
    downloads = tmp_path / "downloads" / "coswara"
    downloads.mkdir(parents=True)
    (downloads / "combined_data.csv").write_text("")
    host = tmp_path / "mirror" / "zenodo.org" / "records" / "4048312" / "files"
    host.mkdir(parents=True)
    (host / "public_dataset.zip").write_bytes(b"")
    ready = tmp_path / "results" / "raw" / "kauh"
    ready.mkdir(parents=True)
    (ready / ".sources.json").write_text(json.dumps({"root": "."}))
    mirror = [{"path": str(tmp_path / "mirror")}]
    found = needs(plan(mirror=mirror, local={"audioset": str(tmp_path)}))
    assert found["coughvid"].state == "in a mirror or downloaded"
    assert found["coughvid"].missing == found["kauh"].missing == found["audioset"].missing == 0
    assert found["kauh"].state == "ready"
    assert found["audioset"].state == f"local: {tmp_path}"
    assert found["coswara"].state == "1 of 156 files here, to download"
    assert 0 < found["coswara"].missing < found["coswara"].download
    offline = needs(plan(mirror=mirror, offline=True))
    assert offline["coswara"].state == "1 of 156 files here, missing while `offline` is set"
    partial = needs(plan(mirror=mirror, offline=True, allow_partial=True, local={"audioset": "/nowhere"}))
    assert partial["coswara"].state == "1 of 156 files here, the rest is left out"
    assert partial["audioset"].state == "local: /nowhere is missing"
    assert "segment" in partial["audioset"].how


def test_work_by_hand(plan):
    audioset = needs(plan())["audioset"]
    assert audioset.state == "by hand"
    assert "segment" in audioset.how
    assert "`local: {audioset: <folder>}`" in audioset.how


def test_gpu_hours(plan):
    runs = {run.name: run for run in run_needs(plan())}
    run = runs["scratch_as_resp_400k"]
    assert run.items == 2_005_132 + 310_794
    assert run.epochs == 300
    assert run.gpu_hours == pytest.approx(run.items * 300 * sample_flops(M2DConfig()) / SUSTAINED_FLOPS / 3600)
    assert runs["scratch_librispeech"].items == 281_241
    # One step of batch 8 took 7.54 s on one core (facts of the reference): the stated core speed agrees with it.
    assert 8 * sample_flops(M2DConfig()) / CORE_FLOPS == pytest.approx(7.54, rel=0.15)


def test_waveforms_of_every_rate_once(plan):
    found = plan(models=["logmel_stats", "htsat", "ast", "openl3"])
    hours = sum(found.settings.datasets[name]["approximate"]["hours"] for name in ("coughvid", "coswara", "kauh"))
    assert waveform_gigabytes(found) == pytest.approx(hours * 3600 * 4 * (16000 + 32000 + 48000) / 1e9)
    assert "the folder may be deleted when all embeddings are there" in describe_needs(found)


def test_text(plan):
    text = describe_needs(plan())
    assert "To get by hand:\n- audioset: " in text
    assert "TFLOP/s" in text
    lines = text.splitlines()
    header = next(line for line in lines if "download" in line and "log-mel" in line)
    row = next(line for line in lines if line.startswith("librispeech"))
    assert row.index("60.0") + len("60.0") == header.index("download") + len("download")
    assert "nothing to download" in describe_needs(plan(demo_corpus={}))
