"""config/models.yaml: rows of the paper, files, and one meaning of each name in Python, command and workflow."""

import csv
import functools
import importlib
import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from respfm.cli.embed import embed_recordings
from respfm.cli.main import main
from respfm.config import parameters
from respfm.config.plan import Plan
from respfm.config.reading import merge, read_yaml
from respfm.config.settings import load_settings
from respfm.embed.dataset import embed_dataset, read_embeddings
from respfm.encoders import family_module, load_encoder, load_family
from respfm.encoders.registry import read_registry, resolve
from respfm.errors import RespfmError
from workspace import REPOSITORY

MODELS = read_registry()
CONFIG = read_yaml(REPOSITORY / "config" / "config.yaml")
SETTINGS = load_settings(CONFIG, REPOSITORY)
PLAN = Plan(SETTINGS)
DATASETS = sorted({task["dataset"] for task in SETTINGS.tasks.values()})
DASHENG_12B = {"norm.weight": torch.empty(1536)} | {f"blocks.{i}.norm1.weight": torch.empty(1536) for i in range(40)}
PUBLISHED = [name for name, entry in MODELS.items() if entry["weights"] == "published"]
PUBLIC = [
    "logmel_stats", "ast", "cnn14", "htsat", "wav2vec2", "hubert", "wavlm", "laion_clap", "clap_2022",
    "clap_2023", "byola", "byola_v2", "atst_clip", "atst_frame", "audiomae", "beats", "msm_mae", "m2d", "ced",
    "dasheng", "openl3", "opera_ct", "opera_gt", "m2d_resp", "m2d_meanpool", "m2d_ftas", "m2d_clap", "m2d_s",
    "m2d_40ms", "m2d_20ms",
]  # fmt: skip
"""The names of the public interface."""
DEFAULT_LAYERS = {
    **{"logmel_stats": "statistics", "cnn14": "fc1", "byola": "fc2", "byola_v2": "fc2", "openl3": "embedding"},
    **{"wav2vec2": "conv", "hubert": "layer7", "wavlm": "layer6", "hubert_random": "layer4", "atst_frame": "all"},
    **{"laion_clap": "projection", "clap_2022": "projection", "clap_2023": "projection", "dasheng": "block40"},
}
"""Where it is another than the last of the blocks."""


def paper_rows() -> dict[int, str]:
    with (REPOSITORY / "resources" / "paper" / "table2.csv").open(encoding="utf-8") as file:
        return {int(row["row"]): row["key"] for row in csv.DictReader(file)}


@pytest.mark.parametrize("name", [name for name in PUBLISHED if MODELS[name].get("paper_row", {}).get("table") == 2])
def test_row_of_table_2_is_that_of_the_model(name):
    assert paper_rows()[MODELS[name]["paper_row"]["row"]] == name


@pytest.mark.parametrize("name", PUBLISHED)
def test_without_its_file_a_model_says_where_to_get_it_and_under_which_licence(name):
    checkpoint = MODELS[name]["checkpoint"]
    url, licence = re.escape(checkpoint["url"]), re.escape(checkpoint["licence"])
    with pytest.raises(RespfmError, match=rf"^model '{name}' needs .*get it from {url} \(licence: {licence}\)"):
        load_encoder(name)


def test_the_file_of_an_archive_and_of_a_run_are_named():
    with pytest.raises(RespfmError, match=r"mr7/checkpoint-300\.pth; get it from"):
        load_encoder("m2d")
    with pytest.raises(RespfmError, match=r"needs the checkpoint file encoder\.safetensors; .*\(demo_as\)"):
        load_encoder("m2d_demo")


def test_an_unknown_option_and_an_unknown_choice_are_refused():
    with pytest.raises(RespfmError, match=r"model 'opera_gt': family 'opera_gt' has no option 'chunk'; .* 'chunks'"):
        load_encoder("opera_gt", REPOSITORY, chunk="waveform")
    with pytest.raises(RespfmError, match="model 'ced': architecture 'cd' is not known; did you mean 'ced'"):
        load_encoder("ced", REPOSITORY, architecture="cd")


