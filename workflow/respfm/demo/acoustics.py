"""Sounds of the synthetic respiratory corpus: coughs and breath sounds from simple physical models.

Cough: an explosive burst, a turbulent decay and often a voiced end (Korpas et al., 1996) excite a vocal tract
of four parallel formant resonators. Sex sets pitch and formant scale, COVID-19 makes the cough wetter
(longer, darker, bubbling), smoking rougher (lower and less regular pitch with subharmonics, rattle).

Chest: breath cycles of band-limited turbulence, with crackles (damped two-cycle pulses) and wheezes (slowly
modulated tones with harmonics). Obstruction adds wheezes and crackles, prolongs expiration and weakens the
breath sound.

Conditions shift overlapping distributions: single recordings can be on the wrong side. Recording level,
background noise, band limits and heart sounds vary independently of every label.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from scipy import fft, signal

COUGH_RATE = 16_000
"""Sample rate of the synthesised coughs in Hz."""
CHEST_RATE = 8_000
"""Sample rate of the synthesised breath sounds in Hz."""


@dataclass(frozen=True)
class Voice:
    """One person's larynx and airway: pitch in Hz, formants relative to a man's, wetness and roughness 0..1."""

    pitch: float
    formant_scale: float
    wetness: float
    roughness: float


def draw_voice(rng: np.random.Generator, female: bool, wet: bool = False, smoker: bool = False) -> Voice:
    """A person's voice; each trait is normally distributed around the mean of its group."""
    roughness = np.clip(rng.normal(0.7 if smoker else 0.25, 0.16), 0, 1)
    return Voice(
        pitch=np.clip(rng.normal(200 if female else 125, 20), 80, 260) * (1.05 - 0.2 * roughness),
        formant_scale=rng.normal(1.13 if female else 1.0, 0.06) * (1.02 - 0.06 * roughness),
        wetness=np.clip(rng.normal(0.7 if wet else 0.3, 0.16), 0, 1),
        roughness=roughness,
    )


def cough_recording(rng: np.random.Generator, voice: Voice, seconds: float) -> np.ndarray:
    """Two to four coughs of one person through a random device: float64 `[seconds * COUGH_RATE]` in -1..1."""
    total = round(seconds * COUGH_RATE)
    noise, voiced, bubbles = np.zeros(total), np.zeros(total), np.zeros(total)
    start = rng.uniform(0.1, 0.4)
    for _ in range(rng.integers(2, 5)):
        length = 0.3 * (1 + 0.5 * voice.wetness) * rng.uniform(0.8, 1.2)
        place = slice(round(start * COUGH_RATE), round((start + length) * COUGH_RATE))
        if place.stop >= total:
            break
        effort = rng.uniform(0.6, 1.0)
        for source, part in zip(
            (noise, voiced, bubbles), _cough_sources(rng, voice, place.stop - place.start), strict=True
        ):
            source[place] += effort * part
        start += length + rng.uniform(0.1, 0.35)
    tract = _formants(noise + voiced, voice.formant_scale) + 0.3 * noise
    dark = signal.butter(1, 6_500 - 4_500 * voice.wetness, fs=COUGH_RATE, output="sos")
    return _record(rng, signal.sosfilt(dark, tract) + bubbles, COUGH_RATE, _microphone(rng))


