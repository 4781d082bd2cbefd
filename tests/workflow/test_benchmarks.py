"""`make bench`: rows are collected from the scripts and put between the marks of docs/benchmarks.md."""

import collections
import importlib
import json
import sys
from pathlib import Path

import pandas as pd
import pytest
import soundfile

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def collector(monkeypatch):
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    import run

    yield run
    sys.modules.pop("run")


def test_a_script_runs_and_its_rows_are_collected(collector, monkeypatch, tmp_path):
    monkeypatch.setitem(
        collector.SIZES, "bench_probe", ["--tasks", "T10", "--dim", "8", "--layers", "1", "--runs", "1"]
    )
    rows = collector.run("bench_probe", tmp_path / "rows.jsonl")
    assert [row["script"] for row in rows] == ["bench_probe"]
    assert "T10" in rows[0]["name"]
    assert rows[0]["ratio"] > 0
    assert json.loads((tmp_path / "rows.jsonl").read_text())["measured"].endswith(" s")


def test_only_what_is_between_the_marks_is_replaced(collector, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{collector.BEGIN}old\n{collector.END}after\n")
    row = {"name": "crops", "measured": "2 s", "baseline": "plain 4 s", "ratio": 2.0, "script": "bench_store"}
    measured = collector.render([row], 60.0, 0.1)
    collector.write_page(page, measured)
    collector.write_page(page, measured)
    text = page.read_text()
    assert text == f"before\n{collector.BEGIN}\n{measured}\n{collector.END}after\n"
    assert "| crops | 2 s | plain 4 s | 2 | `bench_store` |" in text
    assert "torch " in text
    page.write_text("no marks\n")
    with pytest.raises(SystemExit, match="put them back"):
        collector.write_page(page, measured)


def test_every_script_reports_and_the_page_has_its_marks(collector):
    scripts = {path.stem: path.read_text() for path in (REPOSITORY / "benchmarks").glob("bench_*.py")}
    scripts.pop("bench_scale", None)  # its table is docs/scale.md
    for name, text in scripts.items():
        assert "from report import report" in text, f"{name} reports no row"
    page = (REPOSITORY / "docs" / "benchmarks.md").read_text()
    assert page.count(collector.BEGIN) == page.count(collector.END) == 1


@pytest.fixture
def gain(monkeypatch):
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    return importlib.import_module("pretraining_gain")


def test_cycles_are_cut_by_part_and_finding_and_fill_an_input(gain, shared_data, monkeypatch, tmp_path):
    monkeypatch.setattr(gain, "ICBHI", shared_data / "real-sample" / "icbhi")
    monkeypatch.setattr(gain, "CYCLES", tmp_path / "cycles")
    gain.cut_cycles()
    paths = list(tmp_path.rglob("*.wav"))
    assert collections.Counter(path.parent.name for path in paths) == {
        "neither": 787,
        "crackles": 173,
        "wheezes": 168,
        "both": 67,
    }
    train, test = ({path.name[:3] for path in paths if part in path.parts} for part in ("train", "test"))
    assert (len(train), len(test), train & test) == (26, 19, set())
    lengths = [soundfile.info(path).duration for path in paths]
    assert min(lengths) > 2.09
    assert max(lengths) < 20


def test_gains_are_paired_by_draw_and_seed(gain):
    rows = pd.MultiIndex.from_tuples([("T10", 0), ("T10", 1)])
    columns = ["real_gain_0", "real_gain_1", "real_start_0", "real_start_1", "logmel_stats"]
    scores = pd.DataFrame([[0.8, 0.7, 0.5, 0.6, 0.7], [0.9, 0.9, 0.6, 0.7, 0.7]], index=rows, columns=columns)
    row = gain.summarise(scores).splitlines()[-1]
    assert row == (
        "| T10 | 0.825 | 0.600 | +0.225 ± 0.025 | +0.300, +0.150 | 0.700 | +0.125 ± 0.075 | +0.150, +0.100 |"
    )
