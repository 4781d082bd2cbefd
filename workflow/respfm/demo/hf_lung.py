"""HF_Lung_V1 and HF_Lung_V1_IP: multi-part 7z of 15 s recordings at 4 kHz with labelled intervals."""

from collections.abc import Iterator

import soxr

from respfm.demo.acoustics import CHEST_RATE, Cycle, chest_recording, draw_chest
from respfm.demo.cohort import Cohort, generator
from respfm.demo.containers import StandIns, seven_zip, wav


def stand_ins(cohort: Cohort) -> StandIns:
    """File contents by URL pattern."""
    return {
        "*/HF_Lung_V1/*/train.7z": lambda: seven_zip(_members(cohort, "HF_Lung_V1")),
        "*/HF_Lung_V1_IP/*/train.7z": lambda: seven_zip(_members(cohort, "HF_Lung_V1_IP")),
    }


def _members(cohort: Cohort, part: str) -> Iterator[tuple[str, bytes]]:
    for take in cohort.hf_lung[cohort.hf_lung["part"] == part].itertuples():
        rng = generator(cohort.seed, "hf_lung", take.name)
        sound, cycles = chest_recording(rng, draw_chest(rng, take.diagnosis), 15.0)
        yield f"train/{take.name}.wav", wav(soxr.resample(sound, CHEST_RATE, 4_000), 4_000)
        yield f"train/{take.name}_label.txt", "".join(_labels(cycles)).encode()


def _labels(cycles: list[Cycle]) -> Iterator[str]:
    """I (inspiration), E (expiration), D (discontinuous: crackles) and Wheeze with begin and end."""
    for cycle in cycles:
        yield f"I {_clock(cycle.start)} {_clock(cycle.turn)}\n"
        if cycle.crackles:
            yield f"D {_clock(cycle.start)} {_clock(cycle.turn)}\n"
        yield f"E {_clock(cycle.turn)} {_clock(cycle.end)}\n"
        if cycle.wheezes:
            yield f"Wheeze {_clock(cycle.turn)} {_clock(cycle.end)}\n"


def _clock(seconds: float) -> str:
    return f"00:00:{seconds:06.3f}"
