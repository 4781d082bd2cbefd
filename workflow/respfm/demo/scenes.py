"""General audio: caricatures of ESC-10's ten sound classes, the non-respiratory part of a mixture."""

from collections.abc import Callable

import numpy as np
from scipy import signal

from respfm.demo.acoustics import coloured_noise, pulse_train, shaped_noise

SCENE_RATE = 44_100
"""Sample rate of the scenes in Hz."""


def scene(rng: np.random.Generator, name: str, seconds: float) -> np.ndarray:
    """A clip of the class `name` ("Dog bark" ...): float64 `[seconds * SCENE_RATE]` in -1..1."""
    total = round(seconds * SCENE_RATE)
    sound = _SCENES[name](rng, np.arange(total) / SCENE_RATE) + 0.003 * coloured_noise(rng, total, 0.5)
    return sound / np.abs(sound).max() * 10 ** (-rng.uniform(1, 15) / 20)


def _bouts(rng: np.random.Generator, t: np.ndarray, length: float, gap: float) -> np.ndarray:
    """Envelope of repeated events: sudden rise, exponential fall; `length` and mean `gap` in seconds."""
    envelope = np.zeros(len(t))
    start = rng.uniform(0, gap)
    while start < t[-1]:
        after = t - start
        envelope = np.maximum(envelope, np.where(after > 0, np.exp(-np.maximum(after, 0) / length * 3), 0))
        start += length + rng.uniform(0.5, 1.5) * gap
    return envelope


def _harmonics(pitch: np.ndarray, tilt: float) -> np.ndarray:
    """Voiced sound of a pitch track in Hz; the k-th harmonic has amplitude k**-tilt."""
    phase = 2 * np.pi * np.cumsum(pitch) / SCENE_RATE
    return sum(np.sin(k * phase) * k**-tilt for k in range(1, 11))


def _dog(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    envelope = _bouts(rng, t, 0.25, 0.6)
    return envelope * (
        _harmonics(rng.uniform(300, 600) * (0.7 + 0.3 * envelope), 0.8) + 0.5 * coloured_noise(rng, len(t), 0.3)
    )


def _rain(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    drops = pulse_train(rng, len(t), SCENE_RATE, rate=60, pitch=(2_000, 6_000), cycles=4)
    return 0.3 * coloured_noise(rng, len(t), 0.1) + drops


def _waves(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    swell = np.sin(np.pi * rng.uniform(0.12, 0.25) * t + rng.uniform(0, 3)) ** 2
    return coloured_noise(rng, len(t), 0.5) * (0.15 + swell)


def _baby(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    envelope = np.clip(np.sin(2 * np.pi * rng.uniform(0.5, 0.9) * t), 0, 1) ** 0.5
    return envelope * _harmonics(rng.uniform(380, 520) * (1 + 0.15 * envelope + 0.02 * np.sin(35 * t)), 0.6)


def _clock(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    ticks = np.zeros(len(t))
    ticks[(np.arange(0.1, t[-1], 1 / rng.choice([1.0, 2.0, 4.0])) * SCENE_RATE).astype(int)] = 1
    ring = np.exp(-t[:2_000] / 0.004) * np.sin(2 * np.pi * rng.uniform(1_500, 4_000) * t[:2_000])
    return signal.oaconvolve(ticks, ring)[: len(t)]


def _sneeze(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    return _bouts(rng, t, 0.5, 2.5) * shaped_noise(rng, len(t), SCENE_RATE, lambda f: f / (1 + (f / 3_000) ** 2))


def _helicopter(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    blades = (0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(9, 16) * t)) ** 3
    return coloured_noise(rng, len(t), 0.8) * (0.2 + blades)


def _chainsaw(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    revs = rng.uniform(80, 140) * (1 + 0.3 * np.sin(2 * np.pi * rng.uniform(0.2, 0.6) * t))
    return _harmonics(revs, 0.3) + coloured_noise(rng, len(t), 0.2)


def _rooster(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    envelope = _bouts(rng, t, 1.2, 2.0)
    return envelope * _harmonics(rng.uniform(500, 800) * (0.8 + 0.5 * np.sqrt(envelope)), 0.4)


def _fire(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    cracks = pulse_train(rng, len(t), SCENE_RATE, rate=15, pitch=(1_000, 5_000), cycles=2)
    return cracks + 0.05 * coloured_noise(rng, len(t), 0.7)


_SCENES: dict[str, Callable[[np.random.Generator, np.ndarray], np.ndarray]] = {
    "Dog bark": _dog,
    "Rain": _rain,
    "Sea waves": _waves,
    "Baby cry": _baby,
    "Clock tick": _clock,
    "Person sneeze": _sneeze,
    "Helicopter": _helicopter,
    "Chainsaw": _chainsaw,
    "Rooster": _rooster,
    "Fire crackling": _fire,
}
