"""Coswara-Data as on GitHub: split tars of date folders, combined_data.csv and the quality annotations."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd
import soxr

from respfm.demo.acoustics import COUGH_RATE, cough_recording, draw_voice
from respfm.demo.cohort import COSWARA_DATES, Cohort, generator
from respfm.demo.containers import StandIns, tar_gz, wav

_COLUMNS = (
    "id", "a", "covid_status", "record_date", "ep", "g", "l_c", "l_l", "l_s", "rU", "smoker", "cold", "ht", "diabetes",
    "cough", "ctDate", "ctScan", "ctScore", "diarrhoea", "fever", "loss_of_smell", "mp", "testType", "test_date",
    "test_status", "um", "vacc", "bd", "others_resp", "ftg", "st", "ihd", "asthma", "others_preexist", "cld",
    "pneumonia",
)  # fmt: skip


def stand_ins(cohort: Cohort) -> StandIns:
    """File contents by URL pattern."""
    return {
        "*/combined_data.csv": lambda: _combined_data(cohort),
        "*/annotations/cough-heavy_labels.csv": lambda: _qualities(cohort, "heavy"),
        "*/annotations/cough-shallow_labels.csv": lambda: _qualities(cohort, "shallow"),
        **{f"*/{date}/{date}.tar.gz": partial(_date_archive, cohort, date) for date in COSWARA_DATES},
    }


def _combined_data(cohort: Cohort) -> bytes:
    users = cohort.coswara
    frame = pd.DataFrame("", index=users.index, columns=_COLUMNS)
    frame["id"], frame["a"], frame["covid_status"] = users["id"], users["age"], users["covid_status"]
    frame["record_date"] = pd.to_datetime(users["date"]).dt.strftime("%Y-%m-%d")
    frame["g"], frame["smoker"], frame["ep"], frame["rU"] = users["gender"], users["smoker"], "y", "n"
    frame["l_c"], frame["l_l"], frame["l_s"] = "India", "Bengaluru", "Karnataka"
    return frame.to_csv(index=False, lineterminator="\n").encode()


def _qualities(cohort: Cohort, depth: str) -> bytes:
    users = cohort.coswara
    lines = (
        f"{user}_cough-{depth},{quality}\n"
        for user, quality in zip(users["id"], users[f"quality_{depth}"], strict=True)
    )
    return ("FILENAME, QUALITY\n" + "".join(lines)).encode()


def _date_archive(cohort: Cohort, date: str) -> bytes:
    return tar_gz(_members(cohort, date))


def _members(cohort: Cohort, date: str) -> Iterator[tuple[str, bytes]]:
    for user in cohort.coswara[cohort.coswara["date"] == date].itertuples():
        voice = draw_voice(
            generator(cohort.seed, "coswara user", user.id),
            female=user.gender == "female",
            wet=user.covid_status.startswith("positive"),
            smoker=user.smoker in ("y", "True"),
        )
        for depth in ("heavy", "shallow"):
            rng = generator(cohort.seed, "coswara", user.id, depth)
            sound = cough_recording(rng, voice, rng.uniform(2.0, 3.0))
            if depth == "shallow" and user.fault:
                sound = np.zeros(len(sound) if user.fault == "silent" else 0)
            sound = soxr.resample(sound, COUGH_RATE, user.sample_rate) if len(sound) else sound
            yield f"{date}/{user.id}/cough-{depth}.wav", wav(sound, user.sample_rate)
