"""COUGHVID v1 as on Zenodo: a zip of webm and ogg recordings with a JSON each, and metadata_compiled.csv."""

import json
from collections.abc import Iterator

import numpy as np
import pandas as pd
import soxr

from respfm.demo.acoustics import COUGH_RATE, cough_recording, draw_voice, no_cough_recording
from respfm.demo.cohort import Cohort, generator
from respfm.demo.containers import StandIns, opus, zip_archive

_FINDINGS = ("dyspnea", "wheezing", "stridor", "choking", "congestion", "nothing")
_EXPERT = ("quality", "cough_type", *_FINDINGS, "diagnosis", "severity")


def stand_ins(cohort: Cohort) -> StandIns:
    """File contents by URL pattern."""
    return {"*/public_dataset.zip": lambda: zip_archive(_members(cohort))}


def metadata(cohort: Cohort) -> pd.DataFrame:
    """The 40 columns of metadata_compiled.csv; about one row in seven has the first expert's labels."""
    people = cohort.coughvid
    rng = generator(cohort.seed, "coughvid metadata")
    answered = people["status"] != ""
    ill = people["status"] != "healthy"
    expert = pd.Series(rng.random(len(people)) < 0.15)
    located = pd.Series(rng.random(len(people)) < 0.6)
    columns = {
        "uuid": people["uuid"],
        "datetime": people["datetime"],
        "cough_detected": people["cough_detected"].astype(str),
        "latitude": pd.Series(np.round(rng.uniform(-40, 60, len(people)), 1).astype(str)).where(located, ""),
        "longitude": pd.Series(np.round(rng.uniform(-120, 120, len(people)), 1).astype(str)).where(located, ""),
        "age": people["age"].astype(str).where(answered, ""),
        "gender": people["gender"],
        "respiratory_condition": (rng.random(len(people)) < 0.2),
        "fever_muscle_pain": ill & (rng.random(len(people)) < 0.4),
        "status": people["status"],
        "quality_1": "ok",
        "cough_type_1": np.where(ill, "wet", "dry"),
        **{f"{finding}_1": False for finding in _FINDINGS[:-1]},
        "nothing_1": True,
        "diagnosis_1": np.where(ill, "lower_infection", "healthy_cough"),
        "severity_1": np.where(ill, "mild", "pseudocough"),
        **{f"{label}_2": "" for label in _EXPERT},
        "quality_3": "",
        **{f"{finding}_3": "" for finding in _FINDINGS},
        **{f"{label}_3": "" for label in ("cough_type", "diagnosis", "severity")},
    }
    frame = pd.DataFrame(columns).astype(str)
    frame.loc[~answered, ["respiratory_condition", "fever_muscle_pain"]] = ""
    frame.loc[~expert, [f"{label}_1" for label in _EXPERT]] = ""
    return frame


def metadata_csv(cohort: Cohort) -> bytes:
    """metadata_compiled.csv, which the OPERA repository carries too."""
    return metadata(cohort).to_csv(index=False, lineterminator="\n").encode()


def _members(cohort: Cohort) -> Iterator[tuple[str, bytes]]:
    answers = metadata(cohort).drop(columns="uuid").to_dict("records")
    for person, answer in zip(cohort.coughvid.itertuples(), answers, strict=True):
        rng = generator(cohort.seed, "coughvid", person.uuid)
        if person.cough_detected < 0.8:
            sound = no_cough_recording(rng, person.seconds)
        else:
            female = person.gender == "female" if person.gender else rng.random() < 0.4
            voice = draw_voice(rng, female, wet=person.status in ("COVID-19", "symptomatic"))
            sound = cough_recording(rng, voice, person.seconds)
        name = f"public_dataset/{person.uuid}"
        yield f"{name}.{person.container}", opus(soxr.resample(sound, COUGH_RATE, 48_000), person.container)
        yield f"{name}.json", json.dumps({key: value for key, value in answer.items() if value}).encode()
    yield "public_dataset/metadata_compiled.csv", metadata_csv(cohort)
