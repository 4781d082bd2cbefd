"""Clip embeddings of the M2D family against the numbers of the reference pipeline."""

import numpy as np
import pytest
import torch
from formulas import wave
from m2d_golden import arrays, encoder
from respfm.encoders import load_encoder
from respfm.encoders.m2d import M2DAudioEncoder
from respfm.errors import RespfmError

TOLERANCE = {"rtol": 0, "atol": 1e-4}
SMALL = {"dim": 32, "depth": 3, "heads": 2, "random_seed": 1}


def clip(index: int) -> torch.Tensor:
    return torch.from_numpy(wave("0", index))


@pytest.fixture(scope="module")
def m2d():
    return M2DAudioEncoder(encoder())


@pytest.fixture(scope="module")
def embeddings(m2d):
    return [m2d.embed(clip(i)[None]) for i in range(3)]


def test_clip_embeddings_of_every_layer(embeddings):
    golden = arrays("features_16x16_seed0")
    for i, ours in enumerate(embeddings):
        for layer in (0, 3, 11):
            np.testing.assert_allclose(ours[f"block{layer + 1}"][0], golden[f"clip{i}_L{layer}"], **TOLERANCE)
        np.testing.assert_allclose(ours["block12"][0], golden[f"clip{i}_last"], **TOLERANCE)
        every = torch.cat(list(ours.values())).double()
        np.testing.assert_allclose(every.norm(dim=1), golden[f"all_layers_clip_l2_{i}"], rtol=1e-5)
        np.testing.assert_allclose(every.mean(dim=1), golden[f"all_layers_clip_mean_{i}"], **TOLERANCE)
    pair = torch.cat([embeddings[0]["block4"], embeddings[0]["block12"]], dim=1)
    np.testing.assert_allclose(pair[0], golden["clip0_L3_L11"], **TOLERANCE)


def test_mean_pooling(m2d):
    golden = arrays("features_16x16_seed0")
    pooled = M2DAudioEncoder(m2d.network, pooling="mean")
    for i in range(2):
        np.testing.assert_allclose(pooled.embed(clip(i)[None])["block12"][0], golden[f"clip{i}_flat768"], **TOLERANCE)


@torch.no_grad()
def test_frame_features(m2d):
    golden = arrays("features_16x16_seed0")
    ((chunk, columns),) = m2d.chunks(m2d.spectrograms(clip(0)[None])[0])
    assert columns == golden["nframes0"]
    frames = [m2d.network.to_frames(tokens)[0] for tokens in m2d.network.layer_tokens(chunk[None, None])]
    for layer in (0, 3, 11):
        ours = frames[layer][golden["fsel0"], ::7]
        np.testing.assert_allclose(ours, golden[f"frames0_L{layer}"], **TOLERANCE)
    assert torch.equal(m2d.network.frame_features(chunk[None, None])[0], frames[11])


def test_ten_seconds_of_the_published_protocol(m2d):
    golden = arrays("features_16x16_seed0")
    padded = torch.nn.functional.pad(clip(0), (0, 160000 - len(clip(0))))
    ours = m2d.embed(torch.stack([padded, clip(2)[:160000]]))["block12"]
    np.testing.assert_allclose(ours[0], golden["opera10s_clip_wave0_padded"], **TOLERANCE)
    np.testing.assert_allclose(ours[1], golden["opera10s_clip_wave2_cropped"], **TOLERANCE)


def test_whole_clip_in_one_pass(m2d):
    golden = arrays("features_16x16_seed0")
    whole = M2DAudioEncoder(m2d.network, unit_frames=992)
    ours = whole.embed(clip(2)[None, :158560])["block12"][0]
    np.testing.assert_allclose(ours, golden["dur992_clip_wave2"], **TOLERANCE)


@pytest.mark.parametrize(
    ("golden", "config"),
    [
        ("features_p16x4_seed0", {"input_size": (80, 200), "patch_size": (16, 4)}),
        ("features_p80x2_seed0", {"patch_size": (80, 2)}),
        ("features_p1001_seed0", {"input_size": (80, 1001)}),
    ],
)
def test_other_geometries(golden, config):
    golden, family = arrays(golden), M2DAudioEncoder(encoder(**config))
    for i in range(3):
        ours = family.embed(clip(i)[None])
        np.testing.assert_allclose(ours["block12"][0], golden[f"clip{i}_last"], **TOLERANCE)
        np.testing.assert_allclose(ours["block4"][0], golden[f"clip{i}_L3"], **TOLERANCE)


