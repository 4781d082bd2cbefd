"""Published models of config/models.yaml: their row of the paper, their file, and the options that loaders know."""

import csv
import json
import re

import pytest
from conftest import REPOSITORY
from respfm.config import load_settings, merge, read_yaml
from respfm.encoders import load_encoder
from respfm.encoders.htsat import VARIANTS
from respfm.errors import RespfmError
from respfm.plan import Plan

MODELS = read_yaml(REPOSITORY / "config" / "models.yaml")
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


def test_quirks_belong_to_the_published_protocol():
    config = merge(read_yaml(REPOSITORY / "config" / "config.yaml"), {"models": ["htsat", "wavlm", "opera_ct"]})
    config = merge(config, {"figures": {"layers": [], "embedding_map": ""}})
    plan = Plan(load_settings(config, REPOSITORY, "my.yaml"))

    def options(protocol, model, dataset="icbhi"):
        parameters = plan.parameters("extract_embeddings", protocol=protocol, model=model, dataset=dataset)
        return json.loads(parameters)["options"]

    assert options("published", "htsat") == {"train_seed": 0}
    assert options("strict", "htsat") == {}
    assert options("published", "wavlm") == {"normalise": True}
    assert options("strict", "wavlm") == {"normalise": False}
    assert options("published", "opera_ct") == options("strict", "opera_ct", "coughvid") == {}
    assert options("published", "opera_ct", "coughvid") == {"min_seconds": 2}
