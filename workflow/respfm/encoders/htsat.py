"""HTS-AT (Chen et al. 2022) and the models that are built on it: LAION-CLAP, Microsoft's CLAP 2023 and OPERA-CT.

The network is the audio encoder of CLAP in `transformers`. It stretches any spectrogram to 1024 frames and folds it
into a square of four time quarters, so padding cannot be masked: shorter clips are repeated instead.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import ClapAudioConfig, ClapAudioModel

from respfm.encoders.base import PLUGIN_CROP, WHOLE_RECORDING, Crop, check_option
from respfm.encoders.clipwise import ClipwiseEncoder
from respfm.encoders.cnn14 import Projection
from respfm.encoders.frontends import DecibelMel
from respfm.encoders.names import rename, split_joint
from respfm.encoders.opera_audio import OperaSpectrogram, repeat_in_front, trim_silence
from respfm.encoders.train_mode import training_behaviour
from respfm.encoders.weights_file import fill, read_state

BLOCKS = [f"block{i}" for i in range(1, 13)]
FRAMES = 1024
UNUSED = r"(tscam_conv|head|spectrogram_extractor|logmel_extractor)\..*|.*\.attn_mask"
NAMES = {
    r"^bn0\.": "batch_norm.",
    r"\.norm1\.": ".layernorm_before.",
    r"\.norm2\.": ".layernorm_after.",
    r"\.attn\.proj\.": ".attention.output.dense.",
    r"\.attn\.": ".attention.self.",
    r"\.mlp\.fc1\.": ".intermediate.dense.",
    r"\.mlp\.fc2\.": ".output.dense.",
}
HUB_TRUNK, HUB_PROJECTION = "audio_model.audio_encoder.", "audio_projection."
HUB_NAMES = {r"^linear1\.": "0.", r"^linear2\.": "2."}


class HTSAT(nn.Module):
    """Spectrograms [B, frames <= 1024, 64] to the mean over tokens of each of 12 blocks, the last after the final norm.

    In training mode paths are dropped and stripes of the spectrogram masked, as in the HTS-AT repository.
    """

    def __init__(self) -> None:
        super().__init__()
        config = ClapAudioConfig(drop_path_rate=0.1, hidden_dropout_prob=0.0)
        self.trunk = ClapAudioModel(config).audio_encoder
        self.trunk.batch_norm.register_forward_hook(
            lambda module, _, image: mask_stripes(image) if module.training else image
        )

    def forward(self, spectrogram: Tensor) -> dict[str, Tensor]:
        means: list[Tensor] = []
        blocks = [block for stage in self.trunk.layers for block in stage.blocks]
        hooks = [block.register_forward_hook(lambda *call: means.append(call[-1][0].mean(1))) for block in blocks]
        try:
            latent = self.trunk(spectrogram[:, None]).pooler_output
        finally:
            for hook in hooks:
                hook.remove()
        return dict(zip(BLOCKS, [*means[:-1], latent], strict=True))


def mask_stripes(image: Tensor) -> Tensor:
    """`image` [B, 64, frames, 1] with two stripes of up to 63 frames and two of up to 7 bands of each clip zeroed."""
    image = image.clone()
    for clip in image:
        for axis, widest in ((1, 64), (1, 64), (0, 8), (0, 8)):
            width = int(torch.randint(widest, ()))
            start = int(torch.randint(clip.shape[axis] - width, ()))
            clip.narrow(axis, start, width).zero_()
    return image


class UnitNorm(nn.Module):
    """Vectors [B, dim] of length one."""

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1)


def tile(clips: Tensor, samples: int) -> Tensor:
    """`clips` [B, n] repeated and cut to `samples` samples."""
    return clips.repeat(1, -(-samples // clips.shape[1]))[:, :samples]


def tile_whole(clips: Tensor, samples: int) -> Tensor:
    """`clips` [B, n] repeated as often as they fit wholly into `samples` samples, then zeros."""
    repeated = clips.repeat(1, max(1, samples // clips.shape[1]))
    return F.pad(repeated, (0, samples - repeated.shape[1]))


@dataclass(frozen=True)
class Variant:
    """A published model: where its trunk and projection are in the file, and what is particular about its input.

    `mel` are the arguments of DecibelMel: CLAP 2023 applies the filters of 32 kHz to audio of 44.1 kHz. The network
    takes as many seconds as `crop` has; `fill` repeats a shorter clip.
    """

    trunk: str
    sample_rate: int = 32000
    mel: tuple[int, ...] = (32000, 1024, 320, 64, 50, 14000)
    crop: Crop = PLUGIN_CROP
    fill: Callable[[Tensor, int], Tensor] = tile
    projection: str = ""
    head: Callable[[], nn.Module] | None = None


class HTSATEncoder(ClipwiseEncoder):
    """Layers "block1".."block12" (96 to 768 values) and, of CLAP, "projection" into the space shared with text.

    Clips shorter than the network's input are repeated, longer ones cut into consecutive chunks that count by their
    duration. `train_seed` repeats what the paper's plugin did with HTS-AT, which it left in training mode: BatchNorm
    by the statistics of the batch; paths and stripes dropped at random, by this seed for each batch.
    """

    def __init__(
        self,
        variant: Variant,
        network: HTSAT,
        projection: nn.Module | None,
        frontend: DecibelMel,
        default_layer: str | None = None,
        train_seed: int | None = None,
    ) -> None:
        self.network, self.projection, self.frontend = network, projection, frontend
        self.published_crop, self.fill, self.train_seed = variant.crop, variant.fill, train_seed
        assert variant.crop.seconds is not None
        self.chunk_samples = round(variant.crop.seconds * variant.sample_rate)
        layers = BLOCKS if projection is None else [*BLOCKS, "projection"]
        modules = [network, frontend] if projection is None else [network, projection, frontend]
        super().__init__(variant.sample_rate, layers, default_layer, *modules)

    def encode(self, waveforms: Tensor) -> dict[str, Tensor]:
        """{layer: [B, dim]} of `waveforms` [B, samples]."""
        total: dict[str, Tensor] = {}
        for chunk in waveforms.split(self.chunk_samples, dim=1):
            share = chunk.shape[1] / waveforms.shape[1]
            for layer, values in self.encode_chunk(self.fill(chunk, self.chunk_samples)).items():
                total[layer] = total.get(layer, 0) + share * values
        return total

    def encode_chunk(self, waveforms: Tensor) -> dict[str, Tensor]:
        """{layer: [B, dim]} of `waveforms` [B, chunk_samples]."""
        with training_behaviour(self.network, self.train_seed):
            vectors = self.network(self.frontend(waveforms))
        if self.projection is not None:
            vectors["projection"] = self.projection(vectors[BLOCKS[-1]])
        return vectors


class OperaCTEncoder(ClipwiseEncoder):
    """OPERA-CT: layers "block1".."block12" of the whole clip.

    Silence at both ends is trimmed and clips under `min_seconds` are repeated (OPERA: 8, for COUGHVID 2). Spectrograms
    of more than 1024 frames (32.8 s) are averaged over chunks of that length that overlap by half, without the rest.
    """

    published_crop = WHOLE_RECORDING

    def __init__(self, network: HTSAT, default_layer: str | None = None, min_seconds: float = 8) -> None:
        self.network, self.frontend = network, OperaSpectrogram()
        super().__init__(16000, BLOCKS, default_layer, network, self.frontend)
        self.min_samples = round(min_seconds * self.sample_rate)

    def encode(self, waveforms: Tensor) -> dict[str, Tensor]:
        """{layer: [B, dim]} of `waveforms` [B, samples]."""
        clips = [self.encode_clip(waveform) for waveform in waveforms]
        return {layer: torch.stack([clip[layer] for clip in clips]) for layer in self.layers}

    def encode_clip(self, waveform: Tensor) -> dict[str, Tensor]:
        """{layer: [dim]} of `waveform` [samples]."""
        spectrogram = self.frontend(repeat_in_front(trim_silence(waveform), self.min_samples))
        starts = range(0, max(1, len(spectrogram) - FRAMES - 1), FRAMES // 2)
        chunks = torch.stack([spectrogram[start : start + FRAMES] for start in starts])
        return {layer: values.mean(0) for layer, values in self.network(chunks).items()}


VARIANTS = {
    "htsat": Variant("sed_model."),
    "laion_clap": Variant(
        "module.audio_branch.",
        sample_rate=48000,
        mel=(48000, 1024, 480, 64, 50, 14000),
        fill=tile_whole,
        projection="module.audio_projection.",
        head=lambda: nn.Sequential(nn.Linear(768, 512), nn.ReLU(), nn.Linear(512, 512), UnitNorm()),
    ),
    "clap_2023": Variant(
        "audio_encoder.base.htsat.",
        sample_rate=44100,
        crop=Crop(7, pad=False),
        projection="audio_encoder.projection.",
        head=lambda: Projection(768),
    ),
}


def load(
    checkpoint: Path | None = None,
    architecture: str = "htsat",
    default_layer: str | None = None,
    trust: bool = False,
    **quirks: Any,
) -> HTSATEncoder | OperaCTEncoder:
    """Load the published file of a member of VARIANTS or of OPERA-CT ("opera_ct") without text halves and classifiers.

    `quirks` are `train_seed` (members of VARIANTS) and `min_seconds` ("opera_ct").
    """
    check_option("architecture", architecture, [*VARIANTS, "opera_ct"])
    if architecture == "opera_ct":
        state = below(read_state(checkpoint, trust=trust), "encoder.encoder.htsat.")
        return OperaCTEncoder(fill_trunk(HTSAT(), state, checkpoint), default_layer, **quirks)
    variant = VARIANTS[architecture]
    state = read_state(checkpoint, trust=trust)
    trunk = below(state, variant.trunk) or below(state, HUB_TRUNK)
    network = fill_trunk(HTSAT(), trunk, checkpoint)
    frontend = DecibelMel(*variant.mel)
    frontend.filters = trunk.get("logmel_extractor.melW", frontend.filters)
    head = None
    if variant.head is not None:
        projection = below(state, variant.projection) or rename(below(state, HUB_PROJECTION), HUB_NAMES)
        head = fill(variant.head(), projection, checkpoint)
    return HTSATEncoder(variant, network, head, frontend, default_layer, **quirks)


def fill_trunk(network: HTSAT, state: Mapping[str, Tensor], checkpoint: Path | None) -> HTSAT:
    """`network` in evaluation mode with the weights `state`, named as in the HTS-AT repository."""
    state = split_joint(state, "attn.qkv", [f"attn.{part}" for part in ("query", "key", "value")])
    tables = {name: table for name, table in network.trunk.named_buffers() if name.endswith("_index")}
    fill(network.trunk, {**rename(state, NAMES), **tables}, checkpoint, UNUSED)
    return network.eval()


def below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Entries of `state` whose names start with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
