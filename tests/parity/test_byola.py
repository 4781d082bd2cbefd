"""BYOL-A, both versions, against the reference networks."""

import hashlib
import os
from pathlib import Path

import pytest
import torch
import zoo_formula
from respfm.encoders import load_encoder
from respfm.errors import RespfmError
from zoo_golden import arrays, description, load_published, relative_error, state_dict

TOLERANCE = 1e-4


def clips() -> torch.Tensor:
    return torch.from_numpy(zoo_formula.clips(16000))


def short() -> torch.Tensor:
    return torch.from_numpy(zoo_formula.clip(16000, 2.3))[None]


def load(name: str, family: str, path: Path, **options):
    return load_published(family, state_dict(name), path, norm_stats=arrays(name)["norm_stats"].tolist(), **options)


@pytest.mark.parametrize(("name", "family"), [("byola_v1_d2048", "byola"), ("byola_v2_d3072", "byola_v2")])
def test_byola(name, family, tmp_path):
    golden = arrays(name)
    encoder = load(name, family, tmp_path / "byola.pth")
    logmel = encoder.logmel(clips())
    assert logmel.shape == tuple(golden["logmel_shape"])
    assert (logmel[0, :, :240:8] - torch.from_numpy(golden["logmel_clip0"])).abs().max() < 1e-3
    assert (logmel[1, :, :1000:20] - torch.from_numpy(golden["logmel_clip1"])).abs().max() < 1e-3
    with torch.inference_mode():
        frames = dict(encoder.network((logmel[:1] - encoder.mean) / encoder.std))["fc2"]
    assert relative_error(frames[0, :40, :64].T, golden["frames_clip0"]) < TOLERANCE
    vectors = encoder.embed(clips())
    assert list(vectors) == encoder.layers
    assert relative_error(vectors["fc2"], golden["embedding"]) < TOLERANCE
    padded = encoder.embed(clips(), torch.tensor([36800, 160000]))
    assert relative_error(padded["fc2"][:1], golden["embedding_2p3_unpadded"]) < TOLERANCE
    for layer, vector in encoder.embed(short()).items():
        assert torch.equal(vector[0], padded[layer][0])


def test_statistics_of_the_data(tmp_path):
    encoder = load_published("byola", state_dict("byola_v1_d2048"), tmp_path / "byola.pth")
    for plugin in (True, False):
        encoder.fit_statistics([(clips(), torch.tensor([160000, 160000]))], plugin)
        fitted = torch.tensor([encoder.mean, encoder.std])
        assert relative_error(fitted, arrays("byola_v1_d2048")["norm_stats"]) < TOLERANCE


def test_width_is_that_of_the_file(tmp_path):
    state = state_dict("byola_v1_d2048")
    narrow = {"fc.0.weight": state["fc.0.weight"][:512], "fc.0.bias": state["fc.0.bias"][:512]}
    narrow |= {"fc.3.weight": state["fc.3.weight"][:512, :512], "fc.3.bias": state["fc.3.bias"][:512]}
    encoder = load_published("byola", {**state, **narrow}, tmp_path / "d512.pth")
    assert encoder.embed(short())["fc2"].shape == (1, 512)
    assert encoder.embed(short()[:, :100])["fc2"].isfinite().all()


def test_training_mode_repeats(tmp_path):
    encoder = load("byola_v1_d2048", "byola", tmp_path / "byola.pth", train_seed=3)
    first = encoder.embed(short())["fc2"]
    assert torch.equal(first, encoder.embed(short())["fc2"])
    encoder.train_seed = 4
    assert not torch.allclose(first, encoder.embed(short())["fc2"], rtol=0.1)


def test_the_other_version_is_refused(tmp_path):
    with pytest.raises(RespfmError, match=r"model 'byola_v2': .* this is not the publisher's file"):
        load_published("byola_v2", state_dict("byola_v1_d2048"), tmp_path / "v1.pth")


def test_published_weights():
    """Its licence keeps the file out of the repository: RESPFM_BYOLA_D512 may name AudioNTT2020-BYOLA-64x96d512.pth."""
    path = os.environ.get("RESPFM_BYOLA_D512")
    if not path:
        pytest.skip("RESPFM_BYOLA_D512 does not name the published file")
    golden = arrays("byola_v1_d512_real")
    assert hashlib.sha256(Path(path).read_bytes()).hexdigest() == description("byola_v1_d512_real")["sha256"]
    encoder = load_encoder("byola", path, norm_stats=golden["norm_stats"].tolist())
    assert relative_error(encoder.embed(clips())["fc2"], golden["embedding"]) < TOLERANCE
    assert relative_error(encoder.embed(short())["fc2"], golden["embedding_2p3_unpadded"]) < TOLERANCE
