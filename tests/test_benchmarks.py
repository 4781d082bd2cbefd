"""`make bench`: rows are collected from the scripts and put between the marks of docs/benchmarks.md."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import soundfile

REPOSITORY = Path(__file__).resolve().parents[1]


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


def test_cycles_are_cut_by_finding_and_fill_an_input(shared_data, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    gain = importlib.import_module("pretraining_gain")
    monkeypatch.setattr(gain, "ICBHI", shared_data / "real-sample" / "icbhi" / "ICBHI_final_database.zip")
    monkeypatch.setattr(gain, "CYCLES", tmp_path / "cycles")
    gain.cut_cycles()
    counts = {folder.name: len(list(folder.iterdir())) for folder in (tmp_path / "cycles").iterdir()}
    assert counts == {"neither": 787, "crackles": 173, "wheezes": 168, "both": 67}
    lengths = [soundfile.info(path).duration for path in tmp_path.rglob("*.wav")]
    assert min(lengths) > 2.09
    assert max(lengths) < 20
