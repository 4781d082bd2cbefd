"""Spectrograms that several families share: torchlibrosa's log-mel in dB and Kaldi's filter bank."""

from collections.abc import Iterable

import torch
import torchaudio.compliance.kaldi
from torch import Tensor, nn

from respfm.logmel import mel_filters

QUIETEST_POWER = 1e-10


class DecibelMel(nn.Module):
    """Waveform [..., samples] to log-mel [..., 1 + samples // hop_length, n_mels] in dB, as torchlibrosa makes it.

    Slaney mel bands of the power spectrum of centred Hann windows with reflected edges; power below 1e-10 counts as
    -100 dB. A waveform needs more than n_fft / 2 samples.
    """

    def __init__(
        self, sample_rate: int, n_fft: int, hop_length: int, n_mels: int = 64, f_min: float = 50, f_max: float = 8000
    ) -> None:
        super().__init__()
        self.n_fft, self.hop_length = n_fft, hop_length
        filters = torch.from_numpy(mel_filters(sample_rate, n_fft, n_mels, f_min, f_max)).T
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        return 10 * (self.power(waveform) @ self.filters).clamp_min(QUIETEST_POWER).log10()

    def power(self, waveform: Tensor) -> Tensor:
        """Power spectrum [..., frames, 1 + n_fft / 2]."""
        spectrum = torch.stft(
            waveform, self.n_fft, self.hop_length, window=self.window, pad_mode="reflect", return_complex=True
        )
        return spectrum.abs().square().transpose(-1, -2)


def kaldi_fbank(waveforms: Tensor, window: str = "hanning", n_mels: int = 128) -> Tensor:
    """Kaldi's log filter bank of 16 kHz `waveforms` [B, samples]: [B, frames, n_mels], 25 ms every 10 ms, no dither."""
    return torch.stack(
        [
            torchaudio.compliance.kaldi.fbank(
                clip[None], sample_frequency=16000, num_mel_bins=n_mels, window_type=window, htk_compat=True
            )
            for clip in waveforms
        ]
    )


def mean_and_std(spectrograms: Iterable[Tensor]) -> tuple[float, float]:
    """Mean and population standard deviation of all values of `spectrograms`, added up in float64."""
    count, total, squares = 0, 0.0, 0.0
    for spectrogram in spectrograms:
        values = spectrogram.double()
        count += values.numel()
        total += values.sum().item()
        squares += values.square().sum().item()
    mean = total / count
    return mean, max(0.0, squares / count - mean**2) ** 0.5
