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

_BLOCK = 1024  # frames whose spectra stay in the processor's cache
_BANDS = 16  # filters of one matrix product

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


def hann_window(samples: int) -> Tensor:
    """Periodic Hann window, float32 `[samples]`.

    It is made in float64: PyTorch's own float32 window is nine times as far from the definition, which quiet bins show.
    """
    return torch.hann_window(samples, dtype=torch.float64).float()


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
        self.register_buffer("filters", filters.T.contiguous(), persistent=False)
        self.register_buffer("window", hann_window(n_fft), persistent=False)
        self._groups = [self._occupied(first) for first in range(0, n_mels, _BANDS)]

    def _occupied(self, first: int) -> tuple[slice, slice]:
        """Where `filters` is not all zero for a group of neighbouring filters: rows and columns."""
        columns = slice(first, first + _BANDS)
        rows = self.filters[:, columns].any(dim=1).nonzero().flatten().tolist() or [0]
        return slice(rows[0], rows[-1] + 1), columns

    def definition(self) -> dict[str, int | float]:
        """Keyword arguments that rebuild this front end; stored with everything that is made by it."""
        names = ("sample_rate", "n_fft", "hop_length", "n_mels", "f_min", "f_max")
        return {name: getattr(self, name) for name in names}

    def forward(self, waveform: Tensor) -> Tensor:
        return self._transform(self._pad(waveform)).transpose(-1, -2)

    def ragged(self, waveforms: Sequence[Tensor]) -> list[Tensor]:
        """Log-mel `[n_mels, frames_i]` of waveforms `[samples_i]` of different lengths.

        Each is transformed in blocks of frames that stay in the processor's cache; the numbers of one do not
        depend on the others.
        """
        return [self._by_blocks(self._pad(waveform)).T for waveform in waveforms]

    def _by_blocks(self, padded: Tensor) -> Tensor:
        step, overlap = _BLOCK * self.hop_length, self.n_fft - self.hop_length
        starts = range(0, len(padded) - self.n_fft + 1, step)
        return torch.cat([self._transform(padded[start : start + step + overlap]) for start in starts])

    def _pad(self, waveform: Tensor) -> Tensor:
        """Reflect half a window at both ends of the last axis."""
        half, samples = self.n_fft // 2, waveform.shape[-1]
        if samples <= half:
            raise RespfmError(
                f"A waveform of {samples} samples is too short for a log-mel frame; give at least {half + 1}"
            )
        left, right = waveform[..., 1 : half + 1], waveform[..., -half - 1 : -1]
        return torch.cat((left.flip(-1), waveform, right.flip(-1)), dim=-1)

    def _transform(self, padded: Tensor) -> Tensor:
        """Log-mel frames `[..., frames, n_mels]` of signals that need no more padding."""
        spectrum = torch.fft.rfft(padded.unfold(-1, self.n_fft, self.hop_length) * self.window)
        squares = torch.view_as_real(spectrum).square_()
        power = squares[..., 0] + squares[..., 1]
        bands = [power[..., rows] @ self.filters[rows, columns] for rows, columns in self._groups]
        return torch.cat(bands, dim=-1).add_(EPSILON).log_()
