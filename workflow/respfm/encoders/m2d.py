"""M2D and its relatives (M2D+Resp, ftAS, CLAP, S, 16x4, 80x2, MSM-MAE): one ViT encoder, all layers in one pass.

As in the paper's plugin: a clip is cut into chunks of the length that the network was trained on, the last one padded
with zeros (after normalisation); chunks are encoded on their own and every output frame counts once.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from respfm.encoders.base import LayeredEncoder, check_option
from respfm.encoders.frontends import fit_statistics, in_float32
from respfm.errors import RespfmError
from respfm.logmel.frontend import LogMel
from respfm.m2d.checkpoint import load_checkpoint
from respfm.m2d.config import M2DConfig
from respfm.m2d.encoder import M2DEncoder


class M2DAudioEncoder(LayeredEncoder):
    """Clip embeddings of an M2D network.

    Layers "block1".."blockN" are the residual stream after each block; the last is after the final LayerNorm.
    `pooling` "concat" keeps the frequency rows apart (F * dim values, lowest first), "mean" averages them (dim values).
    Chunks have `unit_frames` frames (the trained length if None; positions of longer ones are interpolated). `padding`
    "patch" fills the last chunk up to a whole patch (M2D), "unit" up to a whole chunk, of which the frames without any
    input are then left out (the msm-mae repository).
    """

    def __init__(
        self,
        network: M2DEncoder,
        pooling: str = "concat",
        default_layer: str | None = None,
        unit_frames: int | None = None,
        padding: str = "patch",
    ) -> None:
        check_option("pooling", pooling, ("concat", "mean"))
        check_option("padding", padding, ("patch", "unit"))
        self.network, self.pooling, self.padding = network.eval(), pooling, padding
        self.unit_frames = unit_frames or network.config.input_size[1]
        self.logmel = LogMel(**network.config.front_end)
        layers = [f"block{i}" for i in range(1, network.config.depth + 1)]
        super().__init__(network.config.sample_rate, layers, default_layer, network, self.logmel)

    @torch.inference_mode()
    def embed(self, waveforms: Tensor, lengths: Tensor | None = None) -> dict[str, Tensor]:
        """{layer: float32 [B, F*dim or dim]} of `waveforms` [B, samples].

        With `lengths` each clip is cut to its own samples first, so neither padding nor neighbours
        count. Chunks of one width share a pass, and equal chunks (the silence after short clips) are encoded
        once.
        """
        if lengths is None:
            spectrograms = list(self.spectrograms(waveforms))
        else:
            clips = zip(waveforms, lengths.tolist(), strict=True)
            spectrograms = [self.spectrograms(clip[None, :length])[0] for clip, length in clips]
        groups = defaultdict(list)
        frames = [0] * len(spectrograms)
        for row, spectrogram in enumerate(spectrograms):
            for chunk, columns in self.chunks(spectrogram):
                groups[chunk.shape[-1], columns].append((row, chunk))
                frames[row] += columns
        rows = self.network.config.grid[0]
        means: dict[str, Tensor] = {}
        for (_, columns), members in groups.items():
            chunks, places = distinct([chunk for _, chunk in members])
            shares = torch.zeros(len(spectrograms), len(chunks), dtype=torch.float64)
            for (row, _), place in zip(members, places, strict=True):
                shares[row, place] += 1 / frames[row]
            shares = shares.to(waveforms.device)
            for layer, tokens in zip(self.layers, self.network.layer_tokens(chunks[:, None]), strict=True):
                pooled = tokens.unflatten(1, (rows, -1))[:, :, :columns].sum(2, dtype=torch.float32)
                means[layer] = means.get(layer, 0) + (shares @ pooled.flatten(1).double()).float()
        if self.pooling == "mean":
            means = {layer: mean.unflatten(1, (rows, -1)).mean(1) for layer, mean in means.items()}
        return means

    def spectrograms(self, waveforms: Tensor) -> Tensor:
        """Normalised log-mels [B, mels, frames] of `waveforms` [B, samples]."""
        mean, std = self.network.norm_stats
        return (self.logmels(waveforms) - mean) / std

    @in_float32
    def logmels(self, waveforms: Tensor) -> Tensor:
        """Log-mels [B, mels, frames] of `waveforms` [B, samples], of at least one frame."""
        shortest = self.logmel.n_fft // 2 + 1
        return self.logmel(F.pad(waveforms, (0, max(0, shortest - waveforms.shape[-1]))))

    def chunks(self, spectrogram: Tensor) -> list[tuple[Tensor, int]]:
        """[mels, frames] -> chunks of `unit_frames` (the last maybe shorter), each with its number of output frames."""
        width = self.network.config.patch_size[1]
        *whole, last = spectrogram.split(self.unit_frames, dim=-1)
        missing = self.unit_frames - last.shape[-1]
        if self.padding == "patch":
            missing = min(missing, -last.shape[-1] % width)
        chunks = [(chunk, chunk.shape[-1] // width) for chunk in whole]
        last = F.pad(last, (0, missing))
        return [*chunks, (last, last.shape[-1] // width - missing // width)]


def distinct(chunks: list[Tensor]) -> tuple[Tensor, list[int]]:
    """The different ones among `chunks` of one shape [N, mels, frames], and the place of each of `chunks` there."""
    stacked = torch.stack(chunks)
    known: dict[float, list[int]] = {}
    kept: list[int] = []
    places: list[int] = []
    for index, key in enumerate(stacked.sum((1, 2), dtype=torch.float64).tolist()):
        same = known.setdefault(key, [])
        equal = (place for place in same if torch.equal(stacked[kept[place]], stacked[index]))
        place = next(equal, len(kept))
        if place == len(kept):
            kept.append(index)
            same.append(place)
        places.append(place)
    return stacked if len(kept) == len(stacked) else stacked[kept], places


class DataNormalisedEncoder(M2DAudioEncoder):
    """MSM-MAE in the paper's plugin: log-mels are normalised by the statistics of the data, not the checkpoint's."""

    def fit_statistics(self, batches: Iterable[tuple[Tensor, Tensor]], plugin: bool) -> None:
        """Normalise by the statistics of the log-mels of waveforms [B, samples] with their lengths [B]."""
        self.network.norm_stats.data.copy_(torch.tensor(fit_statistics(batches, self.logmels, plugin)))


def load(
    checkpoint: Path | None = None,
    pooling: str = "concat",
    default_layer: str | None = None,
    unit_frames: int | None = None,
    padding: str = "patch",
    norm_stats: Sequence[float] | None = None,
    data_statistics: bool = False,
    random_seed: int | None = None,
    input_size: Sequence[int] | None = None,
    trust: bool = False,
    **architecture: Any,
) -> M2DAudioEncoder:
    """Load a published or own checkpoint, or draw random weights from `random_seed` for a control.

    `input_size` (mels, frames) is needed only where neither name nor weights tell it; `norm_stats` (mean, standard
    deviation) replaces the statistics of the checkpoint, as those of the data do with `data_statistics`.
    `architecture` holds fields of M2DConfig: those of a random network, or what a checkpoint is expected to have.
    """
    if checkpoint is not None:
        network = load_checkpoint(checkpoint, encoder_only=True, input_size=input_size, trust=trust)
        for name, value in M2DConfig.from_dict({**network.config.to_dict(), **architecture}).to_dict().items():
            if name in architecture and value != getattr(network.config, name):
                raise RespfmError(f"{checkpoint}: {name} is {getattr(network.config, name)}, expected {value}")
    elif random_seed is not None:
        if input_size is not None:
            architecture["input_size"] = input_size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(random_seed)
            network = M2DEncoder(M2DConfig.from_dict(architecture))
    else:
        raise RespfmError("M2D needs a checkpoint file, or `weights: random` with a random_seed")
    if norm_stats is not None:
        network.norm_stats.data = torch.tensor(norm_stats, dtype=torch.float32)
    encoder = DataNormalisedEncoder if data_statistics else M2DAudioEncoder
    return encoder(network, pooling, default_layer, unit_frames, padding)
