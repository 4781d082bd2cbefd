"""Figures: the plotted numbers, the same bytes again, readable without colour, no torch."""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_run import (
    MODELS,
    PAPER,
    REPOSITORY,
    SELECTED,
    STYLE,
    outputs,
    score_frame,
    task_frame,
    write_audit,
    write_embeddings,
    write_history,
    write_scores,
)
from respfm.errors import RespfmError
from respfm.report import paper
from respfm.report.figures import agreement, audit, curves, data_scale, embedding_map, layers
from respfm.report.style import figure_style, move_apart, task_look

TASKS = ["T7", "T8"]
PRINTED = sorted(PAPER.glob("table?.csv"))


def draw(name: str, root: Path, data_kind: str = "synthetic") -> pd.DataFrame:
    """Draw one figure of the made-up run into root/figures and return its csv file."""
    shown = {"data_kind": data_kind, "style": STYLE, "stem": root / "figures" / name}
    scored = {"scores": write_scores(root, TASKS), "models": MODELS} | shown
    if name.startswith("layers_"):
        layers.draw(model=name.removeprefix("layers_"), printed=PRINTED, **scored)
    elif name == "data_scale":
        data_scale.draw(selected=SELECTED, printed=PRINTED, **scored)
    elif name == "agreement":
        agreement.draw(selected=SELECTED, printed=PRINTED, **scored)
    elif name == "audit":
        files = write_audit(root, TASKS)
        files.pop("duplicates")
        audit.draw(**files, mixtures={"published": ["resp"], "strict": []}, selected=SELECTED, **scored)
    elif name == "curves":
        runs = ["scratch", "further"]
        curves.draw(histories=[write_history(root, run) for run in runs], runs=runs, **shown)
    else:
        draw_map(root, name.removeprefix("embedding_map_"), **shown)
    return pd.read_csv(root / "figures" / f"{name}.csv", dtype={"layer": str})


def draw_map(root: Path, model: str, task: str = "T8", **shown) -> None:
    labels = root / "task.parquet"
    task_frame(task).to_parquet(labels)
    embeddings = write_embeddings(root / f"{model}.h5", task_frame("T8"), model)
    embedding_map.draw(task=task, labels=labels, embeddings=embeddings, model=model, models=MODELS, seed=0, **shown)


NAMES = ["layers_m2d", "data_scale", "agreement", "audit", "curves", "embedding_map_m2d"]


@pytest.mark.parametrize("name", NAMES)
def test_four_files_and_the_same_bytes_again(tmp_path, name):
    written = []
    for root in (tmp_path / "first", tmp_path / "second"):
        draw(name, root)
        written.append(outputs(root / "figures"))
    assert sorted(written[0]) == sorted(f"{name}.{suffix}" for suffix in ("pdf", "svg", "png", "csv"))
    assert written[0] == written[1]


@pytest.mark.parametrize(("data_kind", "labelled"), [("synthetic", True), ("sample", True), ("full", False)])
def test_the_csv_names_the_data_and_the_picture_is_labelled(tmp_path, data_kind, labelled):
    assert (draw("agreement", tmp_path, data_kind)["data_kind"] == data_kind).all()
    assert ("#b00020" in (tmp_path / "figures" / "agreement.svg").read_text()) == labelled


def test_layers_hold_means_of_runs_and_the_paper_only_where_it_prints_numbers(tmp_path):
    data = draw("layers_m2d", tmp_path)
    expected = score_frame("m2d", "T7").groupby("layer", sort=False)["auroc_test"].mean()
    drawn = data[data["task"] == "T7"].set_index("layer")["auroc"]
    np.testing.assert_allclose(drawn, expected, atol=1e-6)
    average = data[data["task"] == paper.AVERAGE].set_index("layer")["auroc"]
    np.testing.assert_allclose(average, data[data["task"].isin(TASKS)].groupby("layer", sort=False)["auroc"].mean())
    printed = data.dropna(subset="published")
    assert printed[["task", "layer", "published"]].to_numpy().tolist() == [["T7", "12", 1.0], ["T8", "12", 0.703]]


def test_random_weights_get_no_published_value(tmp_path):
    data = draw("layers_hubert_random", tmp_path)
    assert data["published"].isna().all()
    assert (data["weights"] == "random").all()


def test_layers_of_a_model_without_scores_are_refused(tmp_path):
    with pytest.raises(RespfmError, match="no scores of ast"):
        draw("layers_ast", tmp_path)


def test_data_scale_keeps_the_printed_average_and_leaves_partial_ones_out(tmp_path):
    data = draw("data_scale", tmp_path)
    average = data[data["task"] == paper.AVERAGE]
    assert average["respiratory"].tolist() == [0, 98_889, 211_905, 310_794, 409_683, 508_572]
    assert average["published"].tolist() == [0.782, 0.803, 0.807, 0.811, 0.814, 0.809]
    assert average["reproduced"].isna().all()
    assert data.loc[data["task"] == "T7", "reproduced"].notna().sum() == 1


def test_agreement_has_each_model_and_task_once(tmp_path):
    data = draw("agreement", tmp_path)
    points = sorted(zip(data["model"], data["task"], strict=True))
    assert points == sorted(itertools.product(["m2d", "opera_ct"], TASKS))


