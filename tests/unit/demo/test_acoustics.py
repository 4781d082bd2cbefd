"""The sounds of the synthetic corpus: what the models promise, and how hard the conditions are to tell."""

import functools
import itertools
from collections.abc import Callable

import numpy as np
import pytest
from respfm.demo.acoustics import (
    CHEST_RATE,
    COUGH_RATE,
    Chest,
    Voice,
    chest_recording,
    cough_recording,
    draw_chest,
    draw_graded_chest,
    draw_voice,
    stethoscope_filters,
)
from respfm.demo.cohort import generator
from respfm.demo.scenes import SCENE_RATE, scene
from scipy import signal
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def log_spectrum(sound: np.ndarray, sample_rate: int) -> np.ndarray:
    """Mean and standard deviation over time of the log energy in 30 bands: `[60]`."""
    _, _, power = signal.spectrogram(sound, sample_rate, nperseg=256, noverlap=128)
    bands = np.log(np.add.reduceat(power, np.arange(0, 120, 4), axis=0) + 1e-10)
    return np.concatenate([bands.mean(1), bands.std(1)])


SOUNDS: dict[str, Callable[[np.random.Generator], tuple[np.ndarray, int]]] = {
    **{
        name: lambda rng, traits=traits: (cough_recording(rng, draw_voice(rng, **traits), 2.5), COUGH_RATE)
        for name, traits in {
            "man": {"female": False},
            "another man": {"female": False},
            "woman": {"female": True},
            "man with COVID-19": {"female": False, "wet": True},
            "smoking woman": {"female": True, "smoker": True},
        }.items()
    },
    **{
        name: lambda rng, name=name: (chest_recording(rng, draw_chest(rng, name), 8.0)[0], CHEST_RATE)
        for name in ("Healthy", "COPD", "Asthma")
    },
    **{
        f"COPD{grade}": lambda rng, grade=grade: (
            chest_recording(rng, draw_graded_chest(rng, grade), 8.0)[0],
            CHEST_RATE,
        )
        for grade in (1, 3)
    },
}
TRAIN, TEST = 20, 40


@functools.cache
def features(kind: str) -> np.ndarray:
    return np.array([log_spectrum(*SOUNDS[kind](generator(1, kind, person))) for person in range(TRAIN + TEST)])


def auroc(first: str, second: str) -> float:
    """Two kinds of people told apart by TRAIN recordings of each, on TEST others of each."""
    pair = np.concatenate([features(first), features(second)])
    labels = np.repeat([0, 1], TRAIN + TEST)
    trained = np.tile(np.arange(TRAIN + TEST) < TRAIN, 2)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2_000))
    model.fit(pair[trained], labels[trained])
    return roc_auc_score(labels[~trained], model.decision_function(pair[~trained]))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("man", "man with COVID-19"),
        ("man", "woman"),
        ("woman", "smoking woman"),
        ("Healthy", "COPD"),
        ("Healthy", "Asthma"),
        ("COPD1", "COPD3"),
    ],
)
def test_conditions_are_audible_but_overlap(first, second):
    assert 0.7 < auroc(first, second) < 0.995


def test_equal_conditions_cannot_be_told_apart():
    assert 0.3 < auroc("man", "another man") < 0.7


def peak_pitch(sound: np.ndarray, sample_rate: int, low: float, high: float) -> float:
    spectrum = np.abs(np.fft.rfft(sound))
    frequency = np.fft.rfftfreq(len(sound), 1 / sample_rate)
    inside = (frequency > low) & (frequency < high)
    return frequency[inside][spectrum[inside].argmax()]


def test_formants_follow_the_vocal_tract():
    """The strongest resonance of a shorter tract lies higher by its scale."""
    low, high = (
        np.median(
            [
                peak_pitch(cough_recording(generator(2, i), Voice(120, scale, 0.1, 0.1), 3.0), COUGH_RATE, 400, 1_000)
                for i in range(15)
            ]
        )
        for scale in (1.0, 1.25)
    )
    assert 1.1 < high / low < 1.4


