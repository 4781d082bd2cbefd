"""Configurations: complete ones load, and each mistake gets one sentence that says how to fix it."""

import copy
import dataclasses
import math
import subprocess
import sys
from pathlib import Path

import pytest
from respfm.config import parameters
from respfm.config.plan import Plan
from respfm.config.reading import merge, read_yaml
from respfm.config.schema import read_schema
from respfm.config.settings import load_settings
from respfm.errors import RespfmError
from respfm.m2d import M2DConfig
from respfm.pretrain.settings import Recipe

REPOSITORY = Path(__file__).resolve().parents[3]
CONFIGS = [*sorted((REPOSITORY / "config").glob("*.yaml")), REPOSITORY / "benchmarks" / "pretraining_gain.yaml"]
RUNNABLE = [path for path in CONFIGS if "data_kind" in path.read_text()]


def settings_with(change: dict):
    """The demo's settings with `change` laid over the configuration."""
    config = merge(read_yaml(REPOSITORY / "config" / "config.yaml"), change)
    return load_settings(config, REPOSITORY, "my.yaml")


def run_with(name="mine", **keys) -> dict:
    """A configuration with a run of its own."""
    return {"add": {"runs": {name: {"title": "mine", "mixture": "demo_as", "epochs": 1, "batch_size": 8, **keys}}}}


def dataset_with(name="ours", **keys) -> dict:
    """A configuration with a data set of its own."""
    return {"add": {"datasets": {name: {"title": "ours", **keys}}}}


@pytest.mark.parametrize("path", RUNNABLE, ids=lambda path: path.name)
def test_shipped_configurations_are_valid(path):
    plan = Plan(load_settings(read_yaml(path), REPOSITORY, path.name))
    assert plan.tasks
    assert set(plan.task_datasets) <= set(plan.datasets)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modles": []}, r"my\.yaml: unknown key 'modles' at the top level; did you mean 'models'"),
        ({"probe": {"epoch": 3}}, r"unknown key 'epoch' at probe; did you mean 'epochs'"),
        ({"probe": {"epochs": "1e3"}}, r"probe\.epochs is the text '1e3' .*but a whole number is expected"),
        ({"tasks": ["T5", "T12"]}, r"task 'T12' does not exist; did you mean 'T1"),
        ({"models": ["m2d_dem"]}, r"model 'm2d_dem' does not exist; did you mean 'm2d_demo'"),
        ({"protocols": ["strickt"]}, r"protocols\.0 is 'strickt'.*did you mean 'strict'"),
        ({"runs": ["nowhere"]}, r"pre-training run 'nowhere' does not exist"),
        ({"local": {"audioste": "/data"}}, r"data set 'audioste' does not exist; did you mean 'audioset'"),
        (
            {"datasets": {}},
            r"unknown key 'datasets' at the top level; did you mean 'add\.datasets' or 'change\.d",
        ),
        (
            {"change": {"datasets": {"kahu": {}}}},
            r"change\.datasets: data set 'kahu' .*; did you mean 'kauh'",
        ),
        ({"change": {"runs": {"demo_a": {}}}}, r"change\.runs: pre-training run 'demo_a' .*; did you mean 'demo_as'"),
        ({"change": {"tasks": {"T5": {"dataset": "nowhere"}}}}, r"T5: data set 'nowhere' does not exist"),
        ({"change": {"tasks": {"T5": {"batches": 3}}}}, r"unknown key 'batches' at T5; did you mean 'batch'"),
        ({"figures": {"layers": ["m2d_real_sample"]}}, r"'m2d_real_sample', which is not under models; add it there"),
        ({"add": {"modles": {}}}, r"unknown key 'modles' at add; did you mean 'models'"),
        ({"add": {"models": {"ours": {"title": "x"}}}}, r"my\.yaml: add\.models\.ours lacks the key 'family'; add it"),
        (
            dataset_with("kauh", kind="folder"),
            r"has 'kauh' already; .* put it under change\.datasets",
        ),
        (run_with("demo_as"), r"add\.runs: config/pretraining\.yaml has 'demo_as' already"),
        (dataset_with(kind="folder", titel="x"), r"unknown key 'titel' at add\.datasets\.ours; did you mean 'title'"),
        (
            {"add": {"mixtures": {"ours": {"parts": [{"dataset": "esc01"}]}}}},
            r"mixture ours: data set 'esc01' .*'esc10'",
        ),
        (
            {"add": {"models": {"mine": {"title": "x", "family": "m2d", "weights": "own", "file": "nowhere.pth"}}}},
            r"my\.yaml: mine: file is 'nowhere\.pth', where no checkpoint is; correct the path",
        ),
        ({"gpus": 4}, r"unknown key 'gpus' at the top level; did you mean 'resources\.gpus'"),
        (run_with(model={"dimm": 96}), r"unknown key 'dimm' at add\.runs\.mine\.model; did you mean 'dim'"),
        (run_with(model={"dim": 96.0}), r"runs\.mine\.model\.dim is 96\.0, but a whole number is expected"),
        (run_with(model={"dim": 98}), r"my\.yaml.*runs\.mine\.model: dim 98 must be a multiple of 4 and of its 12"),
        (run_with(base_lr=math.nan), r"runs\.mine\.base_lr is nan, but a number is expected"),
        (dataset_with(kind="folder", options={"pattern": "x"}), r"'pattern' at .*; did you mean 'patient_pattern'"),
        (
            dataset_with(kind="icbhi", options={"sounds": []}),
            r"'sounds' at add\.datasets\.ours\.options; remove it",
        ),
        (dataset_with(kind="folder", expected={"records": 1}), r"unknown key 'records' .*; did you mean 'recordings'"),
        ({"max_quarantine_share": 2}, r"max_quarantine_share.*2 is greater than the maximum"),
        ({"seed": -1}, r"seed.*-1 is less than the minimum"),
    ],
)
def test_mistakes_are_named_with_their_fix(change, message):
    with pytest.raises(RespfmError, match=message) as caught:
        settings_with(change)
    assert "\n" not in str(caught.value)


