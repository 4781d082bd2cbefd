"""Dasheng and CED against the reference networks."""

import pytest
import torch
import zoo_formula
from respfm.encoders import load_encoder
from respfm.encoders.dasheng import ARCHITECTURES, Dasheng
from respfm.errors import RespfmError
from safetensors.torch import save_file
from zoo_golden import arrays, load_published, relative_error, state_dict

TOLERANCE = 1e-4


def clips() -> torch.Tensor:
    return torch.from_numpy(zoo_formula.clips(16000))


def long_clip() -> torch.Tensor:
    return torch.from_numpy(zoo_formula.clip(16000, 12.0))[None]


def assert_decibels(actual: torch.Tensor, expected) -> None:
    """Front ends agree to 1e-3 dB, and to 0.05 dB where single precision is mostly rounding."""
    difference = (actual - torch.from_numpy(expected)).abs()
    assert difference.max() < 0.05
    assert difference[actual > -40].max() < 1e-3


@pytest.fixture(scope="module")
def dasheng(tmp_path_factory):
    path = tmp_path_factory.mktemp("dasheng") / "dasheng_base.pt"
    tables = {"front_end.0.spectrogram.window": torch.zeros(512), "front_end.0.mel_scale.fb": torch.zeros(257, 64)}
    content = {"model": state_dict("dasheng_base", tables), "config": {"embed_dim": 768}}
    return load_published("dasheng", content, path)


def test_dasheng(dasheng):
    golden = arrays("dasheng_base")
    mel = dasheng.frontend(clips())
    assert_decibels(mel[0, :, :240:8], golden["mel_db_clip0"])
    assert_decibels(mel[1, :, ::20], golden["mel_db_clip1"])
    vectors = dasheng.embed(clips())
    assert relative_error(vectors[dasheng.default_layer], golden["embedding"]) < TOLERANCE
    assert relative_error(dasheng.embed(long_clip())["block12"], golden["embedding_12s_uncropped"]) < TOLERANCE


def test_decibel_floor_of_the_batch_as_published(dasheng):
    golden = arrays("dasheng_base")
    dasheng.batch_floor = True
    vectors = dasheng.embed(clips())
    dasheng.batch_floor = False
    assert relative_error(vectors["block12"], golden["embedding_batch_of_two"]) < TOLERANCE
    assert relative_error(vectors["sigmoid"], golden["embedding_hf_logits_batch_of_two"]) < TOLERANCE


def test_padding_and_neighbours_do_not_count(dasheng):
    short = clips()[:1, :36800] / 1000
    batch = torch.cat([torch.nn.functional.pad(short, (0, 3200), value=0.3), clips()[1:, :40000]])
    together = dasheng.embed(batch, torch.tensor([36800, 40000]))
    for layer, alone in dasheng.embed(short).items():
        assert torch.equal(together[layer][0], alone[0])
    assert dasheng.embed(short[:, :10])["block1"].isfinite().all()


def test_ced_from_the_hub(tmp_path):
    golden = arrays("ced_base")
    state = state_dict("ced_base") | {"encoder.init_bn.num_batches_tracked": torch.tensor(1)}
    save_file(state, tmp_path / "model.safetensors")
    ced = load_encoder("ced", tmp_path / "model.safetensors")
    assert_decibels(ced.frontend(clips())[1, :, ::20], golden["mel_db_clip1"])
    assert relative_error(ced.embed(clips())["block12"], golden["embedding"]) < TOLERANCE
    assert relative_error(ced.embed(long_clip())["block12"], golden["embedding_12s_uncropped"]) < TOLERANCE
    alone = ced.embed(clips(), torch.tensor([160000, 160000]))["block12"]
    assert relative_error(alone[:1], ced.embed(clips()[:1])["block12"].numpy()) < 1e-6
    assert relative_error(alone[:1], golden["embedding"][:1]) > 100 * TOLERANCE, "the floor of the pair is gone"
    with pytest.raises(RespfmError, match=r"model 'dasheng': .* this is not the publisher's file"):
        load_encoder("dasheng", tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()


@pytest.mark.parametrize(("dim", "heads"), [(1280, 16), (1536, 24)])
def test_larger_sizes(dim, heads, tmp_path):
    network = Dasheng(ARCHITECTURES["dasheng"], dim, depth=1)
    encoder = load_published("dasheng", {"model": network.state_dict()}, tmp_path / "large.pt")
    assert encoder.network.blocks[0].attn.num_heads == heads
    assert encoder.embed(clips()[:1, :16000])["block1"].shape == (1, dim)
