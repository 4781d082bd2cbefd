"""Formula weights and inputs of the M2D golden numbers, in numpy alone.

Every array is drawn from a generator whose seed is the CRC-32 of a readable label, so that a test and the run
that made the golden numbers agree without sharing a file. `lab` is "0" for the student or encoder of seed 0
and "0T" for its offline teacher. The tables `pos_embed` and `decoder_pos_embed` are not drawn: they keep
their true values.
"""

import re
import zlib

import numpy as np

WAVE_SECONDS = (0.7, 6.08, 14.3)
SAMPLE_RATE = 16000
SILENT_SAMPLES = slice(104_000, 120_000)
NORM_WEIGHT = re.compile(r"(^|[._])norm\d?\.weight$")


def rng(label: str) -> np.random.Generator:
    """Generator that belongs to `label`."""
    return np.random.default_rng(zlib.crc32(label.encode()))


def weight(lab: str, key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Value of the state-dict entry `key`, float32 of the given shape."""
    if key == "norm_stats":
        return (np.array([-7.1, 4.2]) + 0.2 * rng(f"{lab}:{key}").standard_normal(2)).astype(np.float32)
    value = 0.04 * rng(f"{lab}:{key}").standard_normal(shape)
    if NORM_WEIGHT.search(key):
        value += 1.0
    return value.astype(np.float32)


def wave(lab: str, index: int, sample_rate: int = SAMPLE_RATE, seconds: float | None = None) -> np.ndarray:
    """Test waveform `index`, float32 `[samples]`: a sweep, amplitude-modulated noise and two tones.

    Waveform 2 is digitally silent from 6.5 to 7.5 s.
    """
    seconds = WAVE_SECONDS[index] if seconds is None else seconds
    samples = round(seconds * sample_rate)
    t = np.arange(samples) / sample_rate
    sweep = 0.3 * np.sin(2 * np.pi * (100 * t + 5900 * t**2 / (2 * seconds)))
    envelope = 0.1 * (0.2 + 0.8 * np.sin(3 * np.pi * t) ** 2)
    noise = envelope * rng(f"{lab}:wave:{index}").standard_normal(samples)
    tones = 0.1 * np.sin(2 * np.pi * 220 * t) + 0.05 * np.sin(2 * np.pi * 1375 * t + 1)
    value = sweep + noise + tones
    if index == 2:
        value[SILENT_SAMPLES] = 0.0
    return value.astype(np.float32)


def stereo_pcm16(lab: str) -> np.ndarray:
    """The 2 s, 44.1 kHz stereo recording of the end-to-end golden numbers, int16 `[samples, 2]`."""
    left = wave(lab, 3, sample_rate=44_100, seconds=2.0).astype(np.float64)
    both = np.stack([left, 0.5 * left[::-1]], axis=1)
    return np.clip(np.round(32767 * both), -32768, 32767).astype(np.int16)


def lms_batch(lab: str, name: str, shape: tuple[int, int, int, int] = (2, 1, 80, 608)) -> np.ndarray:
    """Batch in place of normalised log-mel spectrograms, float32 `[items, 1, mels, frames]`."""
    value = 0.6 * rng(f"{lab}:{name}").standard_normal(shape)
    item = np.arange(shape[0])[:, None, None]
    mel = np.arange(shape[2])[None, :, None]
    frame = np.arange(shape[3])[None, None, :]
    ripple = 0.8 * np.sin(2 * np.pi * frame / (37 + 13 * item)) * np.cos(2 * np.pi * mel / (31 + 7 * item))
    return (value + ripple[:, None]).astype(np.float32)


def mask_noise(lab: str, name: str, items: int, patches: int) -> np.ndarray:
    """Noise that fixes a random mask, float32 `[items, patches]`: the lowest values stay visible."""
    return rng(f"{lab}:{name}").random((items, patches)).astype(np.float32)
