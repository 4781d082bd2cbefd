"""How OPERA (Zhang et al. 2024) prepares recordings, for its own encoders and its baseline AudioMAE."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from respfm.encoders.frontends import in_float32
from respfm.logmel.frontend import hann_window, mel_filters

SAMPLE_RATE = 16000
FRAME, HOP = 1600, 800
SILENCE_DECIBELS = -60
QUIETEST_POWER = 1e-10
DYNAMIC_RANGE = 80


def trim_silence(waveform: Tensor) -> Tensor:
    """`waveform` [samples] without a start and end 60 dB below its loudest 100 ms; unchanged if it is all silence."""
    padded = F.pad(waveform.double(), (FRAME // 2, FRAME // 2))
    power = padded.unfold(0, FRAME, HOP).square().mean(dim=1)
    decibels = 10 * (power.clamp_min(QUIETEST_POWER) / power.max().clamp_min(QUIETEST_POWER)).log10()
    loud = (decibels > SILENCE_DECIBELS).nonzero().flatten()
    return waveform[int(loud[0]) * HOP : (int(loud[-1]) + 1) * HOP]


def repeat_in_front(waveform: Tensor, samples: int) -> Tensor:
    """At least `samples` samples: `waveform` [n] after as much of its own repetition as is missing."""
    if len(waveform) >= samples:
        return waveform
    return waveform.repeat(-(-samples // len(waveform)))[-samples:]


class OperaSpectrogram(nn.Module):
    """Waveform [samples] to a mel spectrogram in dB below its maximum, scaled to [0, 1]: [1 + samples // 512, 64]."""

    n_fft, hop_length, n_mels = 1024, 512, 64

    def __init__(self) -> None:
        super().__init__()
        filters = torch.from_numpy(mel_filters(SAMPLE_RATE, self.n_fft, self.n_mels, 50, 8000)).T
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("window", hann_window(self.n_fft), persistent=False)

    @in_float32
    def forward(self, waveform: Tensor) -> Tensor:
        spectrum = torch.stft(
            waveform, self.n_fft, self.hop_length, window=self.window, pad_mode="constant", return_complex=True
        )
        decibels = 10 * (spectrum.abs().square().T @ self.filters).clamp_min(QUIETEST_POWER).log10()
        decibels = decibels.clamp_min(decibels.max() - DYNAMIC_RANGE)
        span = decibels.max() - decibels.min()
        return (decibels - decibels.min()) / span.clamp_min(torch.finfo(span.dtype).tiny)
