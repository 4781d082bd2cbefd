"""Tables: reproduced, published and difference, nothing blank, nothing invented, nothing from broken files."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_run import MODELS, PAPER, SELECTED, outputs, score_frame, task_frame, write_scores, write_tasks
from respfm.errors import RespfmError
from respfm.probe.uncertainty import MIN_PATIENTS
from respfm.report import paper
from respfm.report.latex import latex
from respfm.report.markdown import markdown as markdown_of
from respfm.report.results import distinct_cells
from respfm.report.scores import read_scores
from respfm.report.shown import Shown
from respfm.report.tables import make_table, read_csv, table_view

TASKS = ["T7", "T8", "T9", "T10"]


def make(root: Path, number: int = 2, protocol: str = "published", tasks=TASKS, models=MODELS, selected=SELECTED,
         data_kind: str = "full", metadata: Path | None = None) -> pd.DataFrame:  # fmt: skip
    stem = root / "tables" / f"table{number}_{protocol}"
    make_table(
        number,
        protocol,
        Shown(models, selected, PAPER, data_kind),
        scores=write_scores(root, tasks, selected, protocol),
        task_tables=write_tasks(root, tasks),
        stem=stem,
        metadata_baselines=metadata,
    )
    return pd.read_csv(stem.with_name(f"{stem.name}.csv"), dtype={"label": str})


def cell(frame: pd.DataFrame, label: str, task: str) -> pd.Series:
    found = distinct_cells(frame)
    return found[(found["label"] == label) & (found["task"] == task)].squeeze()


def markdown(root: Path, number: int = 2, protocol: str = "published") -> list[str]:
    return (root / "tables" / f"table{number}_{protocol}.md").read_text().splitlines()


def test_a_cell_is_mean_std_and_difference_of_the_default_layer(tmp_path):
    frame = make(tmp_path)
    scores = score_frame("m2d", "T8")
    runs = scores.loc[scores["layer"] == "12", "auroc_test"].to_numpy()
    found = cell(frame, "16. M2D", "T8")
    assert found["layer"] == "12"
    assert found["reproduced"] == pytest.approx(runs.mean(), abs=1e-6)
    assert found["reproduced_std"] == pytest.approx(np.std(runs), abs=1e-6)
    assert found["published"] == 0.703
    assert found["difference"] == pytest.approx(runs.mean() - 0.703, abs=1e-6)


def test_the_csv_holds_every_run_once(tmp_path):
    frame = make(tmp_path)
    runs = frame[(frame["label"] == "16. M2D") & (frame["task"] == "T8")]
    assert runs["run"].tolist() == [0, 1, 2, 3, 4]
    expected = score_frame("m2d", "T8").query("layer == '12'")["auroc_test"]
    np.testing.assert_allclose(runs["auroc"], expected, atol=1e-6)


def test_nothing_is_blank_every_missing_number_has_a_reason(tmp_path):
    frame = make(tmp_path)
    missing = frame[frame["reproduced"].isna()]
    assert len(missing) > 100
    assert missing["status"].str.startswith("not run: needs ").all()
    assert cell(frame, "16. M2D", "T5")["status"] == "not run: needs COUGHVID"
    assert cell(frame, "1. AST", "T7")["status"] == (
        "not run: needs the checkpoint ast_audioset.pth (350 MB), then ast among the config's models"
    )
    assert cell(frame, "3. HTS-AT", "T7")["status"] == "not run: needs a model with paper_row {table: 2, row: 3}"
    assert cell(frame, "M2D+Resp", "T7")["status"].startswith("not run: needs the pre-training run resp")
    for line in markdown(tmp_path):
        if line.startswith("|") and "***" not in line:
            numbers = line.strip("|").split("|")[2:-1]
            assert all(text.strip() for text in numbers)


def test_an_average_over_some_tasks_says_so_and_compares_like_with_like(tmp_path):
    found = cell(make(tmp_path), "16. M2D", "Avg")
    assert found["status"] == "average of 4 of 7 tasks"
    assert found["published"] == pytest.approx(np.mean([1.000, 0.703, 0.905, 0.756]), abs=1e-6)
    complete = cell(make(tmp_path, tasks=list(paper.TASKS)), "16. M2D", "Avg")
    assert complete["status"] == "ok"
    assert complete["published"] == 0.782


def test_random_weights_stand_apart_and_leave_the_printed_row_empty(tmp_path):
    frame = make(tmp_path)
    assert cell(frame, "5. HuBERT Layer#7", "T7")["status"].startswith("not run")
    random = frame[frame["model"] == "hubert_random"]
    assert random["section"].str.startswith("Random weights").all()
    assert random["published"].isna().all()
    assert any("HuBERT (random weights)" in line for line in markdown(tmp_path))


def test_two_models_for_one_row_are_both_shown(tmp_path):
    models = MODELS | {"mine": MODELS["m2d"] | {"title": "My M2D"}}
    frame = make(tmp_path, models=models, selected=[*SELECTED, "mine"])
    assert cell(frame, "16. M2D", "T7")["model"] == "m2d"
    assert cell(frame, "My M2D", "T7")["published"] == 1.0


def test_printed_rows_keep_their_order_and_sections(tmp_path):
    frame = distinct_cells(make(tmp_path))
    printed = frame[frame["row"].notna() & (frame["task"] == "Avg")]
    assert printed["row"].tolist() == list(range(1, 23))
    assert frame["section"].iloc[-1] == "Baselines without pre-training."


def test_asterisks_and_bold_are_computed_from_this_run(tmp_path):
    models = MODELS | {"m2d": MODELS["opera_ct"], "opera_ct": MODELS["m2d"]}
    frame = distinct_cells(make(tmp_path, selected=["m2d", "opera_ct", "m2d_tiny"], models=models))
    reference = frame[frame["label"] == "20. OPERA-CT"].set_index("task")["reproduced"].round(3)
    shown = frame[frame["reproduced"].notna()]
    better = shown["reproduced"].round(3) > shown["task"].map(reference)
    assert better.any()
    assert (shown["better"] == better).all()
    ranked = shown[shown["row"].notna()].groupby("task")["reproduced"].max().round(3)
    assert (shown["best"] == (shown["reproduced"].round(3) >= shown["task"].map(ranked))).all()


@pytest.mark.parametrize(("data_kind", "judged"), [("full", True), ("sample", False), ("synthetic", False)])
def test_agreement_is_judged_on_full_data_only(tmp_path, data_kind, judged):
    frame = make(tmp_path, data_kind=data_kind)
    assert frame["tolerance"].notna().any() == judged
    assert ("!" in "".join(line for line in markdown(tmp_path) if line.startswith("|"))) == judged


@pytest.mark.parametrize(("data_kind", "badge"), [("synthetic", "SYNTHETIC"), ("sample", "SAMPLE"), ("full", "FULL")])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_every_file_says_what_the_data_are(tmp_path, data_kind, badge, number):
    frame = make(tmp_path, number, data_kind=data_kind)
    assert (frame["data_kind"] == data_kind).all()
    for suffix in (".md", ".tex"):
        assert badge in (tmp_path / "tables" / f"table{number}_published{suffix}").read_text()


def test_strict_shows_intervals_the_chosen_layer_and_counts(tmp_path):
    metadata = tmp_path / "metadata_baselines.csv"
    rows = [("strict", "T7", "device", 0.9, 40), ("strict", "T7", "patient", 1.0, 40),
            ("strict", "T7", "date", 0.7, 40), ("published", "T7", "date", 0.99, 40)]  # fmt: skip
    pd.DataFrame(rows, columns=["protocol", "task", "column", "auroc_test", "n_test"]).to_csv(metadata, index=False)
    frame = make(tmp_path, protocol="strict", metadata=metadata)
    found = cell(frame, "16. M2D", "T7")
    assert found["high"] > found["reproduced"] > found["low"]
    assert (found["n_test"], found["patients_test"]) == (40, 20)
    baseline = cell(frame, "Metadata only", "T7")
    assert (baseline["layer"], baseline["reproduced"]) == ("device", 0.9)
    text = markdown(tmp_path, protocol="strict")
    assert any("Test set" in line and "40 / 20" in line for line in text)
    assert any("| interval |" in line and "[0.654, 0.764] layer 12" in line for line in text)
    assert any("| details |" in line and "0.41 / 0.06 / 0.001" in line for line in text)
    assert "details" not in (tmp_path / "tables" / "table2_strict.tex").read_text().lower()
    assert not frame["better"].any()


def test_too_few_patients_leave_the_layer_and_no_interval(tmp_path):
    paths = write_scores(tmp_path, TASKS, ["m2d"], "strict")
    for path in paths:
        damaged(path, lambda frame: frame.__setitem__("auroc_low", np.nan))
        damaged(path, lambda frame: frame.__setitem__("auroc_high", np.nan))
    stem = tmp_path / "tables" / "table2_strict"
    shown = Shown(MODELS, ["m2d"], PAPER, "full")
    make_table(2, "strict", shown, scores=paths, task_tables=write_tasks(tmp_path, TASKS), stem=stem)
    text = stem.with_suffix(".md").read_text()
    assert "| no interval, layer 12 |" in text
    assert "No interval: a class has fewer than five patients in the test set" in text
    assert MIN_PATIENTS == 5


def test_weights_pre_trained_on_test_data_are_marked_and_never_best(tmp_path):
    models = MODELS | {"opera_ct": MODELS["opera_ct"] | {"pretraining_overlap": ["T7"]}}
    plain, marked = (make(tmp_path / name, protocol="strict", models=m) for name, m in (("a", MODELS), ("b", models)))
    assert cell(plain, "20. OPERA-CT", "T7")["best"]
    for task, overlaps in (("T7", True), ("T8", False), ("Avg", True)):
        found = cell(marked, "20. OPERA-CT", task)
        assert (found["heard_test"], found["best"] and overlaps) == (overlaps, False)
    assert cell(marked, "16. M2D", "T7")["best"]
    assert not cell(make(tmp_path / "c", models=models), "20. OPERA-CT", "T7")["heard_test"]
    for suffix, mark in ((".md", "†"), (".tex", r"\dag{}")):
        texts = [(tmp_path / name / "tables" / f"table2_strict{suffix}").read_text() for name in ("a", "b")]
        assert [mark in text for text in texts] == [False, True]


def test_of_two_models_for_one_row_each_table_shows_the_one_whose_entry_names_it(tmp_path):
    released = {"title": "Released", "family": "m2d", "weights": "published", "paper_row": {"table": 2, "row": 22}}
    own = MODELS["m2d_resp"] | {"title": "Own"}
    run = {"models": MODELS | {"released": released, "m2d_resp": own}, "selected": ["released", "m2d_resp"]}
    for number, label, model in ((2, "M2D+Resp", "released"), (4, "Fur: AS+Resp 400K (M2D+Resp)", "m2d_resp")):
        assert cell(make(tmp_path, number, **run), label, "T7")["model"] == model
    alone = make(tmp_path, 4, models=run["models"], selected=["released"])
    assert cell(alone, "Fur: AS+Resp 400K (M2D+Resp)", "T7")["model"] == "released"


def test_the_tolerance_of_an_average_follows_from_those_of_its_tasks(tmp_path):
    cells = distinct_cells(make(tmp_path)).query("label == '16. M2D'").set_index("task")
    variances = cells["reproduced_std"] ** 2 + cells["published_std"] ** 2
    expected = max(0.01, 2 * variances[TASKS].sum() ** 0.5 / len(TASKS))
    assert cells.loc["Avg", "tolerance"] == pytest.approx(expected, abs=1e-6)
    assert expected > 0.01


def test_markdown_rows_have_one_width_and_labels_are_escaped(tmp_path):
    models = MODELS | {"m2d_tiny": MODELS["m2d_tiny"] | {"title": "a|b *c* <script>"}}
    make(tmp_path, models=models)
    table = [line for line in markdown(tmp_path) if line.startswith("|")]
    widths = {line.replace(r"\|", "").count("|") for line in table}
    assert widths == {12}
    assert any(r"a\|b \*c\* \<script\>" in line for line in table)


def test_latex_rows_have_one_width_and_special_characters_are_escaped(tmp_path):
    models = MODELS | {"m2d_tiny": MODELS["m2d_tiny"] | {"title": "50 % & $x$_1"}}
    make(tmp_path, models=models)
    text = (tmp_path / "tables" / "table2_published.tex").read_text()
    assert r"50 \% \& \$x\$\_1 (own weights)" in text
    body = text.split(r"\toprule")[1].split(r"\bottomrule")[0].replace(r"\&", "")
    for row in body.split(r"\\")[:-1]:
        spanned = [int(part.split("}")[0]) - 1 for part in row.split(r"\multicolumn{")[1:]]
        assert row.count("&") + sum(spanned) == 9
    assert body.count(r"\textit{") >= 9
    assert r"\textbf{1.000 $\pm$0.000*}" in body


def test_table_1_counts_classes_beside_the_paper(tmp_path):
    frame = make(tmp_path, 1)
    smokers = frame[(frame["task"] == "T8") & (frame["label"].astype(int) == 1)].squeeze()
    members = task_frame("T8").query("label == 1")
    assert smokers["reproduced"] == len(members)
    assert smokers["difference"] == len(members) - 201
    assert [smokers[split] for split in ("train", "val", "test")] == members["split"].value_counts()[
        ["train", "val", "test"]
    ].tolist()
    assert smokers["patients"] == members["patient"].nunique()
    covid = frame[frame["task"] == "T5"]
    assert covid["reproduced"].isna().all()
    assert (covid["status"] == "not run: needs COUGHVID").all()


def test_a_task_of_ones_own_gets_a_column_and_stays_out_of_the_average(tmp_path):
    frame = make(tmp_path, tasks=[*TASKS, "wheeze"])
    assert cell(frame, "16. M2D", "wheeze")["reproduced"] > 0
    assert pd.isna(cell(frame, "16. M2D", "wheeze")["published"])
    assert cell(frame, "16. M2D", "Avg")["tasks_averaged"] == 4
    assert len(make(tmp_path, 1, tasks=["wheeze"]).query("task == 'wheeze'")) == 2


def test_the_csv_of_the_tasks_gives_the_same_table_again(tmp_path):
    make(tmp_path, 1, tasks=[*TASKS, "wheeze"])
    stem = tmp_path / "tables" / "table1_published"
    view = table_view(read_csv(stem.with_suffix(".csv")))
    assert markdown_of(view) == stem.with_suffix(".md").read_text()
    assert latex(view) == stem.with_suffix(".tex").read_text()


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_the_same_scores_give_the_same_bytes(tmp_path, number):
    written = []
    for name in ("first", "second"):
        make(tmp_path / name, number)
        written.append(outputs(tmp_path / name / "tables"))
    assert written[0] == written[1]


def damaged(path: Path, change) -> Path:
    frame = pd.read_csv(path)
    change(frame)
    frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.__setitem__("task", "T99"), "belongs to task 'T99', which this run does not know"),
        (lambda frame: frame.__setitem__("auroc_test", np.nan), "AUROC that is missing or outside"),
        (lambda frame: frame.__setitem__("auroc_test", 1.2), "AUROC that is missing or outside"),
        (lambda frame: frame.pop("default_layer"), "lacks the columns default_layer"),
        (lambda frame: frame.__setitem__("default_layer", False), "does not mark exactly one layer"),
        (lambda frame: frame.__setitem__("run", [9, *frame["run"][1:]]), "does not hold the same runs"),
        (lambda frame: frame.__setitem__("model", [*["m2d"] * 59, "ast"]), "mixes several values in column 'model'"),
    ],
)
def test_a_broken_score_file_is_named_and_no_table_is_made(tmp_path, change, message):
    paths = write_scores(tmp_path, TASKS, ["m2d"])
    damaged(paths[2], change)
    shown, tasks = Shown(MODELS, ["m2d"], PAPER, "full"), write_tasks(tmp_path, TASKS)
    with pytest.raises(RespfmError, match=message) as caught:
        make_table(2, "published", shown, scores=paths, task_tables=tasks, stem=tmp_path / "tables" / "table2")
    assert str(paths[2]) in str(caught.value)
    assert "Remove it and run again" in str(caught.value)
    assert not (tmp_path / "tables").exists()


def test_a_score_file_cut_anywhere_is_refused(tmp_path):
    path = write_scores(tmp_path, ["T7"], ["m2d"])[0]
    whole = path.read_bytes()
    lines = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    for length in sorted({*range(0, len(whole), 97), *lines[:-1], len(whole) - 1}):
        path.write_bytes(whole[:length])
        with pytest.raises(RespfmError, match="no table or figure is made from it"):
            read_scores([path])


def test_an_unknown_table_or_data_kind_is_refused(tmp_path):
    with pytest.raises(RespfmError, match="no Table 5"):
        make(tmp_path, 5)
    with pytest.raises(RespfmError, match="data kind 'real' is unknown; it must be one of synthetic, sample, full"):
        make(tmp_path, data_kind="real")
