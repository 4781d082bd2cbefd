"""AudioMAE and OPERA-GT, rows that the paper took over from OPERA, against OPERA's own path."""

import numpy as np
import pytest
import torch
import zoo_formula
from respfm.encoders import load_encoder
from respfm.encoders.opera_audio import OperaSpectrogram, repeat_in_front, trim_silence
from respfm.errors import RespfmError
from zoo_golden import arrays, load_published, relative_error, state_dict

TOLERANCE = 1e-4


def clip(seconds: float) -> torch.Tensor:
    return torch.from_numpy(zoo_formula.clip(16000, seconds))


def position_table(dim: int, width: int, tokens: int) -> torch.Tensor:
    """Sines and cosines of (k mod width, k div width), both networks with the width where the height belongs."""
    k = np.arange(tokens)
    frequencies = 10000.0 ** -(np.arange(dim // 4) / (dim // 4))
    angles = [np.outer(position, frequencies) for position in (k % width, k // width)]
    table = np.concatenate([wave(angle) for angle in angles for wave in (np.sin, np.cos)], axis=1)
    return torch.from_numpy(np.concatenate([np.zeros((1, dim)), table]).astype(np.float32))[None]


@pytest.fixture(scope="module")
def opera_gt(tmp_path_factory):
    path = tmp_path_factory.mktemp("opera") / "encoder-operaGT.ckpt"
    table = position_table(384, 64, 1024)
    assert relative_error(table[0, ::64, :24], arrays("opera_gt")["pos_embed_slice"]) < TOLERANCE
    state = {**state_dict("opera_gt", {"pos_embed": table}), "decoder_pred.weight": torch.zeros(1)}
    return load_published("opera_gt", {"epoch": 1, "state_dict": state}, path)


def test_opera_gt(opera_gt):
    golden = arrays("opera_gt")
    chunks = opera_gt.chunks(trim_silence(clip(12.0)))
    assert len(chunks) == golden["n_chunks"][1]
    assert relative_error(chunks[0][::8], golden["chunk0_12"]) < TOLERANCE
    assert relative_error(chunks[1][::8], golden["chunk_last_12"]) < TOLERANCE
    with torch.inference_mode():
        assert relative_error(opera_gt.encode_chunks(chunks)["block12"], golden["embedding_chunks_12"]) < TOLERANCE
    for seconds, expected in zip((2.3, 12.0), golden["embedding"], strict=True):
        assert relative_error(opera_gt.embed(clip(seconds)[None])["block12"][0], expected) < TOLERANCE


@pytest.mark.parametrize(("samples", "chunks"), [(100, 1), (130880, 1), (130881, 2), (196319, 2), (196320, 3)])
def test_chunks_overlap_by_half_and_the_rest_follows(opera_gt, samples, chunks):
    assert [len(chunk) for chunk in opera_gt.waveform_chunks(torch.rand(samples))] == chunks * [256]


def test_opera_gt_as_for_coswara(opera_gt):
    opera_gt.chunks, usual = opera_gt.spectrogram_chunks, opera_gt.chunks
    vector = opera_gt.embed(clip(12.0)[None])["block12"][0]
    opera_gt.chunks = usual
    assert relative_error(vector, arrays("opera_gt")["embedding_12_coswara"]) < TOLERANCE


def test_audiomae(tmp_path):
    golden = arrays("audiomae_vitb_as2m")
    table = position_table(768, 64, 512)
    assert relative_error(table[0, ::32, :24], golden["pos_embed_slice"]) < TOLERANCE
    content = {"model": state_dict("audiomae_vitb_as2m", {"pos_embed": table})}
    encoder = load_published("audiomae", content, tmp_path / "pretrained.pth")
    bank = encoder.filter_bank(trim_silence(clip(12.0))[:160000])
    assert bank.shape == tuple(golden["fbank_shapes"][0])
    difference = (bank[::20] - torch.from_numpy(golden["fbank_12_0"])).abs()
    assert difference[bank[::20] > -10].max() < 1e-3
    assert difference.max() < 1e-2, "near the floor of -15.9 the last bit of the waveform's mean counts"
    for seconds, expected in zip((2.3, 12.0), golden["embedding"], strict=True):
        vectors = encoder.embed(clip(seconds)[None])
        assert relative_error(vectors["block12"][0], expected) < TOLERANCE
    encoder.normalise = True
    vectors = encoder.embed(clip(12.0)[None, 3200:163200])
    assert relative_error(vectors["block12"][0], golden["embedding_normalised_input_12_first10s"]) < TOLERANCE


def test_padding_and_neighbours_do_not_count(opera_gt):
    short = clip(2.3)
    batch = torch.stack([torch.nn.functional.pad(short, (0, 3200), value=0.3), clip(12.0)[:40000]])
    padded = opera_gt.embed(batch, torch.tensor([36800, 40000]))
    for layer, alone in opera_gt.embed(short[None]).items():
        assert torch.equal(padded[layer][0], alone[0])


def test_spectrogram():
    golden = arrays("opera_ct")
    for seconds, shortest, step, name in (
        (2.3, 2, 1, "spec_2p3_sec2"),
        (2.3, 8, 8, "spec_2p3_sec8"),
        (12, 8, 10, "spec_12"),
    ):
        spectrogram = OperaSpectrogram()(repeat_in_front(trim_silence(clip(seconds)), shortest * 16000))
        assert relative_error(spectrogram[::step], golden[name]) < TOLERANCE


def test_silence_and_clicks(opera_gt):
    for waveform in (torch.zeros(16000), torch.nn.functional.one_hot(torch.tensor(5), 300).float()):
        vectors = opera_gt.embed(waveform[None])
        assert all(vector.isfinite().all() for vector in vectors.values())


def test_files_that_are_missing_or_of_another_model(tmp_path):
    with pytest.raises(RespfmError, match=r"encoder-operaGT\.ckpt; get it from"):
        load_encoder("opera_gt")
    with pytest.raises(RespfmError, match=r"model 'audiomae': .* this is not the publisher's file"):
        load_published("audiomae", {"model": {"cls_token": torch.zeros(1, 1, 768)}}, tmp_path / "other.pth")
