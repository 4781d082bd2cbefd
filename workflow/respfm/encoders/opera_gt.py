"""OPERA-GT (Zhang et al. 2024): a small ViT pre-trained on respiratory sounds by masked reconstruction."""

from pathlib import Path

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from respfm.encoders.base import WHOLE_RECORDING, check_option
from respfm.encoders.clipwise import ClipwiseEncoder
from respfm.encoders.opera_audio import SAMPLE_RATE, OperaSpectrogram, repeat_in_front, trim_silence
from respfm.encoders.vit import patch_tokens
from respfm.encoders.weights_file import fill, read_state

UNUSED = r"(decoder_.*|mask_token)"
FRAMES = 256
CHUNK = round(8.18 * SAMPLE_RATE)
SHORTEST_SECONDS, SHORTEST_FRAMES = 8, 16


class OperaGTEncoder(ClipwiseEncoder):
    """Layers "block1".."block12": mean of the patch tokens after each block, the last one through the final norm.

    Silence at both ends is trimmed. `chunks` says how long recordings are cut: "waveform" into chunks of 8.18 s every
    4.09 s, the last one filled up by repetition; "spectrogram" (OPERA's way for Coswara) into 256 frames of the
    spectrogram of the whole. Pieces count equally.
    """

    published_crop = WHOLE_RECORDING

    def __init__(self, network: VisionTransformer, default_layer: str | None = None, chunks: str = "waveform") -> None:
        check_option("chunks", chunks, ("waveform", "spectrogram"))
        self.network, self.frontend = network, OperaSpectrogram()
        self.chunks = self.waveform_chunks if chunks == "waveform" else self.spectrogram_chunks
        layers = [f"block{i}" for i in range(1, len(network.blocks) + 1)]
        super().__init__(SAMPLE_RATE, layers, default_layer, network, self.frontend)

    def encode(self, waveforms: Tensor) -> dict[str, Tensor]:
        """{layer: [B, 384]} of `waveforms` [B, samples]."""
        clips = [self.encode_chunks(self.chunks(trim_silence(waveform))) for waveform in waveforms]
        return {layer: torch.stack([clip[layer].mean(dim=0) for clip in clips]) for layer in self.layers}

    def encode_chunks(self, chunks: list[Tensor]) -> dict[str, Tensor]:
        """{layer: [chunks, 384]} of spectrograms [frames, 64], of which the last may be shorter."""
        whole = [chunk for chunk in chunks if len(chunk) == FRAMES]
        batches = [torch.stack(whole)] if whole else []
        batches += [chunk[None] for chunk in chunks[len(whole) :]]
        layers = zip(*(patch_tokens(self.network, batch[:, None]) for batch in batches), strict=True)
        vectors = [torch.cat([tokens.mean(dim=1) for tokens in layer]) for layer in layers]
        vectors[-1] = self.network.norm(vectors[-1])
        return dict(zip(self.layers, vectors, strict=True))

    def waveform_chunks(self, waveform: Tensor) -> list[Tensor]:
        """Spectrograms of the chunks that fit in `waveform` [samples], and of the rest from the middle of the last."""
        starts = range(0, len(waveform) - CHUNK // 2 + 1, CHUNK // 2) if len(waveform) > CHUNK else [0]
        return [self.frontend(repeat_in_front(waveform[start : start + CHUNK], CHUNK)) for start in starts]

    def spectrogram_chunks(self, waveform: Tensor) -> list[Tensor]:
        """Consecutive chunks of the spectrogram of `waveform` [samples]; a last one under 16 frames is left out."""
        whole = self.frontend(repeat_in_front(waveform, SHORTEST_SECONDS * SAMPLE_RATE))
        return [chunk for chunk in whole.split(FRAMES) if len(chunk) >= SHORTEST_FRAMES]


def load(
    checkpoint: Path | None = None, default_layer: str | None = None, chunks: str = "waveform", trust: bool = False
) -> OperaGTEncoder:
    """OPERA-GT from the published Lightning file, of which the decoder is left out."""
    state = read_state(checkpoint, trust=trust)
    with torch.device("meta"):
        network = VisionTransformer(
            img_size=(FRAMES, OperaSpectrogram.n_mels),
            patch_size=4, in_chans=1, num_classes=0, global_pool="", embed_dim=384, depth=12, num_heads=6,
        )  # fmt: skip
    return OperaGTEncoder(fill(network, state, checkpoint, UNUSED), default_layer, chunks)
