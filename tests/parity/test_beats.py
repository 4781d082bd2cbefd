"""BEATs against the golden numbers of its authors' network."""

import numpy as np
import pytest
import torch
import zoo_formula
from respfm.encoders import load_encoder
from zoo_golden import arrays, relative_error, state_dict

CLIPS = torch.from_numpy(zoo_formula.clips(16000))


@pytest.fixture(scope="module")
def beats(tmp_path_factory):
    file = tmp_path_factory.mktemp("beats") / "BEATs_iter3.pt"
    torch.save({"cfg": {"deep_norm": True}, "model": state_dict("beats_iter3")}, file)
    encoder = load_encoder("beats", file)
    file.unlink()
    return encoder


def test_front_end_equals_the_reference(beats):
    """Within 0.01: so far is float32 from float64 in the nearly empty bands of a loud frame."""
    golden, fbank = arrays("beats_iter3"), beats.spectrograms(CLIPS)
    assert list(fbank.shape) == golden["fbank_shape"].tolist()
    np.testing.assert_allclose(fbank[0, :240:8], golden["fbank_clip0"], rtol=0, atol=1e-2)
    np.testing.assert_allclose(fbank[1, ::20], golden["fbank_clip1"], rtol=0, atol=1e-2)


def test_embedding_equals_the_reference(beats):
    assert relative_error(beats.embed(CLIPS)["block12"], arrays("beats_iter3")["embedding"]) < 1e-4


def test_padding_does_not_count_when_lengths_are_known(beats):
    samples = round(2.3 * 16000)
    vectors = beats.embed(CLIPS[:1], torch.tensor([samples]))
    assert relative_error(vectors["block12"], arrays("beats_iter3")["embedding_2p3_unpadded"]) < 1e-4
    beside = beats.embed(CLIPS[:, :40000].flip(0), torch.tensor([16000, samples]))
    torch.testing.assert_close(beside["block12"][1:], vectors["block12"], rtol=0, atol=0)
