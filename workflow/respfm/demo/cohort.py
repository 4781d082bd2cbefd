"""Who is in the synthetic corpus: patients, diagnoses, answers, recordings and the published splits.

Everything is drawn from (seed, size) before any sound exists, so that each data set, and the label and split
arrays of the OPERA repository that refer to all of them, can be written alone and still agree.

Counts are chosen such that every task has every class in train, validation and test under the published
arrays and can be split by patient. Labels are independent of what should not give them away: sample rate,
device, date, sex (except where sex is the label).
"""

import itertools
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from respfm.errors import RespfmError

COSWARA_DATES = ("20200413", "20200424", "20210426")
"""Date folders of the demo. Until late 2020 the app stored True/False for "smoker", later y/n."""

CHEST_POSITIONS = tuple(f"{side}{i}" for side in "LR" for i in range(1, 7))
"""The twelve auscultation points of RespiratoryDatabase@TR."""


@dataclass(frozen=True)
class Cohort:
    """One table per data set; the columns are those of the functions below."""

    seed: int
    coughvid: pd.DataFrame
    icbhi: pd.DataFrame
    hf_lung: pd.DataFrame
    coswara: pd.DataFrame
    kauh: pd.DataFrame
    respiratory_tr: pd.DataFrame
    general: pd.DataFrame


def generator(seed: int, *names: object) -> np.random.Generator:
    """A random stream of its own for everything that has a name."""
    return np.random.default_rng([seed, *(zlib.crc32(str(name).encode()) for name in names)])


def build_cohort(seed: int, size: float) -> Cohort:
    """The whole cohort; `size` 1.0 gives the default counts, smaller values fewer of each class, never none."""
    if not 0 < size <= 4:
        raise RespfmError(
            f"The demo corpus has scale {size}; set demo_corpus.scale above 0 and up to 4 (patient numbers end there)"
        )
    return Cohort(
        seed,
        _coughvid(generator(seed, "coughvid"), size),
        _icbhi(generator(seed, "icbhi"), size),
        _hf_lung(generator(seed, "hf_lung"), size),
        _coswara(generator(seed, "coswara"), size),
        _kauh(generator(seed, "kauh"), size),
        _respiratory_tr(generator(seed, "respiratory_tr"), size),
        _general(size),
    )


def _scaled(count: int, size: float, at_least: int = 1) -> int:
    return max(at_least, round(count * size))


def allot(rng: np.random.Generator, strata: Sequence[object], shares: dict[str, float]) -> list[str]:
    """Assign each item to a part by shares within its stratum; no part is empty in a stratum of len(shares) items."""
    parts = np.empty(len(strata), dtype=object)
    keys = np.array([str(stratum) for stratum in strata])
    for key in np.unique(keys):
        members = rng.permutation(np.flatnonzero(keys == key))
        for name, share in itertools.islice(shares.items(), 1, None):
            taken = max(1, round(len(keys[keys == key]) * share))
            parts[members[:taken]], members = name, members[taken:]
        parts[members] = next(iter(shares))
    return parts.tolist()


