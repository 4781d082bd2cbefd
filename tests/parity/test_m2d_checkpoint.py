"""Checkpoint files: the published formats, the own ones, and what must be refused."""

import argparse
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from formulas import wave
from m2d_golden import arrays, encoder, key_list
from respfm.encoders import load_encoder
from respfm.errors import RespfmError
from respfm.m2d import M2D, M2DConfig, export_checkpoint, export_encoder, initialise_from, load_checkpoint
from respfm.m2d.checkpoint import reference_name
from respfm.m2d.encoder import M2DEncoder
from safetensors.torch import load_file, save_file

SIZES = {"dim": 64, "depth": 2, "heads": 1, "decoder_dim": 32, "decoder_depth": 1, "decoder_heads": 16}
CONFIG = M2DConfig(**SIZES)


@pytest.fixture
def model() -> M2D:
    torch.manual_seed(1)
    return M2D(CONFIG)


def same(first: torch.nn.Module, second: torch.nn.Module, keys=None) -> bool:
    ours, theirs = first.state_dict(), second.state_dict()
    return all(torch.equal(ours[key], theirs[key]) for key in keys or ours)


def encoder_keys(model: M2D) -> list[str]:
    return list(M2DEncoder(model.config).state_dict())


def embed(path, name="m2d", index=0):
    return load_encoder(name, path).embed(torch.from_numpy(wave("0", index))[None])


def test_published_encoder_only_file(tmp_path):
    golden = arrays("features_16x16_seed0")
    keys = [entry["key"] for entry in key_list("m2d_vit_base_encoder_only-80x608p16x16")["entries"]]
    state = encoder().state_dict()
    assert sorted(keys) == sorted(state)
    folder = tmp_path / "m2d_vit_base-80x608p16x16p16k-250826-AS+Resp400K"
    folder.mkdir()
    torch.save({key: state[key] for key in keys}, folder / "checkpoint-50.pth")
    ours = embed(folder / "checkpoint-50.pth", "m2d_resp")["block12"][0]
    np.testing.assert_allclose(ours, golden["clip0_last"], rtol=0, atol=1e-4)
    del state["norm_stats"]
    torch.save({"model": state}, tmp_path / "checkpoint-300.pth")
    ours = embed(tmp_path / "checkpoint-300.pth")["block12"][0]
    np.testing.assert_allclose(ours, golden["clip0_no_norm_stats"], rtol=0, atol=1e-4)


def test_published_full_checkpoint_with_the_extras_of_clap(tmp_path, model):
    folder = tmp_path / "m2d_vit_base-80x608p16x16-221006-mr7"
    folder.mkdir()
    arguments = argparse.Namespace(lr=1e-3, input_size=[80, 608])
    optimizer = torch.optim.AdamW(model.parameters()).state_dict()
    clap = {"logit_scale": torch.tensor(2.0), "audio_proj.0.weight": torch.zeros(64, 64)}
    content = {
        "model": {**model.state_dict(), **clap},
        "optimizer": optimizer,
        "epoch": 299,
        "scaler": {},
        "args": arguments,
    }
    torch.save(content, folder / "checkpoint-300.pth")
    loaded = load_checkpoint(folder / "checkpoint-300.pth")
    assert isinstance(loaded, M2D)
    assert loaded.config == CONFIG
    assert same(loaded, model)
    assert [p.requires_grad for p in loaded.parameters()] == [p.requires_grad for p in model.parameters()]
    assert type(load_checkpoint(folder / "checkpoint-300.pth", encoder_only=True)) is M2DEncoder


def test_fine_tuned_checkpoint_with_prefixes_and_head(tmp_path):
    folder = tmp_path / "m2d_vit_base-80x1001p16x16-221006-mr7_as_46ab246d"
    folder.mkdir()
    network = M2DEncoder(M2DConfig(input_size=(80, 1001), dim=64, depth=2, heads=1))
    state = {f"module.ar.runtime.backbone.{key}": value for key, value in network.state_dict().items()}
    torch.save({**state, "module.head.mlp.weight": torch.zeros(527, 320)}, folder / "weights.pth")
    loaded = load_checkpoint(folder / "weights.pth")
    assert loaded.config.input_size == (80, 1001)
    assert same(loaded, network)


