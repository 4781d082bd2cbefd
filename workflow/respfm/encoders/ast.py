"""AST, the Audio Spectrogram Transformer fine-tuned on AudioSet (Gong et al. 2021), on the network of `transformers`.

The paper's plugin replaces AudioSet's statistics of the spectrogram by those of the task's files: `fit_statistics`.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import ASTConfig, ASTModel

from respfm.encoders.clipwise import ClipwiseEncoder
from respfm.encoders.frontends import fit_statistics, kaldi_fbank
from respfm.encoders.names import rename, split_joint
from respfm.encoders.weights_file import fill, read_state
from respfm.errors import RespfmError

SHORTEST = 400 + 15 * 160
LONGEST = 16 * 10240
AUDIOSET_STATISTICS = (-4.2677393, 4.5689974)
NAMES = {
    r"^pos_embed$": "embeddings.position_embeddings",
    r"^cls_token$": "embeddings.cls_token",
    r"^dist_token$": "embeddings.distillation_token",
    r"^patch_embed\.proj\.": "embeddings.patch_embeddings.projection.",
    r"^blocks\.": "layers.",
    r"\.norm1\.": ".layernorm_before.",
    r"\.norm2\.": ".layernorm_after.",
    r"\.attn\.proj\.": ".attention.o_proj.",
    r"\.attn\.": ".attention.",
    r"^norm\.": "layernorm.",
}
HUB_NAMES = {
    r"^encoder\.layer\.": "layers.",
    r"\.attention\.attention\.(query|key|value)\.": lambda match: f".attention.{match[1][0]}_proj.",
    r"\.attention\.output\.dense\.": ".attention.o_proj.",
    r"\.intermediate\.dense\.": ".mlp.fc1.",
    r"\.output\.dense\.": ".mlp.fc2.",
}


class ASTEncoder(ClipwiseEncoder):
    """Layers "block1".."block12": mean of the class and the distillation token after each block, the last after the
    final LayerNorm. Spectrograms are (x - mean) / (2 std), with `norm_stats` (mean, std).
    """

    def __init__(self, network: ASTModel, norm_stats: Sequence[float], default_layer: str | None = None) -> None:
        self.network, self.norm_stats = network, tuple(norm_stats)
        super().__init__(16000, [f"block{i}" for i in range(1, len(network.layers) + 1)], default_layer, network)

    def fit_statistics(self, batches: Iterable[tuple[Tensor, Tensor]], plugin: bool) -> None:
        """Replace `norm_stats` by those of the spectrograms of waveforms [B, samples] with their lengths [B]."""
        self.norm_stats = fit_statistics(batches, self.spectrograms, plugin)

    def spectrograms(self, waveforms: Tensor) -> Tensor:
        """Filter bank [B, frames, 128] of `waveforms` [B, samples], not normalised."""
        return kaldi_fbank(waveforms - waveforms.mean(1, keepdim=True))

    def encode(self, waveforms: Tensor) -> dict[str, Tensor]:
        """{layer: [B, 768]} of 16 kHz `waveforms` [B, samples], at most 10.24 s; up to 0.175 s zeros are appended."""
        if waveforms.shape[1] > LONGEST:
            raise RespfmError(f"AST takes at most 10.24 s at once, not {waveforms.shape[1] / 16000:.2f} s")
        waveforms = F.pad(waveforms, (0, max(0, SHORTEST - waveforms.shape[1])))
        mean, std = self.norm_stats
        embeddings = self.network.embeddings
        patches = embeddings.patch_embeddings((self.spectrograms(waveforms) - mean) / (2 * std))
        first = torch.cat((embeddings.cls_token, embeddings.distillation_token), 1).expand(len(patches), -1, -1)
        tokens = torch.cat((first, patches), 1) + self.positions(patches.shape[1])
        states = []
        for block in self.network.layers:
            tokens = block(tokens)
            states.append(tokens)
        states[-1] = self.network.layernorm(tokens)
        return {layer: state[:, :2].mean(1) for layer, state in zip(self.layers, states, strict=True)}

    def positions(self, patches: int) -> Tensor:
        """The middle columns of the position table, as many as `patches` need; so the AST repository cuts it."""
        table = self.network.embeddings.position_embeddings
        rows, columns = self.network.embeddings.get_shape(self.network.config)
        width = patches // rows
        start = columns // 2 - width // 2
        grid = table[:, 2:].unflatten(1, (rows, columns))[:, :, start : start + width]
        return torch.cat((table[:, :2], grid.flatten(1, 2)), 1)


def load(
    checkpoint: Path | None = None,
    norm_stats: Sequence[float] = AUDIOSET_STATISTICS,
    default_layer: str | None = None,
    trust: bool = False,
) -> ASTEncoder:
    """Load the authors' .pth or the hub's weight file of AST."""
    state = read_state(checkpoint, ["module.", "v.", "audio_spectrogram_transformer."], trust=trust)
    state = rename(rename(split_joint(state, "qkv", ("q_proj", "k_proj", "v_proj")), NAMES), HUB_NAMES)
    with torch.device("meta"):
        network = ASTModel(ASTConfig(layer_norm_eps=1e-6))
    fill(network, state, checkpoint, unused=r"(mlp_|head|head_dist|classifier).*")
    return ASTEncoder(network, norm_stats, default_layer)
