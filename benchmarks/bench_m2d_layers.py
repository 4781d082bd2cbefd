"""All layers of M2D (ViT-B) for a set of clips: one pass of respfm, and the reference's way, a pass for each layer.

    make setup
    python benchmarks/bench_m2d_layers.py [--clips 16] [--seconds 10] [--threads 2] [--rounds 3]

The reference's layer study (evar_m2d_layers.sh) runs its whole pipeline once per layer: librosa.load of every file,
log-mels by a dense convolution, all twelve blocks, the frames of all twelve stacked and joined over the pieces of a
clip, and of these the mean over time of one. Here that pipeline is written with timm's blocks; models stay loaded,
which the scripts do not do. Both start from the same wav files with the same weights and must give the same numbers.
They run in turns, after a pass of each that does not count; the ratios of the rounds are printed and their median
counts. "Short clips" are 2 s of sound and 8 s of zeros, whose silent ends are encoded once.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import librosa
import numpy as np
import soundfile
import torch
from report import report
from respfm import audio
from respfm.encoders import load_encoder
from respfm.encoders.m2d import M2DAudioEncoder
from respfm.jobs.memory import keep_freed_memory
from respfm.logmel.frontend import mel_filters
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F

RATE, N_FFT, HOP = 16000, 400, 160


class ReferenceWay(nn.Module):
    """The reference's feature extraction with the weights of `encoder`: frames of all blocks, of which one is kept."""

    def __init__(self, encoder: M2DAudioEncoder) -> None:
        super().__init__()
        network = encoder.network
        self.config, self.norm_stats = network.config, network.norm_stats
        self.cls_token, self.pos_embed, self.norm = network.cls_token, network.pos_embed, network.norm
        self.patch_embed = network.patch_embed.proj
        norm = partial(nn.LayerNorm, eps=1e-6)
        self.blocks = nn.ModuleList(Block(768, 12, qkv_bias=True, norm_layer=norm) for _ in network.blocks)
        self.blocks.load_state_dict(network.blocks.state_dict())
        angle = 2 * torch.pi * torch.arange(N_FFT, dtype=torch.float64) / N_FFT
        phases = torch.arange(N_FFT // 2 + 1)[:, None] * angle
        window = torch.hann_window(N_FFT, dtype=torch.float64)
        self.kernels = torch.cat([window * phases.cos(), window * phases.sin()])[:, None].float()
        self.filters = torch.from_numpy(mel_filters(RATE, N_FFT, 80, 50, 8000))

    @torch.inference_mode()
    def forward(self, paths: list[Path], layer: int) -> Tensor:
        """Clip vectors [B, 3840] of block `layer`, of 12."""
        clips = [torch.from_numpy(librosa.load(path, sr=RATE, mono=True)[0]) for path in paths]
        padded = F.pad(torch.stack(clips)[:, None], (N_FFT // 2, N_FFT // 2), mode="reflect")
        real, imaginary = F.conv1d(padded, self.kernels, stride=HOP).chunk(2, dim=1)
        logmel = (self.filters @ (real.square() + imaginary.square()) + torch.finfo(torch.float32).eps).log()
        spectrograms = (logmel - self.norm_stats[0]) / self.norm_stats[1]
        unit = self.config.input_size[1]
        pieces = spectrograms.split(unit, dim=-1)
        frames = torch.cat([self.encode(piece[:, None]) for piece in pieces], dim=2)
        return frames[layer].mean(dim=1)

    def encode(self, image: Tensor) -> Tensor:
        """Frames [12, B, T, 3840] of `image` [B, 1, 80, frames]."""
        rows, columns = self.config.grid
        patches = self.patch_embed(F.pad(image, (0, -image.shape[-1] % self.config.patch_size[1])))
        width = patches.shape[-1]
        positions = self.pos_embed[:, 1:].unflatten(1, (rows, columns))[:, :, :width].flatten(1, 2)
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(image), -1, -1)
        x = torch.cat([first, patches.flatten(2).transpose(1, 2) + positions], dim=1)
        outputs = []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        outputs[-1] = self.norm(x)
        return torch.stack(outputs)[:, :, 1:].unflatten(2, (rows, width)).transpose(2, 3).flatten(3)


def write_clips(folder: Path, clips: int, seconds: int, sounding: int) -> list[Path]:
    """Wav files of noise, silent after `sounding` seconds."""
    rng, paths = np.random.default_rng(0), []
    for index in range(clips):
        samples = np.zeros(RATE * seconds, np.float32)
        samples[: RATE * sounding] = 0.1 * rng.standard_normal(RATE * sounding)
        paths.append(folder / f"{sounding}s-{index:03d}.wav")
        soundfile.write(paths[-1], samples, RATE)
    return paths


def one_pass(encoder: M2DAudioEncoder, paths: list[Path]) -> dict[str, Tensor]:
    """Every clip decoded and encoded once."""
    return encoder.embed(torch.stack([torch.from_numpy(audio.load(path, RATE)) for path in paths]))


def pass_per_layer(reference: ReferenceWay, paths: list[Path]) -> list[Tensor]:
    """Every clip decoded and encoded once per layer."""
    return [reference(paths, layer) for layer in range(len(reference.blocks))]


def measure(call: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    encoder = load_encoder("m2d", random_seed=0)
    reference = ReferenceWay(encoder)
    with tempfile.TemporaryDirectory() as folder:
        long, short = (
            write_clips(Path(folder), options.clips, options.seconds, sounding) for sounding in (options.seconds, 2)
        )
        expected = pass_per_layer(reference, long[:1])
        for ours, theirs in zip(one_pass(encoder, long[:1]).values(), expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-3)
        calls = [
            lambda: one_pass(encoder, long),
            lambda: pass_per_layer(reference, long),
            lambda: one_pass(encoder, short),
        ]
        one_pass(encoder, long)
        reference(long, 0)
        rounds = [[measure(call) for call in calls] for _ in range(options.rounds)]
    what = f"M2D ViT-B, all layers of {options.clips} clips of {options.seconds} s"
    for index, unit in enumerate(("s", "CPU s")):
        ours, theirs, silent = ([run[call][index] for run in rounds] for call in range(3))
        ratios = [slow / quick for slow, quick in zip(theirs, ours, strict=True)]
        print(f"ratios of {unit}:", *(f"{ratio:.2f}" for ratio in ratios))
        one, twelve, quiet = (statistics.median(times) for times in (ours, theirs, silent))
        if index == 0:
            report(
                what,
                f"{one:.2f} s in one pass ({options.clips / one:.2f} clips/s)",
                f"the reference's way, a pass per layer, {twelve:.2f} s",
                statistics.median(ratios),
            )
            report("the same, 2 s of sound each", f"{quiet:.2f} s", f"10 s of sound {one:.2f} s", one / quiet)


if __name__ == "__main__":
    main()