def test_checkpoint_of_the_msm_mae_repository(tmp_path):
    config = M2DConfig(objective="msm_mae", input_size=(80, 512), dim=64, depth=2, heads=1)
    model = M2D(config)
    for block in (*model.blocks, *model.decoder_blocks):
        bias = torch.randn_like(block.attn.qkv.bias)
        bias[len(bias) // 3 : -len(bias) // 3] = 0
        block.attn.qkv.bias.data = bias
    state = model.state_dict()
    for key in [key for key in state if key.endswith("qkv.bias")]:
        query, _, value = state.pop(key).chunk(3)
        state |= {key.replace("qkv.bias", "q_bias"): query, key.replace("qkv.bias", "v_bias"): value}
    del state["norm_stats"]
    (tmp_path / "80x512p16x16_paper").mkdir()
    torch.save({"model": state}, tmp_path / "80x512p16x16_paper" / "checkpoint-100.pth")
    loaded = load_checkpoint(tmp_path / "80x512p16x16_paper" / "checkpoint-100.pth")
    assert loaded.config == config
    assert same(loaded, model)


@pytest.mark.parametrize(
    ("folder", "sizes"),
    [
        ("m2d_vit_base-80x200p16x4-230529", {"input_size": (80, 200), "patch_size": (16, 4)}),
        ("m2d_s_vit_base-80x400p80x2-230201", {"input_size": (80, 400), "patch_size": (80, 2)}),
        ("m2d_vit_base-80x608p16x16p32k-240413", {"sample_rate": 32000}),
        ("somewhere", {"input_size": (80, 608), "patch_size": (80, 4)}),
    ],
)
def test_sizes_from_name_and_weights(tmp_path, folder, sizes):
    (tmp_path / folder).mkdir()
    network = M2DEncoder(M2DConfig(**sizes, dim=64, depth=1, heads=1))
    torch.save(network.state_dict(), tmp_path / folder / "checkpoint-300.pth")
    loaded = load_checkpoint(tmp_path / folder / "checkpoint-300.pth")
    assert loaded.config == network.config
    assert load_encoder("m2d", tmp_path / folder / "checkpoint-300.pth").sample_rate == network.config.sample_rate


@pytest.mark.parametrize("objective", ["m2d", "m2d_x", "msm_mae"])
def test_exports_come_back_and_repeat_byte_for_byte(tmp_path, objective):
    torch.manual_seed(0)
    model = M2D(M2DConfig(**{**SIZES, "heads": 4, "decoder_heads": 2}, objective=objective))
    for name in ("a", "b"):
        export_encoder(model, (-6.5, 3.5), tmp_path / name / "encoder.safetensors")
        export_checkpoint(model, (-6.5, 3.5), tmp_path / name / "checkpoint.pth")
    for name in ("encoder.safetensors", "checkpoint.pth"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    small = load_checkpoint(tmp_path / "a" / "encoder.safetensors")
    assert type(small) is M2DEncoder
    whole = load_checkpoint(tmp_path / "a" / "checkpoint.pth")
    assert isinstance(whole, M2D)
    for loaded in (small, whole):
        assert loaded.config == model.config
        assert loaded.norm_stats.tolist() == [-6.5, 3.5]
        assert same(loaded, model, [key for key in loaded.state_dict() if key != "norm_stats"])
    state = torch.load(tmp_path / "a" / "checkpoint.pth", weights_only=True)["model"]
    assert list(state) == list(model.state_dict())
    assert set(load_file(tmp_path / "a" / "encoder.safetensors")) == set(encoder_keys(model))


@pytest.mark.parametrize("name", ["m2d_ftas", "m2d_40ms", "m2d_20ms", "m2d_s"])
def test_variants_know_their_sizes(tmp_path, name):
    random = load_encoder(name, random_seed=0, dim=64, depth=2, heads=1)
    torch.save(random.network.state_dict(), tmp_path / "weights.pth")
    loaded = load_encoder(name, tmp_path / "weights.pth")
    assert loaded.network.config == random.network.config
    waveforms = torch.randn(1, 16_000)
    assert torch.equal(loaded.embed(waveforms)["block2"], random.embed(waveforms)["block2"])


def test_loading_does_not_import_the_compiler(tmp_path, model):
    export_encoder(model, (-7, 4), tmp_path / "encoder.safetensors")
    code = (
        "import sys; from respfm.m2d import load_checkpoint; load_checkpoint(sys.argv[1]); "
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "encoder.safetensors"], check=True)


def test_name_for_the_tools_of_the_reference():
    assert reference_name(M2DConfig(), "resp") == "m2d_vit_base-80x608p16x16p16k-resp"


def test_further_pretraining_from_a_full_checkpoint(tmp_path, model):
    export_checkpoint(model, (-6.5, 3.5), tmp_path / "checkpoint.pth")
    torch.manual_seed(2)
    other = M2D(CONFIG)
    text = initialise_from(other, tmp_path / "checkpoint.pth")
    assert "encoder, predictor, target network; fresh: optimiser" in text
    assert same(other, model)
    assert other.norm_stats.tolist() == pytest.approx([-7.1, 4.2])


def test_further_pretraining_from_an_encoder_has_no_random_target(tmp_path, model):
    export_encoder(model, (-6.5, 3.5), tmp_path / "encoder.safetensors")
    torch.manual_seed(2)
    other = M2D(CONFIG)
    predictor = other.decoder_embed.weight.clone()
    text = initialise_from(other, tmp_path / "encoder.safetensors")
    assert "target network (a copy of the encoder); fresh: predictor" in text
    assert same(other, model, encoder_keys(model)[:3] + encoder_keys(model)[4:])
    assert torch.equal(other.decoder_embed.weight, predictor)
    for online, target in zip(other.blocks.parameters(), other.target_blocks.parameters(), strict=True):
        assert torch.equal(online, target)
        assert not target.requires_grad


def test_further_pretraining_of_m2d_x_has_a_fresh_offline_predictor(tmp_path, model):
    export_checkpoint(model, (-6.5, 3.5), tmp_path / "checkpoint.pth")
    text = initialise_from(M2D(M2DConfig(**SIZES, objective="m2d_x")), tmp_path / "checkpoint.pth")
    assert "fresh: offline predictor" in text


def test_further_pretraining_refuses_other_sizes(tmp_path, model):
    export_checkpoint(model, (-6.5, 3.5), tmp_path / "checkpoint.pth")
    for name, value in (("depth", 1), ("depth", 3), ("patch_size", (16, 4)), ("dim", 128), ("heads", 4)):
        with pytest.raises(RespfmError, match=f"cannot start from it, its {name} is"):
            initialise_from(M2D(M2DConfig(**{**SIZES, name: value})), tmp_path / "checkpoint.pth")
    export_encoder(model, (-6.5, 3.5), tmp_path / "encoder.safetensors")
    state = load_file(tmp_path / "encoder.safetensors")
    del state["norm.bias"]
    torch.save(state, tmp_path / "encoder.pth")
    with pytest.raises(RespfmError, match="its encoder is not whole"):
        initialise_from(model, tmp_path / "encoder.pth")


def test_a_predictor_of_another_depth_starts_fresh(tmp_path, model):
    export_checkpoint(model, (-6.5, 3.5), tmp_path / "checkpoint.pth")
    text = initialise_from(M2D(M2DConfig(**{**SIZES, "decoder_depth": 2})), tmp_path / "checkpoint.pth")
    assert "encoder, target network; fresh: predictor" in text


def test_further_pretraining_on_another_length(tmp_path, model):
    export_checkpoint(model, (-6.5, 3.5), tmp_path / "checkpoint.pth")
    longer = M2D(M2DConfig(**SIZES, input_size=(80, 1008)))
    initialise_from(longer, tmp_path / "checkpoint.pth")
    assert longer.pos_embed.shape == (1, 1 + 5 * 63, 64)
    assert torch.equal(longer.blocks[0].attn.qkv.weight, model.blocks[0].attn.qkv.weight)


class Payload:
    """Something that a checkpoint has no business to hold."""


def refusal(path, **options) -> str:
    with pytest.raises(RespfmError) as error:
        load_checkpoint(path, **options)
    assert str(path) in str(error.value)
    return str(error.value)


def test_files_that_are_no_checkpoints(tmp_path, model):
    assert "no such" in refusal(tmp_path / "absent.pth")
    page = tmp_path / "page.pth"
    page.write_text("\n<!DOCTYPE html><html><body>404</body></html>")
    assert "HTML page" in refusal(page)
    export_checkpoint(model, (-7.1, 4.2), tmp_path / "whole.pth")
    export_encoder(model, (-7.1, 4.2), tmp_path / "whole.safetensors")
    for suffix in (".pth", ".safetensors"):
        content = (tmp_path / f"whole{suffix}").read_bytes()
        for share in (0, 0.001, 0.5, 0.999):
            half = tmp_path / f"half{suffix}"
            half.write_bytes(content[: int(len(content) * share)])
            assert "incomplete or damaged" in refusal(half)
    (tmp_path / "noise.pth").write_bytes(bytes(range(1, 256)) * 9)
    assert "damaged" in refusal(tmp_path / "noise.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    assert "list" in refusal(tmp_path / "list.pth")


def test_pickles_that_could_run_code(tmp_path, model):
    path = tmp_path / "trojan.pth"
    torch.save({"model": model.state_dict(), "args": Payload()}, path)
    message = refusal(path)
    assert "Payload" in message
    assert "trust: true" in message
    assert isinstance(load_checkpoint(path, trust=True), M2D)
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"model": Payload()}, protocol=2))
    refusal(tmp_path / "plain.pth")


