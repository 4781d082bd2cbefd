"""Mixtures of mixtures, and the strict twins of mixtures and runs, which follow from config/pretraining.yaml."""

from pathlib import Path

import pytest
from respfm.config.plan import Plan
from respfm.config.reading import merge, read_yaml
from respfm.config.settings import load_settings
from respfm.errors import RespfmError

REPOSITORY = Path(__file__).resolve().parents[3]
COUNTS = {"dataset": "coughvid", "expected": {"above": 1, "from": 2}}
PAPER = read_yaml(REPOSITORY / "config" / "paper.yaml")


def settings_with(**added):
    """The paper's settings with entries of one's own."""
    return load_settings(merge(PAPER, {"add": added}), REPOSITORY, "my.yaml")


@pytest.fixture(scope="module")
def paper():
    return settings_with()


def run(mixture: str, **keys) -> dict:
    """A small run."""
    return {"title": "mine", "mixture": mixture, "epochs": 1, "batch_size": 8, **keys}


def test_a_mixture_of_mixtures_multiplies_repeats(paper):
    parts = paper.mixtures["as_resp_400k"]["parts"]
    assert [(part["dataset"], part["repeats"]) for part in parts] == [
        ("audioset", 1),
        ("coughvid", 29),
        ("hf_lung", 29),
        ("icbhi", 174),
    ]
    assert parts[1]["where"] == {"min_cough_detected": 0.95, "inclusive": False}
    assert [part["expected"] for part in parts] == [2005132, 7054, 3839, 539]


def test_mixtures_nest_as_deep_as_one_likes():
    mixtures = {"a": {"parts": [{"mixture": "resp", "repeats": 2}]}, "b": {"parts": [{"mixture": "a", "repeats": 3}]}}
    assert [part["repeats"] for part in settings_with(mixtures=mixtures).mixtures["b"]["parts"]] == [6, 6, 36]


@pytest.mark.parametrize(
    ("mixtures", "message"),
    [
        ({"a": {"parts": [{"mixture": "rsep"}]}}, "mixture a: the part 'rsep' does not exist; did you mean 'resp'"),
        ({"a": {"parts": [{"mixture": "a"}]}}, "mixture a: the part 'a' contains 'a' itself"),
        (
            {"a": {"parts": [{"mixture": "real_sample"}]}},
            "'real_sample' leaves out .* `exclude: test` for 'a' too",
        ),
        (
            {"a": {"parts": [{"mixture": "as", "dataset": "kauh"}]}},
            r"unknown key 'dataset' at .*\.a\.parts\.0",
        ),
        ({"a": {"parts": [{"repeats": 2}]}}, r"add\.mixtures\.a\.parts\.0 lacks the key 'dataset'"),
        ({"a": {"parts": [COUNTS]}}, r"add\.mixtures\.a\.parts\.0 lacks the key 'where'"),
        ({"a": {"parts": [COUNTS | {"where": {"x": 1}}]}}, r"a\.parts\.0\.where lacks the key 'min_cough_detected'"),
        ({"resp_strict": {"parts": [{"mixture": "as"}]}}, "'resp_strict' is the name of the strict twin of 'resp'"),
    ],
)
def test_mixtures_that_cannot_be(mixtures, message):
    with pytest.raises(RespfmError, match=message):
        settings_with(mixtures=mixtures)


@pytest.mark.parametrize(("threshold", "expected"), [(0.95, {"expected": 5}), (0.9, {})])
def test_a_count_is_that_of_the_threshold_at_which_it_was_taken(threshold, expected):
    part = {"dataset": "coughvid", "where": {"min_cough_detected": threshold}, "expected": 5}
    (chosen,) = settings_with(mixtures={"a": {"parts": [part]}}).mixtures["a"]["parts"]
    assert chosen == {
        "dataset": "coughvid",
        "repeats": 1,
        "where": {"min_cough_detected": 0.95, "inclusive": False},
        **expected,
    }


def test_the_twin_of_a_mixture_leaves_out_the_test_and_is_otherwise_the_same(paper):
    for name in ("resp", "as_resp_100k", "demo_as_resp"):
        twin = paper.mixtures[f"{name}_strict"]
        assert twin["exclude"] == "test"
        assert twin["parts"] == paper.mixtures[name]["parts"]


def test_what_holds_no_recording_of_a_task_serves_both_protocols(paper):
    for name in ("as", "librispeech", "fsd50k", "demo_as", "real_sample"):
        assert f"{name}_strict" not in paper.mixtures
    for name in ("scratch_as", "scratch_librispeech", "demo_as", "real_sample", "real_start"):
        assert f"{name}_strict" not in paper.runs
    assert paper.models["m2d_scratch_librispeech"]["run"] == "scratch_librispeech"
    assert "quirks" in paper.runs["scratch_librispeech"]


def test_the_twin_of_a_run_has_no_quirks_and_what_it_says_itself(paper):
    plain, twin = paper.runs["fur_as_resp_400k"], paper.runs["fur_as_resp_400k_strict"]
    assert twin == {
        **{key: value for key, value in plain.items() if key not in ("quirks", "note")},
        "title": "Fur: AS+Resp 400K (M2D+Resp), strict",
        "mixture": "as_resp_400k_strict",
    }
    assert paper.runs["scratch_as_resp_400k"]["mixture"] == "as_resp_300k"
    assert paper.runs["scratch_as_resp_400k_strict"]["mixture"] == "as_resp_400k_strict"
    twin = paper.runs["fur_resp_only_strict"]
    assert (twin["background"], twin["mixture"]) == ("as", "resp_strict")
    assert twin["model"] == {"objective": "m2d_x", "noisy_student": True}
    assert not [name for name, entry in paper.runs.items() if "strict" in entry]


def test_a_run_that_starts_from_a_run_with_a_twin_has_one_too():
    settings = settings_with(runs={"old": run("resp"), "new": run("as", init_from={"run": "old"})})
    assert settings.runs["new_strict"]["init_from"] == {"run": "old_strict"}
    assert settings.runs["new_strict"]["mixture"] == "as"


def test_a_model_takes_the_twin_under_strict_unless_it_says_otherwise():
    model = {"title": "mine", "family": "m2d", "weights": "own", "sample_rate": 16000}
    models = {
        "both": {**model, "run": "mine"},
        "same": {**model, "run": {"published": "mine", "strict": "mine"}},
        "clean": {**model, "run": "scratch_as"},
    }
    plan = Plan(settings_with(models=models, runs={"mine": run("resp")}))
    found = {(name, protocol): plan.run_of(name, protocol) for name in models for protocol in plan.protocols}
    assert found == {
        ("both", "published"): "mine",
        ("both", "strict"): "mine_strict",
        ("same", "published"): "mine",
        ("same", "strict"): "mine",
        ("clean", "published"): "scratch_as",
        ("clean", "strict"): "scratch_as",
    }
