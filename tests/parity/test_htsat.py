"""HTS-AT, LAION-CLAP, CLAP 2023 and OPERA-CT against the golden numbers of their authors' networks."""

import copy

import numpy as np
import pytest
import torch
import zoo_formula
from respfm.encoders import load_encoder
from respfm.encoders.opera_audio import trim_silence
from respfm.errors import RespfmError
from respfm.logmel.frontend import mel_filters
from safetensors.torch import save_file
from zoo_golden import arrays, description, relative_error, state_dict

GOLDEN = {"htsat": "htsat_audioset", "laion_clap": "laion_clap_htsat_tiny", "clap_2023": "msclap_2023"}
MEL_RATE = {"laion_clap": 48000}


def tables(name):
    """What files bring that the formula does not make: mel filters, which count, and tables, here zeros."""
    entries = description(GOLDEN.get(name, name))["state_dict"]
    kept = {key: torch.zeros(shape, dtype=getattr(torch, kind)) for key, shape, kind, made in entries if made == "kept"}
    filters = torch.from_numpy(mel_filters(MEL_RATE.get(name, 32000), 1024, 64, 50, 14000)).T
    return {key: filters if key.endswith("melW") else table for key, table in kept.items()}


def encoder_of(name, folder, wrapping, **formula):
    file = folder / "published.ckpt"
    torch.save({wrapping: state_dict(GOLDEN.get(name, name), tables(name), **formula)}, file)
    encoder = load_encoder(name, file)
    file.unlink()
    return encoder


def clips_of(name, encoder):
    if name == "clap_2023":
        seconds = [zoo_formula.clip(encoder.sample_rate, length) for length in (2.3, 12.0)]
        return torch.from_numpy(np.stack([np.resize(clip, 7 * encoder.sample_rate) for clip in seconds]))
    return torch.from_numpy(zoo_formula.clips(encoder.sample_rate))


@pytest.fixture(scope="module", params=GOLDEN)
def clap(request, tmp_path_factory):
    """Name, encoder, the golden clips and their layers."""
    name = request.param
    wrapping = "model" if name == "clap_2023" else "state_dict"
    encoder = encoder_of(name, tmp_path_factory.mktemp(name), wrapping)
    clips = clips_of(name, encoder)
    return name, encoder, clips, encoder.embed(clips)


def test_front_end_equals_the_reference(clap):
    """Within 0.04 dB in double precision; in single precision, what is below -80 dB is mostly rounding."""
    name, encoder, clips, _ = clap
    golden, precise = arrays(GOLDEN[name]), copy.deepcopy(encoder.frontend).double()
    single, double = encoder.frontend(clips), precise(clips.double())
    assert single.shape[1] == golden["logmel_shape"][2]
    for index, frames in enumerate((slice(0, 240, 8), slice(None, None, 20))):
        expected = golden[f"logmel_clip{index}"]
        np.testing.assert_allclose(double[index, frames], expected, rtol=0, atol=4e-2)
        for level, tolerance in ((-80, 1.5e-2), (-60, 3e-3), (-20, 1e-4)):
            loud = expected > level
            np.testing.assert_allclose(single[index, frames][loud], expected[loud], rtol=0, atol=tolerance)


def test_embedding_equals_the_reference(clap):
    name, encoder, _, vectors = clap
    golden = arrays(GOLDEN[name])
    assert relative_error(vectors[encoder.default_layer], golden["embedding"]) < 1e-4
    latent = {"htsat": "embedding", "laion_clap": "latent_768", "clap_2023": "backbone_embedding"}[name]
    assert relative_error(vectors["block12"], golden[latent]) < 1e-4


@pytest.mark.parametrize("clap", ["laion_clap", "clap_2023"], indirect=True)
def test_short_clip_is_repeated(clap):
    name, encoder, clips, _ = clap
    samples = len(zoo_formula.clip(encoder.sample_rate, 2.3))
    vector = encoder.embed(clips[:1], torch.tensor([samples]))["projection"]
    golden = arrays(GOLDEN[name])
    expected = golden["embedding_2p3_repeatpad"] if name == "laion_clap" else golden["embedding"][:1]
    assert relative_error(vector, expected) < 1e-4


@pytest.mark.parametrize("clap", ["laion_clap"], indirect=True)
def test_hub_file_of_laion_clap_gives_the_same(clap, tmp_path):
    name, encoder, clips, vectors = clap
    state = {f"audio_model.audio_encoder.{key}": value for key, value in encoder.network.trunk.state_dict().items()}
    for key, value in encoder.projection.state_dict().items():
        state[f"audio_projection.linear{1 + int(key[0]) // 2}{key[1:]}"] = value
    save_file({**state, "logit_scale_a": torch.ones(1)}, tmp_path / "model.safetensors")
    vector = load_encoder(name, tmp_path / "model.safetensors").embed(clips[:1])["projection"]
    torch.testing.assert_close(vector, vectors["projection"][:1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("clap", ["htsat"], indirect=True)
def test_training_mode_repeats_by_its_seed_and_depends_on_the_batch(clap):
    _, encoder, clips, vectors = clap
    encoder.train_seed = 3
    first, second, alone = encoder.embed(clips), encoder.embed(clips), encoder.embed(clips[:1])
    encoder.train_seed = None
    assert torch.equal(first["block12"], second["block12"])
    assert relative_error(alone["block12"], first["block12"][:1].numpy()) > 1e-3
    assert relative_error(first["block12"], vectors["block12"].numpy()) > 1e-2


@pytest.fixture(scope="module")
def opera(tmp_path_factory):
    return encoder_of("opera_ct", tmp_path_factory.mktemp("opera"), "state_dict", input_norm=zoo_formula.UNIT_RANGE)


def test_opera_ct_equals_the_reference(opera):
    golden = arrays("opera_ct")
    for row, seconds in enumerate((2.3, 12.0)):
        clip = torch.from_numpy(zoo_formula.clip(16000, seconds))[None]
        assert relative_error(opera.embed(clip)["block12"], golden["embedding"][row : row + 1]) < 1e-4


def test_opera_ct_with_shorter_minimum(opera):
    clip = torch.from_numpy(zoo_formula.clip(16000, 2.3))[None]
    opera.min_samples, before = 2 * 16000, opera.min_samples
    vector = opera.embed(clip)["block12"]
    opera.min_samples = before
    assert relative_error(vector[0], arrays("opera_ct")["embedding_2p3_minlen2"]) < 1e-4


def test_opera_ct_averages_windows_of_long_recordings(opera):
    long = torch.from_numpy(zoo_formula.clip(16000, 1600 * 512 / 16000))
    spectrogram = opera.frontend(trim_silence(long))
    windows = opera.network(torch.stack([spectrogram[:1024], spectrogram[512:1536]]))["block12"]
    torch.testing.assert_close(opera.embed(long[None])["block12"][0], windows.mean(0))


def test_another_model_of_the_family_is_refused(tmp_path):
    file = tmp_path / "CLAP_weights_2023.pth"
    torch.save({"model": {"audio_encoder.base.bn0.weight": torch.ones(64)}}, file)
    with pytest.raises(RespfmError, match=r"model 'clap_2023': .* this is not the publisher's file"):
        load_encoder("clap_2023", file)