def test_other_architectures(tmp_path, model):
    path = tmp_path / "other.pth"
    torch.save({"conv1.weight": torch.zeros(2, 2), "fc.bias": torch.zeros(2)}, path)
    assert "not an M2D checkpoint; its tensors are called conv1.weight, fc.bias" in refusal(path)
    state = model.state_dict()
    torch.save({key: value for key, value in state.items() if key != "blocks.1.mlp.fc2.bias"}, path)
    assert "'blocks.1.mlp.fc2.bias'" in refusal(path)
    torch.save({**state, "norm.bias": torch.zeros(63)}, path)
    assert "norm.bias has shape [63], where [64]" in refusal(path)
    torch.save(state, path)
    assert "do not fit an input of 80x400" in refusal(path, input_size=(80, 400))
    (tmp_path / "m2d_vit_base-80x608p16x4-1").mkdir()
    torch.save(state, tmp_path / "m2d_vit_base-80x608p16x4-1" / "checkpoint.pth")
    assert "the name says patches of 16x4" in refusal(tmp_path / "m2d_vit_base-80x608p16x4-1" / "checkpoint.pth")
    with pytest.raises(RespfmError, match=r"patch_size is \(16, 16\), expected \(80, 2\)"):
        load_encoder("m2d", path, patch_size=(80, 2))


def test_foreign_safetensors(tmp_path, model):
    path = tmp_path / "model.safetensors"
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(state, path)
    assert same(load_checkpoint(path), model)
    save_file(state, path, {"respfm": json.dumps({"dim": 64, "colour": "red"})})
    assert "no setting 'colour'" in refusal(path)