def _coughvid(rng: np.random.Generator, size: float) -> pd.DataFrame:
    """Recordings of unknown people: uuid, datetime, cough_detected, status, gender, age, container, seconds, split.

    `split` is "" below the pool threshold of 0.8. Among the scores are one 0.8 and three 0.95 exactly.
    """
    groups = [  # status, gender, count, at least
        ("healthy", "male", 33, 6),
        ("healthy", "female", 23, 6),
        ("COVID-19", "male", 17, 5),
        ("COVID-19", "female", 13, 5),
        ("symptomatic", "male", 6, 3),
        ("symptomatic", "female", 4, 3),
        ("healthy", "other", 1, 1),
        ("", "", 8, 2),
    ]
    people = [(s, g) for s, g, count, least in groups for _ in range(_scaled(count, size, least))]
    no_cough = [("", "")] * _scaled(10, size) + [("healthy", "male")] * _scaled(5, size)
    status, gender = zip(*people, *no_cough, strict=True)
    total, pool = len(status), len(people)
    score = np.round(rng.uniform(0.951, 1.0, total), 4)
    score[pool:] = np.round(rng.uniform(0.0, 0.79, total - pool), 4)
    below = rng.permutation(pool)[: _scaled(20, size, 5)]
    score[below] = np.round(rng.uniform(0.8001, 0.9499, len(below)), 4)
    score[below[:4]] = [0.8, 0.95, 0.95, 0.95]
    strata = [f"{s} {g}" if g in ("male", "female") else "" for s, g in people]
    sexed = np.array([bool(stratum) for stratum in strata])
    split = np.full(total, "", dtype=object)
    split[:pool][sexed] = allot(rng, np.array(strata)[sexed], {"train": 0.45, "val": 0.15, "test": 0.4})
    split[:pool][~sexed] = allot(rng, np.array(strata)[~sexed], {"train": 0.75, "val": 0.25})
    second = rng.integers(0, 200 * 86_400, total)
    return (
        pd.DataFrame(
            {
                "uuid": [str(uuid.UUID(bytes=rng.bytes(16), version=4)) for _ in range(total)],
                "datetime": [
                    f"{pd.Timestamp('2020-04-10') + pd.Timedelta(seconds=int(s)):%Y-%m-%dT%H:%M:%S}.{s % 997:06d}+00:00"
                    for s in second
                ],
                "cough_detected": score,
                "status": status,
                "gender": gender,
                "age": rng.integers(18, 75, total),
                "container": np.where(rng.random(total) < 0.12, "ogg", "webm"),
                "seconds": rng.uniform(2.0, 4.0, total),
                "split": split,
            }
        )
        .sort_values("uuid")
        .reset_index(drop=True)
    )


def _icbhi(rng: np.random.Generator, size: float) -> pd.DataFrame:
    """Recordings: stem, patient, diagnosis, age, sex, device, sample_rate, subtype, seconds, official split.

    As published, COPD patients 156 and 218 are on both sides. Device and rate rotate within each diagnosis.
    """
    copd, healthy = _scaled(12, size, 6), _scaled(10, size, 6)
    others = ["Pneumonia", "URTI", "Bronchiectasis", "Bronchiolitis", "URTI", "LRTI", "Asthma", "Pneumonia"]
    diagnoses = ["COPD"] * copd + ["Healthy"] * healthy + others[: _scaled(8, size, 2)]
    free = sorted(set(range(101, 226)) - {156, 218})
    number = rng.choice(free, len(diagnoses), replace=False)
    number[[0, 1]] = 156, 218
    number[copd + healthy] = 226
    strata = ["both sides"] * 2 + [d if d in ("COPD", "Healthy") else "other" for d in diagnoses[2:]]
    side = allot(rng, strata, {"train": 0.6, "test": 0.4})
    side[copd + healthy] = "train"
    setups = [("Litt3200", 4_000), ("Meditron", 10_000), ("AKGC417L", 4_000), ("LittC2SE", 44_100), ("Meditron", 4_000)]
    rotation = {d: itertools.cycle(setups) for d in sorted(set(diagnoses))}
    rows = []
    for patient, diagnosis, split in sorted(zip(number.tolist(), diagnoses, side, strict=True)):
        age = int(rng.integers(45, 85) if diagnosis == "COPD" else rng.integers(4, 70))
        sex = str(rng.choice(["F", "M"]))
        places = rng.permutation(["Al", "Ar", "Pl", "Pr", "Ll", "Lr", "Tc"])
        takes = {"COPD": int(rng.integers(2, 4)), "Healthy": 2}.get(diagnosis, 1)
        for take in range(takes):
            device, rate = ("LittC2SE", 44_100) if patient == 226 else next(rotation[diagnosis])
            place = "Pl" if patient == 226 else places[take]
            mode = "mc" if device == "AKGC417L" else "sc"
            rows.append(
                {
                    "stem": f"{patient}_1b1_{place}_{mode}_{device}",
                    "patient": patient,
                    "diagnosis": diagnosis,
                    "age": age,
                    "sex": sex,
                    "device": device,
                    "sample_rate": rate,
                    "subtype": "PCM_24" if rate == 10_000 else "PCM_16",
                    "seconds": rng.uniform(8.0, 12.0),
                    "split": ("train", "test")[take % 2] if patient in (156, 218) else split,
                }
            )
    return pd.DataFrame(rows)