def test_an_unknown_name_and_an_unknown_protocol_are_refused():
    with pytest.raises(RespfmError, match="model 'm2d_repr' does not exist; did you mean 'm2d_resp'"):
        load_encoder("m2d_repr")
    with pytest.raises(RespfmError, match="protocol 'Strict' is not known"):
        load_encoder("logmel_stats", protocol="Strict")


def test_the_families_of_the_schema_are_the_modules_that_load():
    schema = read_yaml(REPOSITORY / "config" / "schemas" / "models.schema.yaml")
    families = schema["additionalProperties"]["properties"]["family"]["anyOf"][0]["enum"]
    modules = (REPOSITORY / "workflow" / "respfm" / "encoders").glob("*.py")
    loading = [path.stem for path in modules if "\ndef load(" in path.read_text()]
    assert sorted(loading) == families == sorted({entry["family"] for entry in MODELS.values()})


def test_the_public_names_are_models():
    assert set(PUBLIC) <= set(MODELS)


class Asked(Exception):
    """What a loader was called with: `options` that differ from its defaults are all that decides an encoder."""


@pytest.fixture
def asked(monkeypatch):
    """A function that runs another one and gives the family and the options that it had asked for."""

    def loader(family, original):
        @functools.wraps(original)
        def load(checkpoint, **options):
            raise Asked(family, options)

        return load

    for family in {entry["family"] for entry in MODELS.values()}:
        module = importlib.import_module(family_module(family))
        monkeypatch.setattr(module, "load", loader(family, module.load))

    def run(function, *arguments, **named):
        with pytest.raises(Asked) as stopped:
            function(*arguments, **named)
        return stopped.value.args

    return run


@pytest.mark.parametrize("protocol", ["published", "strict"])
@pytest.mark.parametrize("name", MODELS)
def test_python_the_command_and_the_workflow_load_the_same(name, protocol, asked, tmp_path):
    for dataset in DATASETS:
        cfg = parameters.extract_embeddings(PLAN, protocol, name, dataset)
        ours = asked(load_family, cfg["family"], tmp_path, cfg["options"], cfg["model"])
        assert asked(load_encoder, name, tmp_path, protocol, dataset) == ours
        more = {"model": name, "settings": SETTINGS, "checkpoint": tmp_path, "protocol": protocol, "dataset": dataset}
        assert asked(embed_recordings, [tmp_path], tmp_path / "out.h5", **more) == ours


OWN = """
import torch

class Loudness:
    sample_rate, layers, default_layer = 16000, ["rms"], "rms"
    def __init__(self, checkpoint, gain=1.0): self.gain = gain
    def embed(self, waveforms, lengths=None): return {"rms": self.gain * waveforms.square().mean(1, keepdim=True)}
"""
HUBERT = MODELS["hubert_random"]["options"]
TINY = {
    "logmel_stats": {},
    "wavlm": {key: value for key, value in HUBERT.items() if key != "architecture"},
    "msm_mae": {"random_seed": 0, "dim": 24, "depth": 2, "heads": 2},
    "own_class": {},
}


