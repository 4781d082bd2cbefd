"""The baseline below every network: mean and standard deviation over time of each log-mel band."""

from pathlib import Path

import torch

from respfm.logmel import LogMel


class LogMelStatistics:
    """Two vectors of n_mels: the mean and the standard deviation of the log-mel frames of a clip."""

    default_layer = "statistics"

    def __init__(self, sample_rate: int = 16000) -> None:
        self.sample_rate = sample_rate
        self.layers = [self.default_layer]
        self.logmel = LogMel(sample_rate=sample_rate)

    @torch.inference_mode()
    def embed(self, waveforms: torch.Tensor, lengths: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """{"statistics": float32 [B, 2 * n_mels]} of `waveforms` [B, samples]; frames beyond `lengths` do not count."""
        frames = self.logmel(waveforms)
        valid = torch.ones(frames.shape[0], 1, frames.shape[-1], dtype=frames.dtype)
        if lengths is not None:
            counts = 1 + torch.div(lengths, self.logmel.hop_length, rounding_mode="floor")
            valid = (torch.arange(frames.shape[-1]) < counts[:, None])[:, None].to(frames.dtype)
        total = valid.sum(-1)
        mean = (frames * valid).sum(-1) / total
        variance = ((frames - mean[..., None]).square() * valid).sum(-1) / total
        return {"statistics": torch.cat([mean, variance.sqrt()], dim=1).float()}


def load(checkpoint: Path | None = None, **options) -> LogMelStatistics:
    """The baseline has no weights, so `checkpoint` stays empty."""
    return LogMelStatistics(**options)