def test_change_reaches_every_registry_and_leaves_the_rest_of_an_entry():
    entries = {"datasets": "icbhi", "tasks": "T7", "models": "m2d_demo", "mixtures": "demo_as", "runs": "demo_as"}
    before = settings_with({})
    after = settings_with({"change": {section: {name: {"title": "ours"}} for section, name in entries.items()}})
    for section, name in entries.items():
        assert getattr(after, section)[name] == {**getattr(before, section)[name], "title": "ours"}


def test_a_parser_of_ones_own_takes_options_of_its_own():
    assert settings_with(dataset_with(kind="mine", options={"depth": 3})).datasets["ours"]["options"] == {"depth": 3}


@pytest.mark.parametrize(("section", "cls"), [("model", M2DConfig), ("run", Recipe)])
def test_the_schema_names_what_pretraining_takes_and_its_defaults(section, cls):
    properties = read_schema(REPOSITORY / "config/schemas/pretraining.schema.yaml")["$defs"][section]["properties"]
    links = {"title", "note", "strict", "mixture", "init_from", "teacher", "background"} if section == "run" else set()
    fields = {field.name: field for field in dataclasses.fields(cls)}
    assert set(properties) - links == set(fields)
    for name, field in fields.items():
        default = properties[name].get("default")
        if isinstance(default, list):
            default = tuple(default)
        assert default == (None if field.default is dataclasses.MISSING else field.default), name


def test_defaults_of_a_recipe_are_not_written_into_the_run():
    assert settings_with({}).runs["scratch_as"].keys() & {"seed", "base_lr", "noise_ratio"} == set()


def test_a_configuration_is_checked_without_torch():
    code = "import sys, respfm.config.settings; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY / "workflow")


def test_missing_key_is_named():
    config = read_yaml(REPOSITORY / "config" / "config.yaml")
    del config["results"]
    with pytest.raises(RespfmError, match="lacks the key 'results'"):
        load_settings(config, REPOSITORY, "my.yaml")


def test_runs_that_start_from_each_other_are_refused():
    with pytest.raises(RespfmError, match="demo_as <- demo_as_resp <- demo_as start from each other"):
        settings_with({"change": {"runs": {"demo_as": {"init_from": {"run": "demo_as_resp"}}}}})


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"a: [1", "not valid YAML"), (b"\xff\xfe\x00", "not UTF-8"), (None, "does not exist")],
)
def test_broken_yaml_files(tmp_path, content, message):
    path = tmp_path / "broken.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RespfmError, match=message):
        read_yaml(path)


def test_a_folder_for_a_file(tmp_path):
    with pytest.raises(RespfmError, match="is a directory"):
        read_yaml(tmp_path)


