"""OpenL3 against the reference network, on single frames: a clip of 10 s has 96 and takes half a minute."""

import numpy as np
import pytest
import torch
import torchaudio
import zoo_formula
from zoo_golden import arrays, load_published, relative_error, state_dict

TOLERANCE = 1e-4
BINS, TAPS = 1025, 2048


def fourier_kernels() -> dict[str, torch.Tensor]:
    """Cosines and sines under a Hann window that was rounded first, as kapre makes them."""
    phase = np.outer(np.arange(BINS), np.arange(TAPS)) % TAPS * (2 * np.pi / TAPS)
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(TAPS) / TAPS)).astype(np.float32)
    parts = {"real": np.cos(phase), "imag": np.sin(phase)}
    return {
        f"speclayer.dft_{part}_kernels": torch.from_numpy((wave * window).astype(np.float32))[:, None]
        for part, wave in parts.items()
    }


@pytest.fixture(scope="module")
def openl3(tmp_path_factory):
    with pytest.warns(UserWarning, match="filterbank has all zero"):
        bands = torchaudio.functional.melscale_fbanks(BINS, 0, 24000, 256, 48000, norm="slaney", mel_scale="htk").T
    assert relative_error(bands.sum(1), arrays("openl3_env_mel256_6144")["mel_basis_row_sums"]) < TOLERANCE
    tables = {**fourier_kernels(), "speclayer.mel_basis": bands.contiguous()}
    path = tmp_path_factory.mktemp("openl3") / "torchopenl3_mel256_env_6144.pth.tar"
    return load_published("openl3", state_dict("openl3_env_mel256_6144", tables), path)


def test_frames(openl3):
    golden = arrays("openl3_env_mel256_6144")
    frames = openl3.frames(torch.from_numpy(zoo_formula.clips(48000)))
    assert frames.shape[:2] == tuple(golden["n_frames"][:2])
    mel = openl3.network.speclayer(frames[0, 20:21])
    assert mel[0, 0, ..., None].shape == tuple(golden["mel_frame20_clip0_shape"][1:])
    assert (mel[0, 0, ::4, ::4] - torch.from_numpy(golden["mel_frame20_clip0"])).abs().max() < 1e-3
    with torch.inference_mode():
        vectors = openl3.encode_frames(torch.stack([frames[0, 20], frames[1, 50]]))["embedding"]
    assert relative_error(vectors[0], golden["frame_embedding_clip0_t20"]) < TOLERANCE
    assert relative_error(vectors[1], golden["frame_embedding_clip1_t50"]) < TOLERANCE


def test_clip_is_mean_and_maximum_of_its_frames(openl3):
    waveform = torch.from_numpy(zoo_formula.clip(48000, 2.3))[None, 30000:58800]
    padded = torch.nn.functional.pad(waveform, (0, 500), value=0.3)
    vectors = openl3.embed(padded, torch.tensor([28800]))
    frames = openl3.frames(waveform)[0]
    assert len(frames) == 2
    assert torch.equal(frames[0, :24000], torch.zeros(24000))
    with torch.inference_mode():
        for layer, each in openl3.encode_frames(frames).items():
            assert torch.equal(vectors[layer][0], each.mean(0) + each.amax(0))
