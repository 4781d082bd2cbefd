"""RespiratoryDatabase@TR as on Mendeley Data: twelve positions per patient at 4 kHz, and Labels.xlsx."""

from collections.abc import Iterator

import soxr

from respfm.demo.acoustics import CHEST_RATE, chest_recording, draw_graded_chest
from respfm.demo.cohort import CHEST_POSITIONS, Cohort, generator
from respfm.demo.containers import StandIns, wav, xlsx, zip_archive


def stand_ins(cohort: Cohort) -> StandIns:
    """File contents by URL pattern."""
    return {"*/p9z4h98s6j/*/file_downloaded": lambda: zip_archive(_members(cohort))}


def _members(cohort: Cohort) -> Iterator[tuple[str, bytes]]:
    folder = "RespiratoryDatabase@TR"
    for patient in cohort.respiratory_tr.itertuples():
        chest = draw_graded_chest(generator(cohort.seed, "respiratory_tr patient", patient.id), patient.severity)
        for position in CHEST_POSITIONS:
            rng = generator(cohort.seed, "respiratory_tr", patient.id, position)
            sound, _ = chest_recording(rng, chest, 5.0)
            yield f"{folder}/{patient.id}_{position}.wav", wav(soxr.resample(sound, CHEST_RATE, 4_000), 4_000)
    labels = [(p.id, f"COPD{p.severity}") for p in cohort.respiratory_tr.itertuples()]
    yield (
        f"{folder}/Labels.xlsx",
        xlsx({"Sayfa1": [("Patient ID", "Diagnosis"), *labels], "Sayfa2": [], "Sayfa3": []}),
    )
