"""BYOL-A: version 1 (Niizumi et al. 2021; 512, 1024 or 2048 values) and version 2 (2023; 3072 values).

The paper cites the second and its scripts use the first, with 2048 values.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from respfm.encoders.base import check_option
from respfm.encoders.clipwise import ClipwiseEncoder
from respfm.encoders.frontends import fit_statistics, in_float32
from respfm.encoders.train_mode import MICRO_BATCH, NormalisedByBatch, joined, training_behaviour
from respfm.encoders.weights_file import fill, read_state
from respfm.logmel.frontend import LogMel

STAGES = {1: 3, 2: 2}
"""Convolutions of each version; each halves frequency and time."""
CHANNELS = 64
N_MELS = 64


class ByolaNetwork(nn.Module):
    """Normalised log-mel [B, 64, frames] to frame features of each layer in turn: name, [B, frames / 2**stages, dim].

    Layers "conv1".. are flattened over frequency and channels, then "fc1" and "fc2" [dim]. Version 2 puts the features
    of its last convolution in front of "fc2".
    """

    def __init__(self, version: int, dim: int) -> None:
        super().__init__()
        self.version = version
        stages = STAGES[version]
        self.features = nn.Sequential()
        for stage in range(stages):
            self.features.append(nn.Conv2d(CHANNELS if stage else 1, CHANNELS, 3, padding=1))
            self.features.append(nn.BatchNorm2d(CHANNELS))
            self.features.append(nn.ReLU())
            self.features.append(nn.MaxPool2d(2))
        flat = CHANNELS * N_MELS // 2**stages
        self.fc = nn.Sequential(nn.Linear(flat, dim), nn.ReLU(), nn.Dropout(0.3), nn.Linear(dim, dim), nn.ReLU())

    def forward(self, logmel: Tensor) -> Iterator[tuple[str, Tensor]]:
        x = logmel[:, None]
        for stage in range(STAGES[self.version]):
            convolution, norm, activation, pool = self.features[4 * stage : 4 * stage + 4]
            if self.training:
                micro_batches = NormalisedByBatch(convolution, norm, x.split(MICRO_BATCH))
                x = joined(map(pool, micro_batches), len(x))
            else:
                x = pool(activation(norm(convolution(x))))
            flat = x.permute(0, 3, 2, 1).flatten(2)
            yield f"conv{stage + 1}", flat
        hidden = self.fc[:2](flat)
        yield "fc1", hidden
        last = self.fc[2:](hidden)
        yield "fc2", torch.cat([flat, last], dim=-1) if self.version == 2 else last


class ByolaEncoder(ClipwiseEncoder):
    """Mean + maximum over time of the frame features of each layer.

    `norm_stats` (mean, standard deviation of the log-mel) should be those of the data (`fit_statistics`), as its
    authors have it; by default they are those of the example of the BYOL-A repository, from spoken commands.
    `train_seed` repeats what the paper's plugin did, which left the network in training mode.
    """

    def __init__(
        self,
        network: ByolaNetwork,
        norm_stats: Sequence[float],
        default_layer: str | None = None,
        train_seed: int | None = None,
    ) -> None:
        self.network, self.train_seed = network, train_seed
        self.mean, self.std = norm_stats
        self.logmel = LogMel(16000, 1024, 160, N_MELS, 60, 7800)
        layers = [*(f"conv{i}" for i in range(1, STAGES[network.version] + 1)), "fc1", "fc2"]
        super().__init__(16000, layers, default_layer, network, self.logmel)

    def fit_statistics(self, batches: Iterable[tuple[Tensor, Tensor]], plugin: bool) -> None:
        """Replace the statistics by those of the log-mels of waveforms [B, samples] with their lengths [B]."""
        self.mean, self.std = fit_statistics(batches, self.spectrograms, plugin)

    def encode(self, waveforms: Tensor) -> dict[str, Tensor]:
        """{layer: [B, dim]} of `waveforms` [B, samples]; below 80 ms zeros are appended."""
        normalised = (self.spectrograms(waveforms) - self.mean) / self.std
        with training_behaviour(self.network, self.train_seed):
            return {layer: frames.mean(1) + frames.amax(1) for layer, frames in self.network(normalised)}

    @in_float32
    def spectrograms(self, waveforms: Tensor) -> Tensor:
        """Log-mels [B, 64, frames] of `waveforms` [B, samples], at least as many frames as make one of the network."""
        frames = 2 ** STAGES[self.network.version]
        shortest = max(frames * self.logmel.hop_length, self.logmel.n_fft // 2 + 1)
        padded = F.pad(waveforms, (0, max(0, shortest - waveforms.shape[1])))
        return joined(map(self.logmel, padded.split(MICRO_BATCH)), len(waveforms))


def load(
    checkpoint: Path | None = None,
    version: int = 1,
    norm_stats: Sequence[float] = (-5.4919195, 5.0389895),
    default_layer: str | None = None,
    train_seed: int | None = None,
    trust: bool = False,
) -> ByolaEncoder:
    """`version` 1 or 2 of BYOL-A; the width is that of the file."""
    check_option("version", version, STAGES)
    state = read_state(checkpoint, ["module."], trust=trust)
    with torch.device("meta"):
        network = ByolaNetwork(version, len(state.get("fc.0.bias", range(2048))))
    return ByolaEncoder(fill(network, state, checkpoint), norm_stats, default_layer, train_seed)
