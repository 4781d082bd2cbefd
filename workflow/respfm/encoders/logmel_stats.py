"""The baseline below every network: mean and standard deviation over time of each log-mel band."""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from respfm.encoders.clipwise import ClipwiseEncoder
from respfm.encoders.frontends import in_float32
from respfm.logmel.frontend import LogMel


class LogMelStatistics(ClipwiseEncoder):
    """One layer "statistics": the means and the standard deviations of the log-mel frames of a clip."""

    def __init__(self, sample_rate: int = 16000) -> None:
        self.logmel = LogMel(sample_rate=sample_rate)
        super().__init__(sample_rate, ["statistics"], None, self.logmel)

    @in_float32
    def encode(self, waveforms: Tensor) -> dict[str, Tensor]:
        """{"statistics": [B, 2 * n_mels]} of `waveforms` [B, samples]; clips below one frame are filled up."""
        frames = self.logmel(F.pad(waveforms, (0, max(0, self.logmel.n_fft // 2 + 1 - waveforms.shape[1]))))
        std, mean = torch.std_mean(frames, dim=-1, correction=0)
        return {"statistics": torch.cat([mean, std], dim=1)}


def load(checkpoint: Path | None = None, sample_rate: int = 16000) -> LogMelStatistics:
    """The baseline has no weights, so `checkpoint` stays empty."""
    return LogMelStatistics(sample_rate)