def _hf_lung(rng: np.random.Generator, size: float) -> pd.DataFrame:
    """Recordings: name, part (HF_Lung_V1, HF_Lung_V1_IP), diagnosis (drives the sound only)."""
    rows = []
    for part, steth, trunc in (("HF_Lung_V1", 16, 3), ("HF_Lung_V1_IP", 8, 1)):
        for index in range(_scaled(steth, size, 4)):
            date = pd.Timestamp("2018-08-14") + pd.Timedelta(minutes=int(rng.integers(1, 400_000)))
            rows.append((f"steth_{date:%Y%m%d_%H_%M}_{index:02d}", part))
        for index in range(trunc):
            date = pd.Timestamp("2019-08-21") + pd.Timedelta(minutes=int(rng.integers(1, 100_000)))
            rows.append((f"trunc_{date:%Y-%m-%d-%H-%M}-00-L{index % 8 + 1}_{index}", part))
    frame = pd.DataFrame(rows, columns=["name", "part"])
    frame["diagnosis"] = rng.choice(["Healthy", "COPD", "Asthma", "Pneumonia"], len(frame))
    return frame.sort_values(["part", "name"]).reset_index(drop=True)


def _coswara(rng: np.random.Generator, size: float) -> pd.DataFrame:
    """Users: id, date, gender, smoker (as stored), age, covid_status, qualities of both coughs, fault, sample_rate.

    `fault` of the shallow cough: "header only" (a 44-byte file) for one user, "silent" for another, both of the
    majority class. Two more users have a cough of quality 0, which OPERA leaves out.
    """
    groups = [  # gender, smoker, count, at least
        ("male", "y", 14, 6),
        ("female", "y", 10, 5),
        ("male", "n", 21, 9),
        ("female", "n", 14, 6),
        ("male", "", 6, 4),
        ("female", "", 4, 3),
        ("other", "", 1, 1),
    ]
    people = [(g, s) for g, s, count, least in groups for _ in range(_scaled(count, size, least))]
    gender, smoker = (np.array(column, dtype=object) for column in zip(*people, strict=True))
    total = len(people)
    male_abstainers = np.flatnonzero((gender == "male") & (smoker == "n"))
    fault = np.full(total, "", dtype=object)
    fault[male_abstainers[:2]] = "header only", "silent"
    shallow, heavy = rng.integers(1, 3, total), rng.integers(1, 3, total)
    shallow[male_abstainers[2]] = heavy[male_abstainers[3]] = 0
    date = np.array(COSWARA_DATES)[np.arange(total) % len(COSWARA_DATES)]
    early = np.char.startswith(date, "2020")
    stored = [{"y": "True", "n": "False"}.get(s, "") if e else s for s, e in zip(smoker, early, strict=True)]
    letters = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"))
    frame = pd.DataFrame(
        {
            "id": ["".join(rng.choice(letters, 28)) for _ in range(total)],
            "date": date,
            "gender": gender,
            "smoker": stored,
            "age": rng.integers(18, 70, total),
            "covid_status": rng.choice(
                ["healthy", "positive_mild", "no_resp_illness_exposed"], total, p=[0.6, 0.2, 0.2]
            ),
            "quality_shallow": shallow,
            "quality_heavy": heavy,
            "fault": fault,
            "sample_rate": rng.permutation(np.resize([16_000, 44_100, 16_000, 16_000, 48_000, 16_000], total)),
        }
    )
    order = rng.permutation(total)
    return frame.iloc[order].sort_values("date", kind="stable").reset_index(drop=True)


