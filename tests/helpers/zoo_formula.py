"""Formula weights and clips of the golden numbers of the zoo, in numpy alone.

A state-dict entry is a function of (seed, key, shape): standard normal numbers from a generator whose seed is the
CRC-32 of "seed:key", scaled by what kind of entry the key names.
"""

import re
import zlib

import numpy as np

TOKEN_OR_TABLE = re.compile(
    "pos_embed|position_embeddings|(cls|dist|distillation|mask)_token|mask_emb|masked_spec_embed|rel_attn_embed"
    "|relative_position_bias_table|relative_attention_bias|label_embedding|logit_scale|const$"
)
WEIGHT_NORM_GAIN = re.compile(r"weight_g$|parametrizations\.weight\.original0$")
DECIBEL_NORM = re.compile(r"(^|\.)(bn0|init_bn|init_bn\.1|batch_normalization_1|batch_norm)\.running_(mean|var)$")
DECIBELS = (-40.0, 5.0, 400.0)
"""Mean, spread of the mean and variance of a BatchNorm on spectrograms in dB."""
UNIT_RANGE = (0.5, 0.05, 0.04)
"""The same for OPERA-CT, whose spectrograms lie in [0, 1]."""


def rng(label: str) -> np.random.Generator:
    """Generator that belongs to `label`."""
    return np.random.default_rng(zlib.crc32(label.encode()))


def weight(
    seed: int, key: str, shape: tuple[int, ...], input_norm: tuple[float, float, float] = DECIBELS
) -> np.ndarray:
    """Value of the state-dict entry `key`, float32 of the given shape."""
    noise = rng(f"{seed}:{key}").standard_normal(tuple(shape))
    name = key.split(".")[-1]
    centre, spread, variance = input_norm if DECIBEL_NORM.search(key) else (0.0, 0.1, 1.0)
    if name == "running_mean":
        value = centre + spread * noise
    elif name == "running_var":
        value = variance * (1 + 0.1 * abs(noise))
    elif WEIGHT_NORM_GAIN.search(key):
        value = 1 + 0.1 * abs(noise)
    elif TOKEN_OR_TABLE.search(key):
        value = 0.2 * noise
    elif len(shape) > 1:
        fan_in = np.prod(shape[1:])
        value = (np.sqrt(2) if tuple(shape[2:]) == (3, 3) else 1.0) * noise / np.sqrt(fan_in)
    else:
        is_scale = name in ("weight", "gamma", "a") or "layer_scale" in key
        value = 0.1 * noise + is_scale
    return np.asarray(value, np.float32).reshape(shape)


def clip(sample_rate: int, seconds: float) -> np.ndarray:
    """Test waveform, float32 [samples]: a sweep, a swelling hum and bursts of noise; quiet first and last."""
    samples = round(sample_rate * seconds)
    t = np.arange(samples) / sample_rate
    top = min(7000.0, 0.45 * sample_rate)
    sweep = np.sin(2 * np.pi * (90 * t + 0.5 * (top - 90) / seconds * t * t))
    hum = np.sin(2 * np.pi * 233 * t + 0.7) * (0.6 + 0.4 * np.sin(2 * np.pi * 1.7 * t))
    noise = rng(f"wave:{sample_rate}:{samples}").standard_normal(samples)
    bursts = np.maximum(np.sin(2 * np.pi * 0.9 * t), 0) ** 2
    loudness = np.full(samples, 1.0)
    loudness[: int(0.2 * sample_rate)] = loudness[samples - int(0.3 * sample_rate) :] = 1e-4
    return (loudness * (0.25 * sweep + 0.2 * hum + 0.08 * noise * bursts) + 1e-5 * noise).astype(np.float32)


def clips(sample_rate: int, seconds: float = 10) -> np.ndarray:
    """The two clips of most golden numbers, [2, samples]: 2.3 s followed by zeros, and the start of 12 s."""
    samples = round(sample_rate * seconds)
    short, long = clip(sample_rate, 2.3)[:samples], clip(sample_rate, 12.0)[:samples]
    return np.stack([np.pad(short, (0, samples - len(short))), long])