def test_cough_starts_abruptly_and_fades():
    sound = cough_recording(generator(3), Voice(120, 1.0, 0.3, 0.2), 2.0)
    energy = np.convolve(sound**2, np.ones(160) / 160, "same")
    peak = energy.argmax()
    assert energy[peak - 800] < 0.05 * energy[peak]
    assert energy[peak + 800] > 0.05 * energy[peak]
    assert energy[peak + 800] > energy[peak + 3_200]


def test_annotated_cycles_tile_the_recording_and_hold_what_they_say():
    wheezer = Chest(wheezing=1.0, crackling=0.0, obstruction=0.8, crackle_pitch=400, breath_rate=0.3)
    sound, cycles = chest_recording(generator(4), wheezer, 12.0)
    assert len(sound) == 12 * CHEST_RATE
    assert np.abs(sound).max() <= 1
    assert all(a.end == b.start for a, b in itertools.pairwise(cycles))
    assert cycles[-1].end == 12.0
    for cycle in cycles[:-1]:
        assert (cycle.wheezes, cycle.crackles) == (True, False)
        inspired, expired = (
            sound[int(a * CHEST_RATE) : int(b * CHEST_RATE)]
            for a, b in ((cycle.start, cycle.turn), (cycle.turn, cycle.end))
        )
        assert tonality(expired) > 2 * tonality(inspired)


def tonality(sound: np.ndarray) -> float:
    """Share of the strongest 20 Hz in the power between 150 and 700 Hz."""
    frequency, power = signal.welch(sound, CHEST_RATE, nperseg=2_048)
    inside = power[(frequency > 150) & (frequency < 700)]
    return np.convolve(inside, np.ones(5), "same").max() / inside.sum()


def test_crackles_are_impulsive():
    def kurtosis(crackling: float) -> float:
        person = Chest(wheezing=0.0, crackling=crackling, obstruction=0.2, crackle_pitch=500, breath_rate=0.3)
        sound, _ = chest_recording(generator(5), person, 12.0)
        high = signal.sosfilt(signal.butter(4, 300, "highpass", fs=CHEST_RATE, output="sos"), sound)
        return np.mean(high**4) / np.mean(high**2) ** 2

    assert kurtosis(1.0) > 1.5 * kurtosis(0.0)


def test_obstruction_prolongs_expiration():
    def share(obstruction: float) -> float:
        person = Chest(wheezing=0.0, crackling=0.0, obstruction=obstruction, crackle_pitch=400, breath_rate=0.3)
        cycle = chest_recording(generator(6), person, 12.0)[1][0]
        return (cycle.end - cycle.turn) / (cycle.turn - cycle.start)

    assert share(0.9) > 1.5 * share(0.0)


def test_bell_is_darkest_and_diaphragm_has_no_bass():
    sound, _ = chest_recording(generator(7), draw_chest(generator(7), "Healthy"), 6.0)
    power = {name: signal.welch(x, CHEST_RATE, nperseg=1_024) for name, x in stethoscope_filters(sound).items()}
    centre = {name: (f * p).sum() / p.sum() for name, (f, p) in power.items()}
    bass = {name: p[f < 80].sum() / p.sum() for name, (f, p) in power.items()}
    assert centre["B"] < min(centre["D"], centre["E"])
    assert bass["D"] < 0.5 * bass["E"]


@pytest.mark.parametrize("name", ["Dog bark", "Rain", "Clock tick", "Rooster"])
def test_scenes_differ_from_clip_to_clip(name):
    first, second = (scene(generator(8, i), name, 1.0) for i in range(2))
    assert len(first) == SCENE_RATE
    assert np.isfinite(first).all()
    assert 0.1 < np.abs(first).max() <= 1
    assert not np.allclose(first, second)
