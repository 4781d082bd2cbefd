"""Log-mel spectrogram of the M2D reference: Slaney mel bands of the power spectrum, natural logarithm.

A real FFT replaces the reference's dense convolution; both agree to about 5e-5 in the log.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from respfm.errors import RespfmError

EPSILON = 2.0**-23
UNITS = "ln(mel power + 2**-23)"

_BLOCK = 512  # frames

_HERTZ_PER_MEL = 200 / 3
_BREAK_HERTZ = 1000.0
_BREAK_MEL = _BREAK_HERTZ / _HERTZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27


def _hertz_to_mel(hertz: float) -> float:
    if hertz < _BREAK_HERTZ:
        return hertz / _HERTZ_PER_MEL
    return _BREAK_MEL + np.log(hertz / _BREAK_HERTZ) / _LOG_STEP


def _mel_to_hertz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < _BREAK_MEL, mel * _HERTZ_PER_MEL, _BREAK_HERTZ * np.exp(_LOG_STEP * (mel - _BREAK_MEL)))


def mel_filters(sample_rate: int, n_fft: int, n_mels: int, f_min: float, f_max: float) -> np.ndarray:
    """Triangular filters of Slaney's Auditory Toolbox, each of unit area in Hz.

    Returns float32 `[n_mels, n_fft // 2 + 1]`. The scale is linear below 1 kHz and logarithmic above; values
    equal `librosa.filters.mel` bit for bit.
    """
    edges = _mel_to_hertz(np.linspace(_hertz_to_mel(f_min), _hertz_to_mel(f_max), n_mels + 2))
    bins = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    return (triangles * (2 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)


class LogMel(nn.Module):
    """Waveform `[..., samples]` to natural log of mel power `[..., n_mels, 1 + samples // hop_length]`.

    Frames are centred with reflected edges and a periodic Hann window of `n_fft` samples, so that at least
    `n_fft // 2 + 1` samples are needed (RespfmError otherwise). The defaults are those of the 16 kHz M2D
    models; the 32 kHz ones double `sample_rate`, `n_fft`, `hop_length` and `f_max`.
    """

    def __init__(
        self,
        sample_rate: int = 16000,
        n_fft: int = 400,
        hop_length: int = 160,
        n_mels: int = 80,
        f_min: float = 50,
        f_max: float = 8000,
    ) -> None:
        super().__init__()
        self.sample_rate, self.n_fft, self.hop_length = sample_rate, n_fft, hop_length
        self.n_mels, self.f_min, self.f_max = n_mels, f_min, f_max
        filters = torch.from_numpy(mel_filters(sample_rate, n_fft, n_mels, f_min, f_max))
        # Two equal rows per bin: the matrix product adds the squares of its real and imaginary parts.
        self.register_buffer("filters", filters.T.repeat_interleave(2, dim=0), persistent=False)
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)

    def definition(self) -> dict[str, int | float]:
        """Keyword arguments that rebuild this front end; stored with everything that is made by it."""
        names = ("sample_rate", "n_fft", "hop_length", "n_mels", "f_min", "f_max")
        return {name: getattr(self, name) for name in names}

    def frame_count(self, samples: int) -> int:
        """Frames of a waveform of `samples` samples."""
        return 1 + samples // self.hop_length

    def forward(self, waveform: Tensor) -> Tensor:
        return self._transform(self._pad(waveform)).transpose(-1, -2)

    def ragged(self, waveforms: Sequence[Tensor]) -> list[Tensor]:
        """Log-mel `[n_mels, frames_i]` of waveforms `[samples_i]` of different lengths, in one pass over all.

        Each padded waveform starts on a multiple of the hop in one long signal; frames across two are cut. The
        signal is transformed in blocks that stay in the processor's cache.
        """
        if not waveforms:
            return []
        padded = [self._pad(waveform) for waveform in waveforms]
        slots = [-(-len(signal) // self.hop_length) for signal in padded]
        starts = np.cumsum([0, *slots[:-1]])
        joined = padded[0].new_zeros(sum(slots) * self.hop_length + self.n_fft)
        for start, signal in zip(starts, padded, strict=True):
            joined[start * self.hop_length :][: len(signal)] = signal
        overlap = self.n_fft - self.hop_length
        frames = torch.cat(
            [
                self._transform(joined[first * self.hop_length :][: _BLOCK * self.hop_length + overlap])
                for first in range(0, sum(slots), _BLOCK)
            ]
        )
        return [
            frames[start : start + self.frame_count(len(waveform))].T
            for start, waveform in zip(starts, waveforms, strict=True)
        ]

    def _pad(self, waveform: Tensor) -> Tensor:
        """Reflect half a window at both ends of the last axis."""
        half, samples = self.n_fft // 2, waveform.shape[-1]
        if samples <= half:
            raise RespfmError(
                f"A waveform of {samples} samples is too short for a log-mel frame; give at least {half + 1}."
            )
        left, right = waveform[..., 1 : half + 1], waveform[..., -half - 1 : -1]
        return torch.cat((left.flip(-1), waveform, right.flip(-1)), dim=-1)

    def _transform(self, padded: Tensor) -> Tensor:
        """Log-mel frames `[..., frames, n_mels]` of signals that need no more padding."""
        spectrum = torch.fft.rfft(padded.unfold(-1, self.n_fft, self.hop_length) * self.window)
        power = torch.view_as_real(spectrum).flatten(-2).square_()
        return (power @ self.filters).add_(EPSILON).log_()