def test_audit_shows_test_shares_and_the_best_metadata(tmp_path):
    data = draw("audit", tmp_path)
    shares = data.dropna(subset="same_patient").set_index(["protocol", "task"])
    assert shares.loc[("published", "T7"), ["listed", "same_patient"]].tolist() == [0.66, 0.12]
    assert np.isnan(shares.loc[("strict", "T7"), "listed"])
    assert shares.loc[("strict", "T7"), "same_patient"] == 0
    best = data.dropna(subset="metadata_auroc").set_index("task")
    assert best.loc["T7", ["metadata", "metadata_auroc"]].tolist() == ["device", 0.9]


def test_embedding_map_separates_what_the_embeddings_separate(tmp_path):
    data = draw("embedding_map_m2d", tmp_path)
    assert set(data["model"]) == {"m2d"}
    assert len(data) == 120
    centres = data.groupby("label")[["x", "y"]].agg(["mean", "std"])
    assert abs(centres["x"]["mean"].diff().iloc[-1]) + abs(centres["y"]["mean"].diff().iloc[-1]) > 5


def test_embedding_map_shows_the_layer_of_the_registry(tmp_path, monkeypatch):
    monkeypatch.setitem(MODELS, "m2d", MODELS["m2d"] | {"default_layer": "1"})
    apart = {
        model: np.ptp(draw(f"embedding_map_{model}", tmp_path).groupby("label")["x"].mean())
        for model in ("m2d", "hubert_random")
    }
    assert apart["m2d"] < 0.2 * apart["hubert_random"]


def test_embedding_map_refuses_recordings_without_embedding(tmp_path):
    with pytest.raises(RespfmError, match=r"m2d\.h5: holds no embedding of T9-000 and 119 other recordings of T9"):
        draw_map(tmp_path, "m2d", "T9", data_kind="full", style=STYLE, stem=tmp_path / "figures" / "map")
    assert not (tmp_path / "figures").exists()


def test_every_task_has_its_own_colour_and_its_own_marker():
    with figure_style(STYLE) as colours:
        looks = [task_look(task, paper.TASKS, colours) for task in (*paper.TASKS, paper.AVERAGE)]
    assert len({look["color"] for look in looks}) == len({look["marker"] for look in looks}) == 8
    assert len({str(look["linestyle"]) for look in looks[:7]}) == 7


def test_user_settings_do_not_reach_a_figure(tmp_path):
    import matplotlib

    draw("curves", tmp_path / "plain")
    with matplotlib.rc_context({"font.size": 30, "savefig.dpi": 10}):
        draw("curves", tmp_path / "settings")
    assert outputs(tmp_path / "plain" / "figures") == outputs(tmp_path / "settings" / "figures")


@pytest.mark.parametrize("positions", [[0.0, 0.0, 0.0], [3.0, 1.0, 1.1, 2.9], [0.0, 5.0]])
def test_labels_moved_apart_keep_order_and_distance(positions):
    moved = move_apart(positions, 1.0)
    order = np.argsort(positions, kind="stable")
    assert (np.diff(np.array(moved)[order]) >= 1.0 - 1e-12).all()
    assert np.mean(moved) == pytest.approx(np.mean(positions))


def test_no_module_of_the_report_imports_torch():
    package = REPOSITORY / "workflow" / "respfm" / "report"
    names = [".".join(path.relative_to(package.parents[1]).with_suffix("").parts) for path in package.rglob("*.py")]
    assert len(names) > 15
    code = f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\n"
    subprocess.run([sys.executable, "-c", code + "sys.exit('torch' in sys.modules)"], check=True)


@pytest.mark.parametrize("figure", [data_scale, agreement])
def test_a_run_of_the_strict_protocol_alone_is_drawn_too(tmp_path, figure):
    figure.draw(
        scores=write_scores(tmp_path, TASKS, protocol="strict"),
        models=MODELS,
        selected=SELECTED,
        printed=PRINTED,
        data_kind="full",
        style=STYLE,
        stem=tmp_path / "figures" / "strict",
    )
    assert pd.read_csv(tmp_path / "figures" / "strict.csv")["reproduced"].notna().any()


def test_a_protocol_answers_only_for_its_own_pre_training_lists(tmp_path):
    shares = draw("audit", tmp_path).dropna(subset="listed").groupby("protocol")["listed"].max()
    assert shares["published"] > 0
    assert "strict" not in shares


@pytest.mark.parametrize("runs", [["trained", "start"], ["start"]])
def test_curves_of_a_run_without_epochs_are_empty(tmp_path, runs):
    histories = [write_history(tmp_path, run) for run in runs]
    header = histories[-1].read_text().splitlines()[0]
    histories[-1].write_text(f"{header}\n")
    stem = tmp_path / "figures" / "curves"
    curves.draw(histories=histories, runs=runs, data_kind="synthetic", style=STYLE, stem=stem)
    numbers = pd.read_csv(stem.with_suffix(".csv"), comment="#")
    assert set(numbers["run"]) == {*runs} - {"start"}
    assert stem.with_suffix(".svg").stat().st_size > 0
