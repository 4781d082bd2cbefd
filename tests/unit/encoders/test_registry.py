"""Published models of config/models.yaml: their row of the paper, their file, and the options that loaders know."""

import csv
import re
from dataclasses import replace

import pytest
import torch
from respfm.config import parameters
from respfm.config.plan import Plan
from respfm.config.reading import merge, read_yaml
from respfm.config.settings import load_settings
from respfm.encoders import load_encoder
from respfm.encoders.base import check_layers
from respfm.encoders.htsat import VARIANTS
from respfm.encoders.weights_file import Published
from respfm.errors import RespfmError
from workspace import REPOSITORY

MODELS = read_yaml(REPOSITORY / "config" / "models.yaml")
CONFIG = read_yaml(REPOSITORY / "config" / "config.yaml")
SETTINGS = load_settings(CONFIG, REPOSITORY)
DASHENG_12B = {"norm.weight": torch.empty(1536)} | {f"blocks.{i}.norm1.weight": torch.empty(1536) for i in range(40)}
PUBLISHED = [name for name, entry in MODELS.items() if entry["weights"] == "published"]


def paper_rows() -> dict[int, str]:
    with (REPOSITORY / "resources" / "paper" / "table2.csv").open(encoding="utf-8") as file:
        return {int(row["row"]): row["key"] for row in csv.DictReader(file)}


@pytest.mark.parametrize("name", [name for name in PUBLISHED if MODELS[name].get("paper_row", {}).get("table") == 2])
def test_row_of_table_2_is_that_of_the_model(name):
    assert paper_rows()[MODELS[name]["paper_row"]["row"]] == name


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("key", ["options", "published_options"])
def test_without_its_file_the_loader_names_it(name, key):
    entry = MODELS[name]
    with pytest.raises(RespfmError, match=r"needs .*checkpoint"):
        load_encoder(entry["family"], **entry.get(key, {}))


@pytest.mark.parametrize("name", PUBLISHED)
def test_licence_is_stated(name):
    assert re.match(r"\w+", MODELS[name]["checkpoint"]["licence"])


@pytest.mark.parametrize("name", VARIANTS)
def test_rate_of_waveforms_is_that_of_the_network(name):
    assert MODELS[name]["sample_rate"] == VARIANTS[name].sample_rate


def encoder_of(entry, quirks, monkeypatch):
    """The encoder of a registry entry with as many blocks as published, and no weights worth anything."""
    options = entry["options"] | quirks
    if entry["family"].startswith(("m2d", "msm_mae")):
        run = entry.get("run")
        trained = SETTINGS.runs[run["published"] if isinstance(run, dict) else run]["model"] if run else {}
        return load_encoder(entry["family"], **(trained | options | {"random_seed": 0, "dim": 48, "heads": 1}))
    if entry["weights"] != "published":
        return load_encoder(entry["family"], **options)
    state = DASHENG_12B if entry["family"] == "dasheng" else {}
    monkeypatch.setattr(Published, "read", lambda *arguments, **named: dict(state))
    monkeypatch.setattr(Published, "fill", lambda self, network, *arguments, **named: network)
    return load_encoder(entry["family"], "checkpoint", **options)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("key", ["options", "published_options"])
def test_layers_are_those_of_the_encoder_and_the_default_one_that_of_the_paper(name, key, monkeypatch):
    entry = SETTINGS.models[name]
    encoder = encoder_of(entry, entry[key], monkeypatch)
    default_layer = entry[key].get("default_layer", entry["default_layer"])
    assert (entry["layers"], default_layer) == (encoder.layers, encoder.default_layer)
    check_layers(name, encoder, entry["layers"])
    check_layers(name, encoder, None)
    with pytest.raises(RespfmError, match=rf"model '{name}': its entry names the layers .*lost, but the encoder"):
        check_layers(name, encoder, [*entry["layers"], "lost"])


def test_the_layer_of_the_tables_is_one_of_those_named():
    config = merge(CONFIG, {"add": {"models": {"mine": {**MODELS["hubert_random"], "default_layer": "layer7"}}}})
    with pytest.raises(RespfmError, match="mine: default_layer 'layer7' does not exist; did you mean 'layer"):
        load_settings(config, REPOSITORY, "my.yaml")


def test_the_layer_of_the_tables_is_no_reason_to_embed_again():
    def jobs(**change):
        entry = {key: value for key, value in SETTINGS.models["m2d_demo"].items() if key not in ("layers", *change)}
        plan = Plan(replace(SETTINGS, models=SETTINGS.models | {"m2d_demo": entry | change}))
        return {
            "extract_embeddings": parameters.extract_embeddings(plan, "published", "m2d_demo", "kauh"),
            "probe_published": parameters.probe_published(plan, "m2d_demo", "T7"),
            "probe_strict": parameters.probe_strict(plan, "m2d_demo", "T7"),
            "embedding_map": parameters.embedding_map_figure(plan, "T7"),
        }

    before, after = jobs(default_layer="block4"), jobs(default_layer="block2")
    assert {rule for rule in before if before[rule] != after[rule]} == {"probe_published", "probe_strict"}


def test_quirks_belong_to_the_published_protocol():
    config = merge(read_yaml(REPOSITORY / "config" / "config.yaml"), {"models": ["htsat", "wavlm", "opera_ct"]})
    config = merge(config, {"figures": {"layers": [], "embedding_map": ""}})
    plan = Plan(load_settings(config, REPOSITORY, "my.yaml"))

    def options(protocol, model, dataset="icbhi"):
        return parameters.extract_embeddings(plan, protocol, model, dataset)["options"]

    assert options("published", "htsat") == {"train_seed": 0}
    assert options("strict", "htsat") == {}
    assert options("published", "wavlm") == {"normalise": True}
    assert options("strict", "wavlm") == {"normalise": False}
    assert options("published", "opera_ct") == options("strict", "opera_ct", "coughvid") == {}
    assert options("published", "opera_ct", "coughvid") == {"min_seconds": 2}


def test_the_sigmoid_of_dasheng_is_the_layer_of_the_published_protocol_alone():
    config = merge(CONFIG, {"models": ["dasheng"], "figures": {"layers": [], "embedding_map": ""}})
    plan = Plan(load_settings(config, REPOSITORY, "my.yaml"))
    assert parameters.probe_published(plan, "dasheng", "T7")["default_layer"] == "sigmoid"
    assert parameters.probe_strict(plan, "dasheng", "T7")["default_layer"] == "block40"


@pytest.mark.parametrize(("first", "layer"), [("published", "sigmoid"), ("strict", "block40")])
def test_a_map_shows_the_layer_of_the_protocol_whose_embeddings_it_reads(first, layer):
    change = {"models": ["dasheng"], "protocols": [first], "figures": {"layers": [], "embedding_map": "dasheng"}}
    plan = Plan(load_settings(merge(CONFIG, change), REPOSITORY, "my.yaml"))
    assert parameters.embedding_map_figure(plan, "T7")["models"]["dasheng"]["default_layer"] == layer
