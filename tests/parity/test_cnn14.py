"""PANNs Cnn14 and CLAP 2022 against the reference networks, and reading their files."""

import pytest
import torch
import zoo_formula
from respfm.encoders import load_encoder
from respfm.errors import RespfmError
from zoo_golden import arrays, load_published, relative_error, state_dict

TOLERANCE = 1e-4
LOUD = -40


def assert_decibels(actual: torch.Tensor, expected) -> None:
    """Front ends agree to 1e-3 dB, and to 0.05 dB where the reference's single-precision DFT is mostly rounding."""
    difference = (actual - torch.from_numpy(expected)).abs()
    assert difference.max() < 0.05
    assert difference[actual > LOUD].max() < 1e-3


def clips() -> torch.Tensor:
    return torch.from_numpy(zoo_formula.clips(16000))


@pytest.fixture(scope="module")
def panns():
    return {"iteration": 600000, "model": state_dict("panns_cnn14_16k")}


@pytest.fixture(scope="module")
def cnn14(panns, tmp_path_factory):
    path = tmp_path_factory.mktemp("panns") / "Cnn14_16k_mAP=0.438.pth"
    tables = {"logmel_extractor.melW": torch.zeros(257, 64), "fc_audioset.bias": torch.zeros(527)}
    return load_published("cnn14", {**panns, "model": {**panns["model"], **tables}}, path)


def test_cnn14(cnn14):
    golden = arrays("panns_cnn14_16k")
    logmel = cnn14.frontend(clips())
    assert (len(logmel), 1, *logmel.shape[1:]) == tuple(golden["logmel_shape"])
    assert_decibels(logmel[0, :240:8], golden["logmel_clip0"])
    assert_decibels(logmel[1, ::20], golden["logmel_clip1"])
    vectors = cnn14.embed(clips())
    assert list(vectors) == cnn14.layers
    assert relative_error(vectors["fc1"], golden["embedding"]) < TOLERANCE


def test_padding_and_neighbours_do_not_count(cnn14):
    short = clips()[:1, :36800]
    together = torch.cat([torch.nn.functional.pad(short, (0, 11200), value=0.3), clips()[1:, :48000]])
    alone = cnn14.embed(short)
    padded = cnn14.embed(together, torch.tensor([36800, 48000]))
    for layer in cnn14.layers:
        assert torch.equal(padded[layer][0], alone[layer][0])


def test_training_mode_repeats_and_depends_on_the_batch(cnn14):
    cnn14.train_seed = 1
    pair = clips()[:, 16000:32000]
    first = cnn14.embed(pair)["fc1"]
    assert torch.equal(first, cnn14.embed(pair)["fc1"])
    assert not torch.allclose(first[:1], cnn14.embed(pair[:1])["fc1"], rtol=0.1)
    cnn14.train_seed = None
    assert torch.equal(cnn14.embed(pair)["fc1"], cnn14.embed(pair)["fc1"])
    assert not torch.allclose(first, cnn14.embed(pair)["fc1"], rtol=0.1)


def test_shortest_clip(cnn14):
    assert cnn14.embed(clips()[:1, 8000:8010])["fc1"].isfinite().all()


def test_clap_2022(tmp_path):
    golden = arrays("msclap_2022")
    tables = {"audio_encoder.base.logmel_extractor.melW": torch.zeros(513, 64)}
    text = {"caption_encoder.projection.linear1.weight": torch.zeros(2, 2)}
    content = {"model": {**state_dict("msclap_2022"), **tables, **text}}
    clap = load_published("clap_2022", content, tmp_path / "CLAP_weights_2022.pth")
    short, long = (torch.from_numpy(zoo_formula.clip(44100, seconds))[None] for seconds in (2.3, 12.0))
    vectors = [clap.embed(short), clap.embed(long[:, : 5 * 44100])]
    for i, vector in enumerate(vectors):
        assert relative_error(vector["fc1"][0], golden["backbone_embedding"][i]) < TOLERANCE
        assert relative_error(vector["projection"][0], golden["embedding"][i]) < TOLERANCE
    logmel = clap.frontend(long[:, : 5 * 44100])[0]
    assert_decibels(logmel[::20], golden["logmel_clip1"])
    both = clap.embed(torch.cat([long[:, : 5 * 44100], short], dim=1))
    mean = (5 * vectors[1]["projection"] + 2.3 * vectors[0]["projection"]) / 7.3
    assert relative_error(both["projection"], mean.numpy()) < TOLERANCE


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda state: {k: v for k, v in state.items() if k != "fc1.bias"}, "fc1.bias is missing"),
        (lambda state: {**state, "fc2.bias": torch.zeros(3)}, "fc2.bias is unknown"),
        (lambda state: {**state, "fc1.bias": torch.zeros(3)}, r"fc1.bias has shape \(3,\)"),
    ],
)
def test_files_that_do_not_fit(panns, tmp_path, change, complaint):
    with pytest.raises(RespfmError, match=complaint):
        load_published("cnn14", {"model": change(panns["model"])}, tmp_path / "other.pth")


def test_missing_file_says_where_to_get_it(tmp_path):
    for checkpoint in (None, tmp_path / "absent.pth"):
        with pytest.raises(RespfmError, match=r"CLAP_weights_2022.pth.*huggingface"):
            load_encoder("clap_2022", checkpoint)