@pytest.mark.parametrize("protocol", ["published", "strict"])
@pytest.mark.parametrize("name", TINY)
def test_python_the_command_and_the_workflow_give_the_same_numbers(name, protocol, tmp_path, monkeypatch):
    """Also for models under `add:`, which those of the registry are here, with small random networks."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_class.py").write_text(OWN)
    own = {"title": "Own", "family": "own_class:Loudness", "weights": "none", "published_options": {"gain": 3.0}}
    entry = {key: value for key, value in MODELS.get(name, own).items() if key != "checkpoint"}
    entry["options"] = entry.get("options", {}) | TINY[name]
    config = tmp_path / "my.yaml"
    change = {"add": {"models": {"mine": entry}}, "models": ["mine"], "figures": {"layers": [], "embedding_map": ""}}
    config.write_text(json.dumps(change))
    noise = np.random.default_rng(0)
    for clip, seconds in enumerate((0.8, 1.0)):
        wave = 0.3 + 0.1 * noise.standard_normal(int(16000 * seconds))
        soundfile.write(tmp_path / f"{clip}.wav", wave, 16000, subtype="FLOAT")
    files = [str(tmp_path / f"{clip}.wav") for clip in range(2)]

    out = tmp_path / "command.h5"
    configs = [str(REPOSITORY / "config" / "config.yaml"), str(config)]
    command = ["embed", *files, "--model", "mine", "--protocol", protocol, "--device", "cpu", "-o", str(out)]
    assert main([*command, "--configfile", *configs]) == 0

    plan = Plan(load_settings(merge(CONFIG, change), REPOSITORY))
    cfg = parameters.extract_embeddings(plan, protocol, "mine", "kauh")
    encoder = load_family(cfg["family"], None, cfg["options"], cfg["model"])
    table = pd.DataFrame({"id": files, "path": files})
    shared = {key: cfg[key] for key in ("seed", "batch_size", "precision")}
    embed_dataset(encoder, table, tmp_path, protocol, tmp_path / "workflow.h5", **shared)

    found, expected = (read_embeddings(path, encoder.layers)[1] for path in (out, tmp_path / "workflow.h5"))
    assert all(np.array_equal(found[layer], expected[layer]) for layer in encoder.layers)
    if name in MODELS:
        other = load_encoder(name, protocol=protocol, **TINY[name])
        embed_dataset(other, table, tmp_path, protocol, tmp_path / "python.h5", **shared)
        python = read_embeddings(tmp_path / "python.h5", encoder.layers)[1]
        assert all(np.array_equal(python[layer], expected[layer]) for layer in encoder.layers)


@pytest.mark.parametrize(("name", "attribute"), [("wavlm", "normalise"), ("msm_mae", "padding")])
def test_a_name_alone_means_the_strict_protocol(name, attribute):
    encoder = load_encoder(name, **TINY[name])
    assert getattr(encoder, attribute) == {"wavlm": False, "msm_mae": "unit"}[name]


def encoder_of(name, protocol, monkeypatch):
    """The encoder of `name` with as many blocks as published, and no weights worth anything."""
    entry = SETTINGS.models[name]
    module = importlib.import_module(family_module(entry["family"]))
    if entry["family"] == "m2d":
        run = entry.get("run")
        trained = SETTINGS.runs[run["published"] if isinstance(run, dict) else run]["model"] if run else {}
        return load_encoder(name, protocol=protocol, **(trained | {"random_seed": 0, "dim": 48, "heads": 1}))
    if entry["weights"] == "published":
        state = DASHENG_12B if name == "dasheng" else {}
        monkeypatch.setattr(module, "read_state", lambda *arguments, **named: dict(state))
        monkeypatch.setattr(module, "fill", lambda network, *arguments, **named: network)
    return load_encoder(name, REPOSITORY if entry["weights"] == "published" else None, protocol)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("protocol", ["published", "strict"])
def test_rate_and_default_layer_are_those_of_the_encoder_and_of_the_paper(name, protocol, monkeypatch):
    encoder, model = encoder_of(name, protocol, monkeypatch), resolve(MODELS[name], protocol)
    blocks = [layer for layer in encoder.layers if layer.startswith("block")]
    expected = DEFAULT_LAYERS[name] if name in DEFAULT_LAYERS else blocks[-1]
    if (name, protocol) == ("dasheng", "published"):
        expected = "sigmoid"
    assert encoder.default_layer == expected
    assert model.default_layer in (None, expected)
    assert encoder.sample_rate == model.sample_rate


def test_the_layer_of_the_tables_is_no_reason_to_embed_again():
    def jobs(**change):
        plan = Plan(replace(SETTINGS, models=SETTINGS.models | {"m2d_demo": SETTINGS.models["m2d_demo"] | change}))
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
    assert options("published", "wavlm") == {"architecture": "wavlm", "normalise": True}
    assert options("strict", "wavlm") == {"architecture": "wavlm", "normalise": False}
    usual = options("published", "opera_ct")
    assert usual == options("strict", "opera_ct", "coughvid") == {"architecture": "opera_ct"}
    assert options("published", "opera_ct", "coughvid") == usual | {"min_seconds": 2}


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
