"""ATST-Clip and ATST-Frame (Li and Li 2022; Li et al. 2024): transformers over 40 ms patches of the whole mel axis."""

from functools import partial
from pathlib import Path

import torch
import torchaudio
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F

from respfm.encoders.base import check_option
from respfm.encoders.clipwise import ClipwiseEncoder
from respfm.encoders.frontends import in_float32
from respfm.encoders.train_mode import training_behaviour
from respfm.encoders.weights_file import fill, read_state

SAMPLE_RATE, N_FFT, HOP, N_MELS = 16000, 1024, 160, 64
DIM, DEPTH, HEADS, POSITIONS = 768, 12, 12, 251
PATCH_FRAMES = 4
LOWEST, HIGHEST = -79.6482, 50.6842
"""Decibels that become -1 and 1."""
DROP_PATH = 0.1
BLOCKS = [f"block{i}" for i in range(1, DEPTH + 1)]


class MelFrontend(nn.Module):
    """Waveforms [B, samples] to mel spectrograms in dB, at most 80 below each clip's loudest: [B, 64, frames]."""

    def __init__(self) -> None:
        super().__init__()
        self.mel = torchaudio.transforms.MelSpectrogram(
            SAMPLE_RATE, n_fft=N_FFT, hop_length=HOP, f_min=60, f_max=7800, n_mels=N_MELS
        )
        self.decibels = torchaudio.transforms.AmplitudeToDB(stype="power", top_db=80)

    @in_float32
    def forward(self, waveforms: Tensor) -> Tensor:
        decibels = self.decibels(self.mel(waveforms)[:, None])[:, 0]
        return 2 * (decibels - LOWEST) / (HIGHEST - LOWEST) - 1


class PatchEmbedding(nn.Module):
    """Spectrogram [B, 64, frames] to patches [B, frames // 4, 768]."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = nn.Linear(N_MELS * PATCH_FRAMES, DIM)

    def forward(self, mel: Tensor) -> Tensor:
        return self.patch_embed(mel.unfold(2, PATCH_FRAMES, PATCH_FRAMES).permute(0, 2, 1, 3).flatten(2))


class ATST(nn.Module):
    """Spectrogram [B, 64, frames] to normalised tokens after each block; with `class_token` that comes first."""

    def __init__(self, class_token: bool) -> None:
        super().__init__()
        self.patch_embed = PatchEmbedding()
        self.pos_embed = nn.Parameter(torch.zeros(1, POSITIONS, DIM))
        norm = partial(nn.LayerNorm, eps=1e-6)
        rates = [DROP_PATH * i / (DEPTH - 1) for i in range(DEPTH)]
        self.blocks = nn.ModuleList(Block(DIM, HEADS, drop_path=rate, norm_layer=norm) for rate in rates)
        if class_token:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, DIM))
            self.norm = norm(DIM)
        else:
            self.norm_frame = norm(DIM)
        self.class_token = class_token

    def forward(self, mel: Tensor) -> list[Tensor]:
        tokens = self.patch_embed(mel)
        tokens = tokens + self.pos_embed[:, 1 : 1 + tokens.shape[1]]
        if self.class_token:
            first = (self.cls_token + self.pos_embed[:, :1]).expand(len(tokens), -1, -1)
            tokens = torch.cat([first, tokens], dim=1)
        norm = self.norm if self.class_token else self.norm_frame
        outputs = []
        for block in self.blocks:
            tokens = block(tokens)
            outputs.append(norm(tokens))
        return outputs


class ATSTEncoder(ClipwiseEncoder):
    """Clip vectors of ATST-Clip or ATST-Frame.

    ATST-Clip takes chunks of 6 s; layers "block1".."block12" are the class token followed by the mean token [1536].
    ATST-Frame takes 10 s; layers are the mean tokens [768], and "all" joins the twelve [9216]. Vectors of chunks count
    equally; a later chunk of ATST-Clip needs more than 300 frames. `train_seed` repeats what the paper's plugin did
    with ATST-Clip, which was left in training mode (whole branches dropped at random).

    For ATST-Clip the published code divides the sum of a chunk's tokens by the number of patches up to the end of the
    clip, not of the chunk: the means of 10 s shrink. Clips encoded alone get true means.
    """

    def __init__(self, network: ATST, default_layer: str | None = None, train_seed: int | None = None) -> None:
        self.network, self.frontend, self.train_seed = network, MelFrontend(), train_seed
        self.chunk_frames, self.shortest_chunk = (601, 301) if network.class_token else (1001, PATCH_FRAMES)
        layers = BLOCKS if network.class_token else [*BLOCKS, "all"]
        super().__init__(SAMPLE_RATE, layers, default_layer, network, self.frontend)

    def encode(self, waveforms: Tensor) -> dict[str, Tensor]:
        """{layer: [B, dim]} of `waveforms` [B, samples]; clips under 513 samples are filled up with zeros."""
        return self._encode(waveforms, true_means=not self.network.class_token)

    def encode_unpadded(self, waveforms: Tensor) -> dict[str, Tensor]:
        """{layer: [B, dim]} of clips [B, samples] without padding, with true means."""
        return self._encode(waveforms, true_means=True)

    def _encode(self, waveforms: Tensor, true_means: bool) -> dict[str, Tensor]:
        mel = self.frontend(F.pad(waveforms, (0, max(0, N_FFT // 2 + 1 - waveforms.shape[1]))))
        chunks = []
        with training_behaviour(self.network, self.train_seed):
            for start in range(0, mel.shape[2], self.chunk_frames):
                rest = mel[:, :, start:]
                chunk = rest[:, :, : self.chunk_frames]
                if start == 0 or chunk.shape[2] >= self.shortest_chunk:
                    patches = (chunk if true_means else rest).shape[2] // PATCH_FRAMES
                    chunks.append([self.pool(tokens, patches) for tokens in self.network(chunk)])
        vectors = [torch.stack(layer).mean(dim=0) for layer in zip(*chunks, strict=True)]
        if not self.network.class_token:
            vectors.append(torch.cat(vectors, dim=1))
        return dict(zip(self.layers, vectors, strict=True))

    def pool(self, tokens: Tensor, patches: int) -> Tensor:
        """Class token (if there is one) and sum of the others divided by `patches`."""
        if not self.network.class_token:
            return tokens.sum(dim=1) / patches
        return torch.cat([tokens[:, 0], tokens[:, 1:].sum(dim=1) / patches], dim=1)


def load(
    checkpoint: Path | None = None,
    architecture: str = "clip",
    default_layer: str | None = None,
    train_seed: int | None = None,
    trust: bool = False,
) -> ATSTEncoder:
    """The teacher of the published ATST-Clip ("clip", the one with `train_seed`) or ATST-Frame ("frame")."""
    check_option("architecture", architecture, ("clip", "frame"))
    state = read_state(
        checkpoint, ["module.", "backbone.", "model.teacher.", "encoder."], ("state_dict", "teacher"), trust
    )
    with torch.device("meta"):
        network = ATST(class_token=architecture == "clip")
    return ATSTEncoder(fill(network, state, checkpoint, "mask_embed"), default_layer, train_seed)