def _kauh(rng: np.random.Generator, size: float) -> pd.DataFrame:
    """Patients: number, name (of the file, without the filter), condition (sound), group, seconds, fold (train, test).

    `group` is what OPERA reads from the name: healthy, asthma, COPD, or "" for the rest and for lower-case "copd".
    """
    healthy, ill = _scaled(10, size, 6), _scaled(5, size, 3)
    kinds = [  # diagnosis in the file name, condition, group, sounds
        *[("N", "Healthy", "healthy", "N")] * healthy,
        ("Asthma and lung fibrosis", "Asthma", "asthma", "I E W"),
        ("asthma", "Asthma", "asthma", "E W"),
        *[("Asthma", "Asthma", "asthma", "E W")] * (ill - 2),
        ("Heart Failure + COPD", "COPD", "COPD", "I C E W"),
        *[("COPD", "COPD", "COPD", "E W")] * (ill - 1),
        ("copd", "COPD", "", "E W"),
        ("Heart Failure", "Heart Failure", "", "Crep"),
        *[("BRON", "Bronchiolitis", "", "C"), ("Pneumonia", "Pneumonia", "", "I C")][: _scaled(2, size, 0)],
    ]
    numbers = rng.permutation(np.arange(1, 113))[: len(kinds)].tolist()
    places = rng.choice(["P L L", "P R L ", "P L M", "A R M", "P L L R", "P R U"], len(kinds))
    rows = [
        {
            "number": number,
            "name": f"{number}_{diagnosis},{sounds},{place},{rng.integers(20, 80)},{rng.choice(['F', 'M'])}.wav",
            "condition": condition,
            "group": group,
            "seconds": rng.uniform(6.0, 9.0),
        }
        for number, place, (diagnosis, condition, group, sounds) in zip(numbers, places, kinds, strict=True)
    ]
    frame = pd.DataFrame(rows)
    frame["fold"] = allot(
        rng, frame["group"].replace({"asthma": "ill", "COPD": "ill"}).tolist(), {"train": 0.67, "test": 0.33}
    )
    return frame.sort_values("number", ignore_index=True)


def _respiratory_tr(rng: np.random.Generator, size: float) -> pd.DataFrame:
    """Patients: id (H002..H050 with gaps), severity (0..4), split (train, val, test)."""
    severity = np.repeat(np.arange(5), min(9, _scaled(4, size, 3)))
    numbers = np.sort(rng.choice(np.arange(2, 51), len(severity), replace=False))
    severity = rng.permutation(severity)
    return pd.DataFrame(
        {
            "id": [f"H{number:03d}" for number in numbers],
            "severity": severity,
            "split": allot(rng, severity, {"train": 0.5, "val": 0.25, "test": 0.25}),
        }
    )


def _general(size: float) -> pd.DataFrame:
    """Clips of ESC-10's ten classes: folder, name, scene."""
    scenes = (
        "Dog bark", "Rain", "Sea waves", "Baby cry", "Clock tick",
        "Person sneeze", "Helicopter", "Chainsaw", "Rooster", "Fire crackling",
    )  # fmt: skip
    rows = [
        (f"{index:03d} - {scene}", f"{clip % 5 + 1}-{100_000 + 137 * index + clip}-A", scene)
        for index, scene in enumerate(scenes, start=1)
        for clip in range(_scaled(6, size))
    ]
    return pd.DataFrame(rows, columns=["folder", "name", "scene"])


def shuffled(frame: pd.DataFrame, seed: int, *names: object) -> pd.DataFrame:
    """Rows in a fixed order that no rule predicts, like the directory order of the published arrays."""
    return frame.iloc[generator(seed, *names).permutation(len(frame))].reset_index(drop=True)
