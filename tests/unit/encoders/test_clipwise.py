"""In the strict protocol neither the batch nor its order nor its padding counts."""

import pytest
import torch
import zoo_formula
from respfm.encoders import load_encoder
from respfm.errors import RespfmError

LENGTHS = torch.tensor([16000, 9000, 16000, 12345])


@pytest.fixture(scope="module")
def encoder():
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    return load_encoder("hubert", random_seed=0, num_conv_pos_embedding_groups=4, **size)


@pytest.fixture(scope="module")
def clips():
    long = torch.from_numpy(zoo_formula.clip(16000, 4.0))
    return long.reshape(4, 16000)


def test_batch_and_order_do_not_count(encoder, clips):
    together = encoder.embed(clips, LENGTHS)
    backwards = encoder.embed(clips.flip(0), LENGTHS.flip(0))
    for row, length in enumerate(LENGTHS.tolist()):
        alone = encoder.embed(clips[row : row + 1, :length])
        for layer in encoder.layers:
            torch.testing.assert_close(together[layer][row], alone[layer][0], rtol=0, atol=1e-5)
            torch.testing.assert_close(backwards[layer][3 - row], alone[layer][0], rtol=0, atol=1e-5)


def test_padding_does_not_count(encoder, clips):
    noisy = clips.clone()
    for clip, length in zip(noisy, LENGTHS, strict=True):
        clip[length:] = 0.5
    quiet, loud = encoder.embed(clips, LENGTHS), encoder.embed(noisy, LENGTHS)
    for layer in encoder.layers:
        assert torch.equal(quiet[layer], loud[layer])


def test_unknown_default_layer_is_refused():
    with pytest.raises(RespfmError, match="layer 'layer9' is not known; this network has conv, layer0, layer1"):
        load_encoder(
            "hubert",
            random_seed=0,
            hidden_size=24,
            num_hidden_layers=1,
            default_layer="layer9",
            num_attention_heads=2,
            num_conv_pos_embedding_groups=4,
        )
