"""Log-mel front end against the numbers of the M2D reference."""

import formulas
import numpy as np
import pytest
import torch
from logmel_golden import LOGMEL, MEL_FILTERS
from respfm.errors import RespfmError
from respfm.logmel.frontend import LogMel, mel_filters

TOLERANCE = 1e-4


@pytest.mark.parametrize("index", range(3))
def test_golden_waveforms(index):
    waveform = formulas.wave("0", index)
    np.testing.assert_array_equal(waveform[:8], LOGMEL[f"wave{index}_first8"])
    spectrogram = LogMel()(torch.from_numpy(waveform)).numpy()
    assert spectrogram.shape == tuple(LOGMEL[f"shape{index}"][1:])
    np.testing.assert_allclose(spectrogram[:, LOGMEL[f"frames{index}"]], LOGMEL[f"lms{index}"], rtol=0, atol=TOLERANCE)
    values = spectrogram.astype(np.float64)
    summary = [values.mean(), values.std(), values.min(), values.max(), np.linalg.norm(values)]
    # The reference's own float32 minimum lies 1.8e-4 from a float64 evaluation of its definition.
    np.testing.assert_allclose(summary, LOGMEL[f"stats{index}"], rtol=1e-6, atol=3e-4)


def test_shortest_waveform():
    waveform = torch.from_numpy(formulas.wave("0", 0)[:201])
    np.testing.assert_allclose(LogMel()(waveform).numpy(), LOGMEL["n201_lms"], rtol=0, atol=TOLERANCE)
    with pytest.raises(RespfmError, match="at least 201"):
        LogMel()(waveform[:200])


def test_mel_filters_equal_librosa_bit_for_bit():
    filters = mel_filters(16000, 400, 80, 50, 8000)
    np.testing.assert_array_equal(filters[[0, 1, 40, 79]], MEL_FILTERS["mel_basis_rows_0_1_40_79"])
    np.testing.assert_array_equal(filters.argmax(axis=1), MEL_FILTERS["mel_basis_argmax"])
    np.testing.assert_array_equal(filters.sum(axis=1, dtype=np.float64), MEL_FILTERS["mel_basis_rowsum"])


def test_silence_is_the_logarithm_of_epsilon():
    assert LogMel()(torch.zeros(1600)).unique().item() == pytest.approx(-15.9424, abs=1e-4)


def direct_log_mel(waveform: np.ndarray, front_end: LogMel) -> np.ndarray:
    """The definition written out in float64: a discrete Fourier transform without FFT."""
    n_fft, hop = front_end.n_fft, front_end.hop_length
    padded = np.pad(waveform.astype(np.float64), n_fft // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    time, frequency = np.arange(n_fft), np.arange(n_fft // 2 + 1)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * time / n_fft)
    spectrum = (frames * window) @ np.exp(-2j * np.pi * np.outer(time, frequency) / n_fft)
    filters = mel_filters(front_end.sample_rate, n_fft, front_end.n_mels, front_end.f_min, front_end.f_max)
    return np.log(filters.astype(np.float64) @ np.abs(spectrum.T) ** 2 + 2.0**-23)


@pytest.mark.parametrize("front_end", [LogMel(), LogMel(sample_rate=32000, n_fft=800, hop_length=320, f_max=16000)])
def test_16_and_32_khz_front_ends_equal_their_definition(front_end):
    waveform = formulas.wave("0", 0, sample_rate=front_end.sample_rate)
    spectrogram = front_end(torch.from_numpy(waveform)).numpy()
    assert spectrogram.shape == (80, 71)
    np.testing.assert_allclose(spectrogram, direct_log_mel(waveform, front_end), rtol=0, atol=TOLERANCE)


def test_ragged_and_batched_equal_one_by_one():
    front_end = LogMel()
    waveforms = [torch.from_numpy(formulas.wave("0", i)[:n]) for i, n in ((0, 201), (1, 97_280), (2, 5000))]
    for waveform, spectrogram in zip(waveforms, front_end.ragged(waveforms), strict=True):
        torch.testing.assert_close(spectrogram, front_end(waveform), rtol=0, atol=1e-5)
        assert torch.equal(spectrogram, *front_end.ragged([waveform]))
    batch = torch.stack([waveforms[1][:5000], waveforms[2]])[:, None]
    torch.testing.assert_close(front_end(batch)[1, 0], front_end(waveforms[2]), rtol=0, atol=1e-5)
    assert front_end.ragged([]) == []


def test_definition_rebuilds_the_front_end():
    front_end = LogMel(n_mels=40, f_max=4000)
    waveform = torch.from_numpy(formulas.wave("0", 0))
    assert torch.equal(LogMel(**front_end.definition())(waveform), front_end(waveform))


def test_gradients_reach_the_waveform():
    waveform = torch.from_numpy(formulas.wave("0", 0)).requires_grad_()
    LogMel()(waveform).mean().backward()
    assert waveform.grad.abs().sum() > 0


def test_float16_costs_less_than_four_thousandths():
    golden = np.concatenate([LOGMEL[f"lms{i}"].ravel() for i in range(3)])
    error = np.abs(golden.astype(np.float16).astype(np.float64) - golden)
    assert error.max() <= 2**-8
    assert error.mean() < 1e-3
