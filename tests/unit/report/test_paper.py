"""The typed numbers of the paper, checked against what the paper says about them."""

import pandas as pd
import pytest
from report_run import PAPER
from respfm.errors import RespfmError
from respfm.report import paper

ROWS = {2: 22, 3: 7, 4: 9}


def results(number: int) -> pd.DataFrame:
    return paper.read_results(PAPER, number)


@pytest.mark.parametrize(("number", "rows"), ROWS.items())
def test_every_row_has_all_tasks_with_deviations_and_an_average(number, rows):
    printed = results(number)
    assert printed["row"].unique().tolist() == list(range(1, rows + 1))
    for _, row in printed.groupby("row"):
        assert row["task"].tolist() == [*paper.TASKS, paper.AVERAGE]
        assert row["std"].notna().tolist() == [True] * 7 + [False]
        assert row["mean"].between(0, 1).all()


@pytest.mark.parametrize("number", ROWS)
def test_averages_agree_with_the_printed_average(number):
    """Seven means and the average are each rounded to three decimals: at most 0.001 apart."""
    for _, row in results(number).groupby("row"):
        mean = row.loc[row["task"] != paper.AVERAGE, "mean"].mean()
        printed = row.loc[row["task"] == paper.AVERAGE, "mean"].item()
        assert abs(mean - printed) <= 0.001


def test_asterisks_mean_better_than_opera_ct_but_for_two_cells():
    """ATST-Clip misses its marks on T7 and T10. No other cell disagrees."""
    printed = results(2)
    reference = printed[printed["key"] == "opera_ct"].set_index("task")["mean"]
    better = printed["mean"] > printed["task"].map(reference)
    wrong = printed[better != printed["asterisk"]]
    assert list(zip(wrong["key"], wrong["task"], strict=True)) == [("atst_clip", "T7"), ("atst_clip", "T10")]


@pytest.mark.parametrize("number", [2, 4])
def test_bold_is_the_best_of_each_column(number):
    printed = results(number)
    ranked = printed[printed["row"] <= 21] if number == 2 else printed
    best = ranked["mean"] == ranked.groupby("task")["mean"].transform("max")
    assert (best == ranked["bold"]).all()


def test_rows_that_are_printed_twice_hold_the_same_numbers():
    everything = pd.concat(results(number) for number in ROWS)
    assert len(everything.drop_duplicates(["key", "task"])) == (38 - 3) * 8
    assert len(everything.drop_duplicates(["key", "task", "mean"])) == (38 - 3) * 8
    assert len(everything.drop_duplicates(["key", "task", "mean", "std"])) == (38 - 3) * 8


def test_classes_of_table_1():
    classes = paper.read_classes(PAPER)
    totals = classes.groupby("task", sort=False)["samples"].sum().to_dict()
    assert totals == {"T5": 6175, "T6": 7263, "T7": 828, "T8": 948, "T9": 2496, "T10": 234, "T11": 504}


def test_a_model_stands_for_its_printed_row_wherever_it_is_printed():
    entry = {"weights": "published", "paper_row": {"table": 4, "row": 1}}
    assert paper.paper_key("mine", entry, PAPER) == "m2d"


@pytest.mark.parametrize("weights", ["random", "none"])
def test_random_weights_never_stand_for_a_printed_row(weights):
    entry = {"weights": weights, "paper_row": {"table": 2, "row": 16}}
    assert paper.paper_key("mine", entry, PAPER) is None


def test_an_unknown_row_is_refused():
    entry = {"weights": "published", "paper_row": {"table": 3, "row": 8}}
    with pytest.raises(RespfmError, match=r"mine: the paper has no row 8 in Table 3; correct its paper_row"):
        paper.paper_key("mine", entry, PAPER)
