"""Spectrograms that several families share: torchlibrosa's log-mel in dB and Kaldi's filter bank."""

from collections.abc import Callable, Iterable, Sequence

import torch
import torchaudio.compliance.kaldi
from torch import Tensor, nn

from respfm.logmel.frontend import hann_window, mel_filters

QUIETEST_POWER = 1e-10


def in_float32(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Keep automatic mixed precision out of `function`: half the digits would drown quiet bins of a spectrogram."""
    return torch.autocast("cuda", enabled=False)(torch.autocast("cpu", enabled=False)(function))


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
        self.register_buffer("window", hann_window(n_fft), persistent=False)

    @in_float32
    def forward(self, waveform: Tensor) -> Tensor:
        return 10 * (self.power(waveform) @ self.filters).clamp_min(QUIETEST_POWER).log10()

    def power(self, waveform: Tensor) -> Tensor:
        """Power spectrum [..., frames, 1 + n_fft / 2]."""
        spectrum = torch.stft(
            waveform, self.n_fft, self.hop_length, window=self.window, pad_mode="reflect", return_complex=True
        )
        return spectrum.abs().square().transpose(-1, -2)


@in_float32
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


def fit_statistics(
    batches: Iterable[tuple[Tensor, Tensor]], spectrograms: Callable[[Tensor], Tensor], plugin: bool
) -> tuple[float, float]:
    """Mean and standard deviation of the `spectrograms` of waveforms [B, samples] with their lengths [B].

    Padding does not count, unless `plugin`: then as the paper's plugin has it, from whole batches.
    """
    if plugin:
        return plugin_mean_and_std(spectrograms(waveforms) for waveforms, _ in batches)
    return mean_and_std(
        spectrograms(waveform[None, :length])
        for waveforms, lengths in batches
        for waveform, length in zip(waveforms, lengths.tolist(), strict=True)
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


def plugin_mean_and_std(batches: Iterable[Tensor], most: int = 5000) -> tuple[float, float]:
    """The running statistics of the paper's plugin over batches of spectrograms [B, ...], up to `most` clips.

    Its count starts one too low, so the second batch replaces the first; batches of any size weigh the same; squares
    are around the mean so far.
    """
    means: list[float] = []
    squares: list[float] = []
    clips = 0
    for batch in batches:
        means.append(batch.double().mean().item())
        squares.append((batch.double() - _mean_after_first(means)).square().mean().item())
        clips += len(batch)
        if clips >= most:
            break
    return _mean_after_first(means), _mean_after_first(squares) ** 0.5


def _mean_after_first(values: Sequence[float]) -> float:
    counted = values[1:] or values
    return sum(counted) / len(counted)