@pytest.mark.parametrize("patch_size", [(16, 16), (80, 2)])
def test_with_lengths_neither_padding_nor_neighbours_count(patch_size):
    small = load_encoder("m2d", patch_size=patch_size, **SMALL)
    waveforms = torch.randn(4, 130_000, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([130_000, 97_280, 16_001, 100])
    together = small.embed(waveforms, lengths)
    backwards = small.embed(waveforms.flip(0), lengths.flip(0))
    for row, length in enumerate(lengths.tolist()):
        alone = small.embed(waveforms[row : row + 1, :length])
        for layer in small.layers:
            torch.testing.assert_close(together[layer][row], alone[layer][0], rtol=0, atol=1e-5)
            torch.testing.assert_close(together[layer][row], backwards[layer][3 - row], rtol=0, atol=1e-5)


def test_without_lengths_padding_counts():
    small = load_encoder("m2d", **SMALL)
    waveforms = torch.randn(1, 16_000)
    padded = torch.nn.functional.pad(waveforms, (0, 144_000))
    assert not torch.allclose(small.embed(waveforms)["block3"], small.embed(padded)["block3"], atol=1e-2)


def test_equal_chunks_are_encoded_once():
    small = load_encoder("m2d", **SMALL)
    seen = []
    small.network.blocks[0].register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    waveforms = torch.zeros(3, 160_000)
    waveforms[:, :20_000] = torch.randn(3, 20_000)
    small.embed(waveforms)
    assert seen == [3, 1]


@pytest.mark.parametrize(
    ("input_size", "padding", "frames", "expected"),
    [
        ((80, 608), "patch", 1001, [(608, 38), (400, 25)]),
        ((80, 608), "patch", 609, [(608, 38), (16, 1)]),
        ((80, 608), "patch", 1216, [(608, 38), (608, 38)]),
        ((80, 1001), "patch", 2000, [(1001, 62), (1001, 62)]),
        ((80, 512), "unit", 1001, [(512, 32), (512, 31)]),
        ((80, 512), "unit", 1024, [(512, 32), (512, 32)]),
        ((80, 512), "unit", 5, [(512, 1)]),
    ],
)
def test_chunks(input_size, padding, frames, expected):
    small = load_encoder("m2d", input_size=input_size, padding=padding, **SMALL)
    chunks = small.chunks(torch.zeros(80, frames))
    assert [(chunk.shape[-1], columns) for chunk, columns in chunks] == expected


@torch.no_grad()
def test_padding_of_a_whole_unit_is_attended_to_but_not_averaged():
    small = load_encoder("msm_mae", input_size=(80, 512), padding="unit", norm_stats=(-5.0, 3.0), **SMALL)
    waveform = torch.randn(1, 16_000)
    spectrogram = (small.logmel(waveform) + 5) / 3
    padded = torch.nn.functional.pad(spectrogram, (0, 512 - 101))
    frames = small.network.frame_features(padded[:, None])[0]
    torch.testing.assert_close(small.embed(waveform)["block3"][0], frames[:7].mean(0), rtol=0, atol=1e-5)


def test_statistics_of_the_data():
    fitted = load_encoder("msm_mae", data_statistics=True, **SMALL)
    waveforms = 0.1 * torch.randn(3, 16_000, generator=torch.Generator().manual_seed(0))
    fitted.fit_statistics([(waveforms, torch.full((3,), 16_000))], plugin=True)
    spectrograms = fitted.spectrograms(waveforms)
    assert (spectrograms.mean().item(), spectrograms.std().item()) == pytest.approx((0, 1), abs=1e-3)
    assert not hasattr(load_encoder("m2d", **SMALL), "fit_statistics")


def test_layers_and_options():
    small = load_encoder("m2d", default_layer="block2", **SMALL)
    assert (small.sample_rate, small.layers, small.default_layer) == (
        16000,
        ["block1", "block2", "block3"],
        "block2",
    )
    assert {v.shape for v in small.embed(torch.randn(2, 8000)).values()} == {(2, 160)}
    with pytest.raises(RespfmError, match="block4"):
        load_encoder("m2d", default_layer="block4", **SMALL)
    with pytest.raises(RespfmError, match="pooling"):
        load_encoder("m2d", pooling="max", **SMALL)
    with pytest.raises(RespfmError, match="checkpoint"):
        load_encoder("m2d")


def test_random_weights_repeat():
    waveforms = torch.randn(1, 16_000)
    torch.manual_seed(5)
    first = load_encoder("m2d", **SMALL).embed(waveforms)["block3"]
    assert torch.equal(first, load_encoder("m2d", **SMALL).embed(waveforms)["block3"])
    other = load_encoder("m2d", **{**SMALL, "random_seed": 2}).embed(waveforms)["block3"]
    assert not torch.allclose(first, other)
    assert torch.initial_seed() == 5


def test_statistics_of_the_data_replace_those_of_the_checkpoint():
    waveforms = torch.randn(3, 16_000) * torch.tensor([[0.1], [0.5], [1.0]])
    fitted = load_encoder("m2d", data_statistics=True, **SMALL)
    fitted.fit_statistics([(waveforms, torch.full((3,), 16_000))], plugin=True)
    logmel = fitted.logmel(waveforms)
    expected = [logmel.mean().item(), logmel.std(correction=0).item()]
    torch.testing.assert_close(fitted.network.norm_stats, torch.tensor(expected), rtol=1e-4, atol=1e-4)
    assert not hasattr(load_encoder("m2d", **SMALL), "fit_statistics")
