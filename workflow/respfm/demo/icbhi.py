"""ICBHI 2017: a zip of recordings of mixed rates with cycle annotations, and patient and split tables."""

from collections.abc import Iterator

import soxr

from respfm.demo.acoustics import CHEST_RATE, chest_recording, draw_chest
from respfm.demo.cohort import Cohort, generator
from respfm.demo.containers import StandIns, wav, zip_archive


def stand_ins(cohort: Cohort) -> StandIns:
    """File contents by URL pattern."""
    return {
        "*/ICBHI_final_database.zip": lambda: zip_archive(_members(cohort)),
        "*/ICBHI_Challenge_diagnosis.txt": lambda: _diagnoses(cohort),
        "*/ICBHI_challenge_train_test.txt": lambda: _official_split(cohort),
        "*/ICBHI_Challenge_demographic_information.txt": lambda: _demographics(cohort),
    }


def _members(cohort: Cohort) -> Iterator[tuple[str, bytes]]:
    for take in cohort.icbhi.itertuples():
        chest = draw_chest(generator(cohort.seed, "icbhi patient", take.patient), take.diagnosis)
        sound, cycles = chest_recording(generator(cohort.seed, "icbhi", take.stem), chest, take.seconds, take.device)
        sound = soxr.resample(sound, CHEST_RATE, take.sample_rate)
        lines = (f"{c.start:.3f}\t{c.end:.3f}\t{c.crackles:d}\t{c.wheezes:d}\n" for c in cycles)
        yield f"ICBHI_final_database/{take.stem}.txt", "".join(lines).encode()
        yield f"ICBHI_final_database/{take.stem}.wav", wav(sound, take.sample_rate, take.subtype)


def _diagnoses(cohort: Cohort) -> bytes:
    patients = cohort.icbhi.drop_duplicates("patient")
    return "".join(f"{p.patient}\t{p.diagnosis}\n" for p in patients.itertuples()).encode()


def _official_split(cohort: Cohort) -> bytes:
    """The list names patient 226's recording with a wrong device; OPERA appended a line with the right one."""
    listed = [
        (stem.replace("226_1b1_Pl_sc_LittC2SE", "226_1b1_Pl_sc_Meditron"), split)
        for stem, split in zip(cohort.icbhi["stem"], cohort.icbhi["split"], strict=True)
    ]
    return "".join(f"{stem}\t{split}\r\n" for stem, split in [*listed, ("226_1b1_Pl_sc_LittC2SE", "train")]).encode()


def _demographics(cohort: Cohort) -> bytes:
    """Patient, age, sex, adult's BMI, child's weight and height."""
    patients = cohort.icbhi.drop_duplicates("patient")
    body = {True: "25.1\tNA\tNA", False: "NA\t30.5\t125"}
    return "".join(f"{p.patient}\t{p.age}\t{p.sex}\t{body[p.age >= 18]}\r\n" for p in patients.itertuples()).encode()