def _cough_sources(rng: np.random.Generator, voice: Voice, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Turbulence, glottal pulses and mucus bubbles of one cough, each `[length]`."""
    t = np.arange(length) / COUGH_RATE
    duration = length / COUGH_RATE
    burst = (1 - np.exp(-t / 0.002)) * np.exp(-t / 0.02)
    decay = 0.35 * (1 - np.exp(-t / 0.02)) * np.exp(-t / (0.06 * (1 + voice.wetness)))
    flutter = 1 + np.sin(2 * np.pi * rng.uniform(25, 45) * t)
    rattle = shaped_noise(rng, length, COUGH_RATE, lambda f: (f > 80) / (1 + (f / 250) ** 4)) * flutter
    noise = rng.standard_normal(length) * (burst + decay) + 2.5 * voice.roughness**2 * decay * rattle
    onset = rng.uniform(0.45, 0.6) * duration
    loudness = np.sin(np.pi * np.clip((t - onset) / (0.4 * duration), 0, 1)) * rng.choice([0.0, 1.0], p=[0.2, 0.8])
    voiced = 1.5 * loudness * _glottal_pulses(rng, voice, length)
    bubbling = 5 * decay * voice.wetness**2
    return (
        noise,
        voiced,
        bubbling * pulse_train(rng, length, COUGH_RATE, rate=150, pitch=(250, 700), cycles=2),
    )


def _glottal_pulses(rng: np.random.Generator, voice: Voice, length: int) -> np.ndarray:
    """Flow derivative at a falling pitch; roughness adds jitter and a subharmonic (weaker second pulses)."""
    t = np.arange(length) / COUGH_RATE
    knots = np.arange(0, t[-1] + 0.01, 0.005)
    jitter = np.interp(t, knots, rng.standard_normal(len(knots))) * (0.01 + 0.08 * voice.roughness)
    phase = np.cumsum(voice.pitch * (1 - 0.25 * t / t[-1]) * (1 + jitter)) / COUGH_RATE
    position = phase % 1
    opening = np.where(position < 0.4, np.sin(np.pi * position / 0.8) ** 2, np.cos(np.pi * (position - 0.4) / 0.4))
    flow = np.where(position < 0.6, opening, 0) * (1 - 0.6 * voice.roughness * (np.floor(phase) % 2))
    return np.diff(flow, prepend=0) * 8


def _formants(source: np.ndarray, scale: float) -> np.ndarray:
    resonances = ((600, 5, 1.0), (1_450, 7, 0.8), (2_500, 9, 0.6), (3_600, 10, 0.4))  # Hz, quality, gain
    return sum(
        gain * signal.lfilter(*signal.iirpeak(min(pitch * scale, 7_500), quality, fs=COUGH_RATE), source)
        for pitch, quality, gain in resonances
    )


def no_cough_recording(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Room noise with a few clicks: what COUGHVID's cough detector scores low."""
    total = round(seconds * COUGH_RATE)
    clicks = pulse_train(rng, total, COUGH_RATE, rate=2, pitch=(800, 2_000), cycles=3)
    return _record(rng, coloured_noise(rng, total, 0.5) * 0.2 + clicks * 0.2, COUGH_RATE, _microphone(rng))


def _microphone(rng: np.random.Generator) -> tuple[float, float]:
    """The band of somebody's phone or laptop in Hz."""
    return rng.uniform(40, 200), rng.uniform(3_500, 7_500)


STETHOSCOPES = {"Litt3200": (40, 1_400), "LittC2SE": (30, 1_700), "Meditron": (25, 1_550), "AKGC417L": (50, 1_850)}
"""Pass bands in Hz of the recorders that ICBHI names; the other chest corpora were made with the first."""


@dataclass(frozen=True)
class Chest:
    """One person's lungs: wheezing, crackling, obstruction 0..1, crackle pitch and breath rate in Hz."""

    wheezing: float
    crackling: float
    obstruction: float
    crackle_pitch: float
    breath_rate: float


_CONDITIONS: dict[str, tuple[float, float, float]] = {  # mean wheezing, crackling, obstruction
    "Healthy": (0.1, 0.1, 0.12),
    "Asthma": (0.75, 0.2, 0.65),
    "COPD": (0.5, 0.5, 0.7),
    "Pneumonia": (0.15, 0.75, 0.2),
    "Bronchiectasis": (0.25, 0.8, 0.4),
    "Bronchiolitis": (0.5, 0.5, 0.4),
    "URTI": (0.15, 0.15, 0.2),
    "LRTI": (0.3, 0.5, 0.3),
    "Heart Failure": (0.1, 0.7, 0.2),
}


def draw_chest(rng: np.random.Generator, condition: str) -> Chest:
    """The chest of a patient with one of the ICBHI diagnoses or heart failure."""
    return _chest(rng, *_CONDITIONS[condition])


def draw_graded_chest(rng: np.random.Generator, severity: int) -> Chest:
    """The chest of a COPD patient of severity 0 (at risk) to 4 (very severe)."""
    grade = severity / 4
    return _chest(rng, 0.05 + 0.7 * grade, 0.1 + 0.7 * grade, 0.05 + 0.9 * grade)


def _chest(rng: np.random.Generator, wheezing: float, crackling: float, obstruction: float) -> Chest:
    wheezing, crackling, obstruction = np.clip(rng.normal([wheezing, crackling, obstruction], 0.1), 0, 1).tolist()
    return Chest(wheezing, crackling, obstruction, rng.uniform(250, 600), rng.uniform(0.22, 0.36))


@dataclass(frozen=True)
class Cycle:
    """One breath: start, begin of expiration and end in seconds; whether there are crackles and wheezes."""

    start: float
    turn: float
    end: float
    crackles: bool
    wheezes: bool


def chest_recording(
    rng: np.random.Generator, chest: Chest, seconds: float, stethoscope: str = "Litt3200"
) -> tuple[np.ndarray, list[Cycle]]:
    """Breath sounds at one place of the chest through one of STETHOSCOPES, and the cycles that they hold.

    The sound is float64 `[seconds * CHEST_RATE]` in -1..1. Crackles lie in inspiration, wheezes in
    expiration.
    """
    cycles = [*_breathing(rng, chest, seconds)]
    total = round(cycles[-1].end * CHEST_RATE)
    envelope, crackles, wheezes = np.zeros(total), np.zeros(total), np.zeros(total)
    for cycle in cycles:
        inspiration, expiration = (
            slice(round(a * CHEST_RATE), round(b * CHEST_RATE))
            for a, b in ((cycle.start, cycle.turn), (cycle.turn, cycle.end))
        )
        envelope[inspiration] = _swell(inspiration)
        envelope[expiration] = (0.25 + 0.6 * chest.obstruction) * _swell(expiration)
        if cycle.crackles:
            crackles[inspiration] = _swell(inspiration) * _crackles(rng, chest, inspiration.stop - inspiration.start)
        if cycle.wheezes:
            wheezes[expiration] = _swell(expiration) * _wheeze(rng, expiration.stop - expiration.start)
    corner = rng.uniform(300, 420) * (1.2 - 0.75 * chest.obstruction)
    breath = shaped_noise(rng, total, CHEST_RATE, lambda f: (f > 60) / (1 + (f / corner) ** 2)) * envelope
    breath *= 1 - 0.5 * chest.obstruction
    loudness = rng.uniform(0.6, 1.4, 2)
    sound = breath + 8 * loudness[0] * crackles + (0.4 + 0.8 * chest.wheezing) * loudness[1] * wheezes
    sound += rng.uniform(0.0, 1.0) * _heart(rng, total)
    return _record(rng, sound[: round(seconds * CHEST_RATE)], CHEST_RATE, STETHOSCOPES[stethoscope]), _until(
        cycles, seconds
    )


def _breathing(rng: np.random.Generator, chest: Chest, seconds: float) -> Iterable[Cycle]:
    start = rng.uniform(0.0, 0.3)
    while start < seconds:
        inspiration = rng.uniform(0.9, 1.1) * 0.42 / chest.breath_rate
        expiration = inspiration * (1.1 + 1.2 * chest.obstruction) * rng.uniform(0.9, 1.1)
        end = start + inspiration + expiration
        audible = rng.random(2) < np.clip(np.array([chest.crackling, chest.wheezing]) * 1.4 - 0.1, 0, 1)
        yield Cycle(start, start + inspiration, end, *audible.tolist())
        start = end


def _until(cycles: list[Cycle], seconds: float) -> list[Cycle]:
    """The cycles as annotated when the recording stops amid the last one."""
    *whole, last = cycles
    cut = replace(
        last, turn=min(last.turn, seconds), end=min(last.end, seconds), wheezes=last.wheezes and last.turn < seconds
    )
    return [*whole, cut]


def _swell(place: slice) -> np.ndarray:
    return np.sin(np.linspace(0, np.pi, place.stop - place.start)) ** 0.7


def _crackles(rng: np.random.Generator, chest: Chest, length: int) -> np.ndarray:
    pitch = (0.8 * chest.crackle_pitch, 1.2 * chest.crackle_pitch)
    return pulse_train(rng, length, CHEST_RATE, rate=3 + 12 * chest.crackling, pitch=pitch, cycles=2)


def _wheeze(rng: np.random.Generator, length: int) -> np.ndarray:
    t = np.arange(length) / CHEST_RATE
    pitch = rng.uniform(180, 550) * (1 + 0.06 * np.sin(2 * np.pi * rng.uniform(0.4, 1.5) * t + rng.uniform(0, 6)))
    phase = 2 * np.pi * np.cumsum(pitch) / CHEST_RATE
    return np.sin(phase) + 0.35 * np.sin(2 * phase) + 0.12 * np.sin(3 * phase)


def _heart(rng: np.random.Generator, length: int) -> np.ndarray:
    """First and second heart sounds: two damped low thumps per beat."""
    beats = np.arange(rng.uniform(0, 0.5), length / CHEST_RATE - 0.5, 1 / rng.uniform(1.0, 1.6))
    impulses = np.zeros(length)
    for delay, strength in ((0.0, 1.0), (0.32, 0.7)):
        impulses[((beats + delay) * CHEST_RATE).astype(int)] = strength
    t = np.arange(int(0.1 * CHEST_RATE)) / CHEST_RATE
    return signal.oaconvolve(impulses, np.sin(2 * np.pi * rng.uniform(40, 70) * t) * np.exp(-t / 0.025))[:length]


def stethoscope_filters(sound: np.ndarray) -> dict[str, np.ndarray]:
    """One recording through the bell (B), diaphragm (D) and extended (E) filter of a stethoscope."""
    bands = {"B": (20, 200), "D": (100, 500), "E": (20, 1_000)}
    return {
        name: signal.sosfilt(signal.butter(1, band, "bandpass", fs=CHEST_RATE, output="sos"), sound)
        for name, band in bands.items()
    }


def pulse_train(
    rng: np.random.Generator,
    length: int,
    sample_rate: int,
    rate: float,
    pitch: tuple[float, float],
    cycles: int,
) -> np.ndarray:
    """Damped pulses of a few `cycles` at random times, `rate` per second, `pitch` range in Hz: `[length]`."""
    train = np.zeros(length)
    for hertz in rng.uniform(*pitch, 3):
        t = np.arange(int(2 * cycles / hertz * sample_rate)) / sample_rate
        pulse = np.sin(2 * np.pi * hertz * t) * np.exp(-2 * t * hertz / cycles)
        impulses = np.zeros(length)
        places = rng.integers(0, length, rng.poisson(rate / 3 * length / sample_rate))
        impulses[places] = rng.uniform(0.3, 1.0, len(places)) * rng.choice([-1, 1], len(places))
        train += signal.oaconvolve(impulses, pulse)[:length]
    return train


def shaped_noise(
    rng: np.random.Generator, length: int, sample_rate: int, magnitude: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Gaussian noise of unit power whose amplitude spectrum is `magnitude(frequencies in Hz)`: `[length]`."""
    padded = fft.next_fast_len(length, real=True)
    spectrum = fft.rfft(rng.standard_normal(padded)) * magnitude(fft.rfftfreq(padded, 1 / sample_rate))
    noise = fft.irfft(spectrum, padded)[:length]
    return noise / noise.std()


def coloured_noise(rng: np.random.Generator, length: int, exponent: float) -> np.ndarray:
    """Noise of unit power, amplitude spectrum 1/f**exponent (0 white, 0.5 pink, 1 brown): `[length]`."""
    return shaped_noise(rng, length, 1, lambda f: np.maximum(f, f[1]) ** -exponent)


def _record(
    rng: np.random.Generator,
    sound: np.ndarray,
    sample_rate: int,
    band: tuple[float, float],
) -> np.ndarray:
    """The recording chain: background noise, the device's band in Hz, a level."""
    power = np.sqrt(np.mean(sound**2))
    hiss = coloured_noise(rng, len(sound), rng.uniform(0.2, 0.8))
    noisy = sound + power * 10 ** (-rng.uniform(12, 35) / 20) * hiss
    limited = signal.sosfilt(signal.butter(2, band, "bandpass", fs=sample_rate, output="sos"), noisy)
    return limited / np.abs(limited).max() * 10 ** (-rng.uniform(1, 20) / 20)
