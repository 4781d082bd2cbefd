"""AudioMAE (Huang et al. 2022), pre-trained on AudioSet, as OPERA uses it for its baseline."""

from pathlib import Path

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.nn import functional as F

from respfm.encoders.base import WHOLE_RECORDING
from respfm.encoders.clipwise import ClipwiseEncoder
from respfm.encoders.frontends import kaldi_fbank
from respfm.encoders.opera_audio import SAMPLE_RATE, trim_silence
from respfm.encoders.vit import patch_tokens
from respfm.encoders.weights_file import fill, read_state

UNUSED = r"(decoder_.*|mask_token|norm\..*|fc_norm\..*|head\..*)"
CHUNK_SECONDS = 10
FRAMES, N_MELS = 1024, 128
SHORTEST = 400
"""Samples of one frame of the filter bank; OPERA leaves out a last chunk that has no more."""
AUDIOSET_MEAN, AUDIOSET_STD = -4.2677393, 4.5689974


class AudioMAEEncoder(ClipwiseEncoder):
    """Layers "block1".."block12": mean of the patch tokens after each block, the last one standardised.

    Silence at both ends is trimmed; chunks of 10 s are encoded on their own and count equally. The filter bank goes in
    as it is, unlike in pre-training, unless `normalise`.
    """

    published_crop = WHOLE_RECORDING

    def __init__(self, network: VisionTransformer, default_layer: str | None = None, normalise: bool = False) -> None:
        self.network, self.normalise = network, normalise
        layers = [f"block{i}" for i in range(1, len(network.blocks) + 1)]
        super().__init__(SAMPLE_RATE, layers, default_layer, network)

    def encode(self, waveforms: Tensor) -> dict[str, Tensor]:
        """{layer: [B, 768]} of `waveforms` [B, samples]."""
        chunks = [self.chunks(waveform) for waveform in waveforms]
        vectors = [tokens.mean(dim=1) for tokens in patch_tokens(self.network, torch.cat(chunks))]
        vectors[-1] = F.layer_norm(vectors[-1], vectors[-1].shape[1:], eps=1e-6)
        counts = [len(chunk) for chunk in chunks]
        return {
            layer: torch.stack([clip.mean(dim=0) for clip in vector.split(counts)])
            for layer, vector in zip(self.layers, vectors, strict=True)
        }

    def chunks(self, waveform: Tensor) -> Tensor:
        """Filter banks [chunks, 1, 1024, 128] of `waveform` [samples], zeros after the end of the last."""
        trimmed = trim_silence(waveform)
        trimmed = F.pad(trimmed, (0, max(0, SHORTEST + 1 - len(trimmed))))
        banks = []
        for chunk in trimmed.split(CHUNK_SECONDS * SAMPLE_RATE):
            if len(chunk) > SHORTEST:
                bank = self.filter_bank(chunk)
                banks.append(F.pad(bank, (0, 0, 0, FRAMES - len(bank))))
        return torch.stack(banks)[:, None]

    def filter_bank(self, chunk: Tensor) -> Tensor:
        """[frames, 128] of `chunk` [samples]."""
        bank = kaldi_fbank((chunk - chunk.mean())[None])[0]
        return (bank - AUDIOSET_MEAN) / (2 * AUDIOSET_STD) if self.normalise else bank


def load(
    checkpoint: Path | None = None, default_layer: str | None = None, normalise: bool = False, trust: bool = False
) -> AudioMAEEncoder:
    """AudioMAE ViT-B from the published `pretrained.pth`, of which the decoder is left out."""
    state = read_state(checkpoint, trust=trust)
    with torch.device("meta"):
        network = VisionTransformer(
            img_size=(FRAMES, N_MELS), in_chans=1, num_classes=0, global_pool="", final_norm=False
        )
    return AudioMAEEncoder(fill(network, state, checkpoint, UNUSED), default_layer, normalise)
