"""KAUH v3 as on Mendeley Data: a recording per patient through three filters, labelled by file name."""

from collections.abc import Iterator

import soxr

from respfm.demo.acoustics import CHEST_RATE, chest_recording, draw_chest, stethoscope_filters
from respfm.demo.cohort import Cohort, generator
from respfm.demo.containers import StandIns, wav, zip_archive


def stand_ins(cohort: Cohort) -> StandIns:
    """File contents by URL pattern."""
    return {"*/jwyy9np4gv/*/file_downloaded": lambda: zip_archive(_members(cohort))}


def _members(cohort: Cohort) -> Iterator[tuple[str, bytes]]:
    for patient in cohort.kauh.itertuples():
        rng = generator(cohort.seed, "kauh", patient.number)
        sound, _ = chest_recording(rng, draw_chest(rng, patient.condition), patient.seconds)
        for mode, filtered in stethoscope_filters(sound).items():
            yield (
                f"AudioFiles/{mode}P{patient.name}",
                wav(soxr.resample(filtered, CHEST_RATE, 4_000), 4_000),
            )
