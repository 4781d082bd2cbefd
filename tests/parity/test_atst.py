"""ATST-Clip and ATST-Frame against the reference networks."""

import argparse

import pytest
import torch
import zoo_formula
from respfm.errors import RespfmError
from zoo_golden import arrays, load_published, relative_error, state_dict

TOLERANCE = 1e-4


def clips() -> torch.Tensor:
    return torch.from_numpy(zoo_formula.clips(16000))


def clip(seconds: float) -> torch.Tensor:
    return torch.from_numpy(zoo_formula.clip(16000, seconds))[None]


@pytest.fixture(scope="module")
def atst_clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("atst") / "base.ckpt"
    teacher = {f"module.backbone.{key}": value for key, value in state_dict("atst_clip_base").items()}
    heads = {"module.head.mlp.0.weight": torch.zeros(2, 2)}
    content = {"teacher": {**teacher, **heads}, "student": heads, "args": argparse.Namespace(arch="base")}
    return load_published("atst_clip", content, path)


def test_atst_clip(atst_clip):
    golden = arrays("atst_clip_base")
    mel = atst_clip.frontend(clips())
    assert (len(mel), 1, *mel.shape[1:]) == tuple(golden["mel_shape"])
    assert relative_error(mel[0, :, :240:8], golden["mel_clip0"]) < TOLERANCE
    assert relative_error(mel[1, :, ::20], golden["mel_clip1"]) < TOLERANCE
    vectors = atst_clip.embed(clips())
    assert relative_error(vectors["block12"], golden["embedding"]) < TOLERANCE
    classes, means = zip(*(vector.split(768, dim=1) for vector in vectors.values()), strict=True)
    assert relative_error(torch.cat([*classes, *means], dim=1), golden["embedding_12blocks"]) < TOLERANCE
    alone = atst_clip.embed(clips(), torch.tensor([36800, 160000]))["block12"]
    assert relative_error(alone[:1], golden["embedding_2p3_unpadded"]) < TOLERANCE
    assert relative_error(alone[1, :768], golden["embedding"][1, :768]) < TOLERANCE


def test_means_of_long_clips(atst_clip):
    """The published code divides the first 150 tokens of 10 s by 250, a clip encoded alone gets their mean."""
    steady = torch.sin(torch.arange(160000) * 0.1)[None]
    published = atst_clip.embed(steady)["block1"][0, 768:].norm()
    strict = atst_clip.embed(steady, torch.tensor([160000]))["block1"][0, 768:].norm()
    assert float(published / strict) == pytest.approx((150 / 250 + 1) / 2, rel=0.05)


def test_training_mode_repeats(atst_clip):
    atst_clip.train_seed = 2
    first = atst_clip.embed(clip(2.3))["block12"]
    assert torch.equal(first, atst_clip.embed(clip(2.3))["block12"])
    atst_clip.train_seed = None
    assert not torch.allclose(first, atst_clip.embed(clip(2.3))["block12"], atol=1e-3)


def test_atst_frame(tmp_path):
    golden = arrays("atst_frame_base")
    teacher = {f"model.teacher.encoder.{key}": value for key, value in state_dict("atst_frame_base").items()}
    student = {"model.student.encoder.pos_embed": torch.zeros(1, 251, 768)}
    path = tmp_path / "atstframe_base.ckpt"
    content = {"state_dict": {**student, **teacher}, "epoch": 1}
    atst_frame = load_published("atst_frame", content, path)
    assert relative_error(atst_frame.embed(clips())["all"], golden["embedding"]) < TOLERANCE
    assert relative_error(atst_frame.embed(clip(12.0))["all"], golden["embedding_12s_uncropped"]) < TOLERANCE
    padded = torch.nn.functional.pad(clip(2.3), (0, 3200), value=0.3)
    alone = atst_frame.embed(padded, torch.tensor([36800]))["all"]
    assert relative_error(alone, golden["embedding_2p3_unpadded"]) < TOLERANCE
    assert atst_frame.embed(clip(2.3)[:, :10])["all"].shape == (1, 9216)
    with pytest.raises(RespfmError, match=r"model 'atst_clip': .* this is not the publisher's file"):
        load_published("atst_clip", content, path)
