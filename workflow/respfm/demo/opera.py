"""The OPERA repository's label, file-list and split arrays, made for the synthetic recordings."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from respfm.demo.cohort import CHEST_POSITIONS, Cohort, allot, generator, shuffled
from respfm.demo.containers import StandIns, npy
from respfm.demo.coughvid import metadata_csv

_SEED = 1337  # of OPERA's own draws


def stand_ins(cohort: Cohort) -> StandIns:
    """File contents by URL pattern."""
    return {
        f"*/{path}": make
        for arrays in (_coughvid, _icbhi, _coswara, _kauh, _respiratory_tr)
        for path, make in arrays(cohort).items()
    }


def _arrays(folder: str, columns: dict[str, Sequence]) -> StandIns:
    return {f"{folder}/{name}.npy": partial(npy, values) for name, values in columns.items()}


def _coughvid(cohort: Cohort) -> StandIns:
    """T5 and T6 in metadata order; the wav names of ogg recordings lost their last character."""
    pool = cohort.coughvid[cohort.coughvid["split"] != ""]
    stem = pool["uuid"].where(pool["container"] == "webm", pool["uuid"].str[:-1])
    sound = "datasets/coughvid/wav/" + stem + ".wav"
    made: StandIns = {"datasets/coughvid/metadata_compiled.csv": lambda: metadata_csv(cohort)}
    for task, column, classes in (
        ("covid", "status", {"healthy": 0, "COVID-19": 1}),
        ("gender", "gender", {"male": 0, "female": 1}),
    ):
        rows = pool[column].isin(classes.keys())
        label = pool.loc[rows, column].map(classes).astype(np.int64)
        made |= _arrays(
            "feature/coughvid_eval",
            {
                f"label_{task}": label,
                f"sound_dir_loc_{task}": sound[rows],
                f"split_{task}": pool.loc[rows, "split"],
            },
        )
    for name, part in (("_train", "train"), ("_val", "val"), ("gender_test", "test"), ("covid_test", "test")):
        uuids = shuffled(pool[pool["split"] == part], cohort.seed, "uuids", name)["uuid"]
        made[f"datasets/coughvid/coughvid_{name}_uuids.npy"] = partial(npy, uuids, object)
    return made


def _icbhi(cohort: Cohort) -> StandIns:
    """T7: all diagnoses; the task keeps COPD and Healthy and draws its own validation part."""
    rows = shuffled(cohort.icbhi, cohort.seed, "icbhi order")
    sound = "datasets/icbhi/ICBHI_final_database/" + rows["stem"] + ".wav"
    return _arrays(
        "feature/icbhidisease_eval",
        {"labels": rows["diagnosis"], "sound_dir_loc": sound, "split": rows["split"]},
    )


def _coswara(cohort: Cohort) -> StandIns:
    """T8 and T9: users with both coughs of quality 1 or 2, in the order of combined_data.csv."""
    users = cohort.coswara
    aligned = users[(users["quality_shallow"] > 0) & (users["quality_heavy"] > 0)]
    made: StandIns = {}
    for task, column, classes in (
        ("sex", "gender", {"male": 0, "female": 1}),
        ("smoker", "smoker", {"n": 0, "False": 0, "y": 1, "True": 1}),
    ):
        rows = aligned[aligned[column].isin(classes.keys())]
        label = rows[column].map(classes).astype(np.int64)
        split = np.full(len(rows), "train")
        _, test = train_test_split(np.arange(len(rows)), test_size=0.2, random_state=_SEED, stratify=label)
        split[test] = "test"
        sound = "datasets/Coswara-Data/Extracted_data/" + rows["date"] + "/" + rows["id"] + "/cough-shallow.wav"
        made |= _arrays(
            "feature/coswara_eval",
            {
                f"cough_aligned_filenames_{task}_w_cough-shallow": sound,
                f"cough_aligned_{task}_label_cough-shallow": label,
                f"cough_aligned_train_test_split_{task}_w_cough-shallow": split,
            },
        )
    return made


def _kauh(cohort: Cohort) -> StandIns:
    """T10: `train_test` is by patient; `train_test_split` lost the order of the file list, so it is by file."""
    patients = cohort.kauh[cohort.kauh["group"] != ""]
    rng = generator(cohort.seed, "kauh order")
    rows = patients.merge(pd.DataFrame({"mode": ["B", "D", "E"]}), how="cross")
    rows = rows.iloc[rng.permutation(len(rows))]
    obstructive = (rows["group"] != "healthy").tolist()
    return _arrays(
        "feature/kauh_eval",
        {
            "labels_both": rows["group"],
            "sound_dir_loc_subset": "datasets/KAUH/AudioFiles/" + rows["mode"] + "P" + rows["name"],
            "train_test": rows["fold"],
            "train_test_split": allot(rng, obstructive, {"train": 0.7, "val": 0.1, "test": 0.2}),
        },
    )


def _respiratory_tr(cohort: Cohort) -> StandIns:
    """T11: by patient; Labels.csv starts with a byte order mark and its lines end in commas."""
    patients = cohort.respiratory_tr
    places = pd.DataFrame({"position": CHEST_POSITIONS})
    rows = shuffled(patients.merge(places, how="cross"), cohort.seed, "respiratory_tr order")
    sound = "datasets/copd/RespiratoryDatabase@TR/" + rows["id"] + "_" + rows["position"] + ".wav"
    lines = ["Patient ID,Diagnosis,", *(f"{p.id},COPD{p.severity}," for p in patients.itertuples())]
    return {
        "datasets/copd/Labels.csv": lambda: "\r\n".join(lines).encode("utf-8-sig"),
        **_arrays(
            "feature/copd_eval",
            {"labels": rows["severity"], "sound_dir_loc": sound, "train_test_split": rows["split"]},
        ),
    }
