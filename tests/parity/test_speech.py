"""wav2vec 2.0, HuBERT and WavLM against the golden numbers of the reference networks."""

import re

import pytest
import torch
import zoo_formula
from respfm.encoders import load_encoder
from respfm.encoders.speech import standardise
from respfm.errors import RespfmError
from zoo_golden import arrays, relative_error, state_dict

GOLDEN = {"wav2vec2": "wav2vec2_base_960h", "hubert": "hubert_base_ls960", "wavlm": "wavlm_base"}
SIZE = {
    **{"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64},
    **{"num_conv_pos_embedding_groups": 4},
}
HUB_NAMES = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}


@pytest.fixture(scope="module", params=GOLDEN)
def speech(request, tmp_path_factory):
    """Name, encoder and its layers for the golden clips, from a file with the names of the hub."""
    name = request.param
    state = state_dict(GOLDEN[name])
    for new, old in HUB_NAMES.items():
        state = {key.replace(new, old): value for key, value in state.items()}
    if name == "wav2vec2":
        del state["wav2vec2.masked_spec_embed"]
    file = tmp_path_factory.mktemp("hub") / "pytorch_model.bin"
    torch.save(state, file)
    encoder = load_encoder(name, file, protocol="published")
    file.unlink()
    clips = torch.from_numpy(zoo_formula.clips(encoder.sample_rate))
    return name, encoder, clips, encoder.embed(clips)


def test_layers_equal_the_reference(speech):
    name, encoder, clips, vectors = speech
    golden = arrays(GOLDEN[name])
    assert relative_error(standardise(clips)[:, 8000:8100], golden["input_slice"]) < 1e-5
    for layer in range(13):
        assert relative_error(vectors[f"layer{layer}"], golden["layers_mean"][:, layer]) < 1e-4
    if name == "wav2vec2":
        assert relative_error(vectors["conv"], golden["embedding_conv512_meanmax"]) < 1e-4
        assert encoder.default_layer == "conv"
    else:
        assert relative_error(vectors[encoder.default_layer], golden["embedding"]) < 1e-4
    if name == "wavlm":
        assert encoder.normalise
        encoder.normalise = load_encoder(name, random_seed=0, **SIZE).normalise
        assert relative_error(encoder.embed(clips[:1])["layer6"], golden["embedding_no_normalize"][:1]) < 1e-4


@pytest.fixture(scope="module", params=GOLDEN)
def small(request):
    return load_encoder(request.param, random_seed=0, **SIZE)


def test_padding_and_neighbours_do_not_count_when_lengths_are_known(small):
    clips = torch.from_numpy(zoo_formula.clips(16000, 1))
    alone = small.embed(clips[:1, :9000])
    clips[0, 9000:] = 0.5
    beside = small.embed(clips, torch.tensor([9000, 16000]))
    for layer in small.layers:
        torch.testing.assert_close(beside[layer][:1], alone[layer], rtol=0, atol=0)


def test_clip_below_one_frame_is_filled_up(small):
    assert small.embed(torch.ones(1, 3))["layer2"].shape == (1, 32)


def test_foreign_file_is_refused(tmp_path):
    file = tmp_path / "pytorch_model.bin"
    torch.save({"conv.weight": torch.zeros(3)}, file)
    with pytest.raises(RespfmError, match=re.escape(f"model 'hubert': {file}: this is not the publisher's file")):
        load_encoder("hubert", file)


def test_missing_file_is_named():
    with pytest.raises(
        RespfmError, match=r"pytorch_model\.bin; get it from https://huggingface.co/microsoft/wavlm-base"
    ):
        load_encoder("wavlm")