def test_crlf_and_byte_order_mark_are_read(tmp_path):
    path = tmp_path / "windows.yaml"
    path.write_bytes(b"\xef\xbb\xbfseed: 1\r\nname: x\r\n")
    assert read_yaml(path) == {"seed": 1, "name": "x"}


def test_parameters_hold_only_what_a_rule_needs():
    plan = Plan(settings_with({}))
    other = copy.deepcopy(read_yaml(REPOSITORY / "config" / "config.yaml"))
    other["probe"] = {"epochs": 3}
    changed = Plan(load_settings(other, REPOSITORY))
    names = {"model": "m2d_demo", "task": "T5"}
    assert parameters.probe_published(plan, **names) != parameters.probe_published(changed, **names)
    assert parameters.probe_strict(plan, **names) == parameters.probe_strict(changed, **names)
    embed = {"protocol": "strict", "model": "m2d_demo", "dataset": "kauh"}
    assert parameters.extract_embeddings(plan, **embed) == parameters.extract_embeddings(changed, **embed)


def test_titles_run_nothing_again():
    settings = settings_with({})
    plan, renamed = Plan(settings), copy.deepcopy(settings)
    for entry in (renamed.datasets["esc10"], renamed.mixtures["demo_as"], renamed.runs["demo_as"]):
        assert entry["title"] != "renamed"
        entry["title"] = "renamed"
    for takes, name in (
        (parameters.retrieve_archive, "esc10"),
        (parameters.curate_recordings, "esc10"),
        (parameters.build_mixture, "demo_as"),
        (parameters.pretrain_encoder, "demo_as"),
    ):
        assert takes(plan, name) == takes(Plan(renamed), name)


def test_a_start_or_teacher_without_weights_is_refused_and_a_teacher_is_trained_first():
    def runs(**links):
        base = read_yaml(REPOSITORY / "config" / "config.yaml")
        new = {"title": "new", "mixture": "demo_as", "epochs": 1, "batch_size": 32, **links}
        return load_settings({**base, "add": {"runs": {"new": new}}, "runs": ["new"], "models": ["logmel_stats"],
                              "figures": {"layers": [], "embedding_map": ""}}, REPOSITORY)  # fmt: skip

    for key in ("init_from", "teacher"):
        with pytest.raises(
            RespfmError, match=f"new: {key}: m2d_demo has neither `file` nor `checkpoint`; if a run makes"
        ):
            runs(**{key: {"model": "m2d_demo"}})
    with pytest.raises(RespfmError, match="new <- new start from each other"):
        runs(teacher={"run": "new"})
    assert Plan(runs(teacher={"run": "demo_as"})).runs == ["demo_as", "new"]


@pytest.mark.parametrize(("protocol", "again"), [("published", True), ("strict", False)])
def test_only_the_published_crops_depend_on_the_seed(protocol, again):
    names = {"protocol": protocol, "model": "m2d_demo", "dataset": "kauh"}
    before, after = (parameters.extract_embeddings(Plan(settings_with({"seed": seed})), **names) for seed in (0, 1))
    assert (before != after) == again


def test_ancestors_of_a_run_come_first():
    plan = Plan(settings_with({"models": ["m2d_demo_resp"], "figures": {"layers": [], "embedding_map": ""}}))
    assert plan.runs == ["demo_as", "demo_as_resp", "demo_as_resp_strict"]


def test_shards_do_not_depend_on_the_machine():
    plan = Plan(settings_with({"resources": {"threads": 64}}))
    assert plan.shards_of("coughvid") == ["000", "001", "002", "003", "004"]


PUBLISHED, STRICT = ({f"table{number}{suffix}" for number in (2, 3, 4)} for suffix in ("", "_strict"))


@pytest.mark.parametrize(
    ("protocols", "tables"),
    [(["published"], PUBLISHED), (["strict"], STRICT), (["strict", "published"], PUBLISHED | STRICT)],
)
def test_tables_of_results_are_made_once_for_each_protocol(protocols, tables):
    plan = Plan(settings_with({"protocols": protocols}))
    assert set(plan.tables) == {"table1"} | tables
    assert len(plan.tables) == len(set(plan.tables))
    assert plan.protocol_of_table("table1") == protocols[0]
    assert {table for table in tables if plan.protocol_of_table(table) == "strict"} == tables & STRICT
