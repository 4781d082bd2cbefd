"""The publishers' folders rebuilt from the real metadata, with empty files where the audio would be."""

import csv
import functools
import importlib
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from respfm.config.reading import read_yaml
from respfm.config.settings import Settings, load_settings
from respfm.curate.tasks import build_task
from workspace import REPOSITORY

COSWARA_WITHOUT_COUGH = "9hftEYixyhP1Neeq3fB7ZwITQC53"
"""OPERA skips this user, whose cough-shallow.wav is missing; the annotators' list lacks it too."""

GITHUB = "mirror/raw.githubusercontent.com"


def opera_root(shared_data: Path) -> Path:
    return next((shared_data / GITHUB / "evelyn0414/OPERA").iterdir())


def coswara_root(shared_data: Path) -> Path:
    return next((shared_data / GITHUB / "iiscleap/Coswara-Data").iterdir())


def _touch(root: Path, names) -> None:
    for folder in {Path(name).parent for name in names}:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / name).touch()


def _link(root: Path, *sources: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for source in sources:
        (root / source.name).symlink_to(source)


def _stems(root: Path, array: str) -> list[str]:
    return [Path(str(name)).stem for name in np.load(root / array)]


def coughvid(shared_data: Path, root: Path) -> Path:
    opera = opera_root(shared_data)
    table = opera / "datasets/coughvid/metadata_compiled.csv"
    _link(root, table)
    shipped = {
        name
        for task in ("covid", "gender")
        for name in _stems(opera, f"feature/coughvid_eval/sound_dir_loc_{task}.npy")
    }
    uuids = pd.read_csv(table, usecols=["uuid"])["uuid"]
    _touch(root, [f"public_dataset/{u}.{'ogg' if u[:35] in shipped else 'webm'}" for u in uuids])
    return root


def icbhi(shared_data: Path, root: Path) -> Path:
    opera = opera_root(shared_data)
    _link(root, *(opera / "datasets/icbhi").glob("*.txt"))
    stems = _stems(opera, "feature/icbhidisease_eval/sound_dir_loc.npy")
    _touch(root, [f"ICBHI_final_database/{stem}.wav" for stem in stems])
    return root


def coswara(shared_data: Path, root: Path) -> Path:
    source = coswara_root(shared_data)
    _link(root, source / "combined_data.csv")
    _link(root / "annotations", source / "annotations/cough-shallow_labels.csv")
    for table in source.glob("2*/2*.csv"):
        with table.open(newline="", encoding="utf-8") as stream:
            users = {row["id"] for row in csv.DictReader(stream)} - {COSWARA_WITHOUT_COUGH}
        _touch(root, [f"{table.stem}/{user}/cough-shallow.wav" for user in users])
    return root


def kauh(shared_data: Path, root: Path) -> Path:
    opera = opera_root(shared_data)
    stems = _stems(opera, "feature/kauh_eval/sound_dir_loc_subset.npy")
    _touch(root, [f"Audio Files/{stem}.wav" for stem in stems])
    return root


def respiratory_tr(shared_data: Path, root: Path) -> Path:
    opera = opera_root(shared_data)
    _link(root, opera / "datasets/copd/Labels.xlsx")
    stems = _stems(opera, "feature/copd_eval/sound_dir_loc.npy")
    _touch(root, [f"RespiratoryDatabase@TR/{stem}.wav" for stem in stems])
    return root


def hf_lung(shared_data: Path, root: Path) -> Path:
    """V1 with its real names; of V1_IP, whose list is not here, as many as the paper's total leaves for it."""
    table = pd.read_csv(opera_root(shared_data) / "datasets/hf_lung/metadata.csv")
    steth = table[table["filename"].str.startswith("steth")]
    listed = pd.concat([steth, table[~table.index.isin(steth.index)].head(5)])
    _touch(root, [f"HF_Lung_V1/{row.split}/{row.filename}.wav" for row in listed.itertuples()])
    remaining = 3839 - (steth["split"] == "train").sum()
    _touch(root, [f"HF_Lung_V1_IP/train/steth_ip_{number:04d}.wav" for number in range(remaining)])
    _touch(root, [f"HF_Lung_V1_IP/test/steth_ip_test_{number}.wav" for number in range(3)])
    return root


KINDS = {
    "coughvid": coughvid,
    "icbhi": icbhi,
    "hf_lung": hf_lung,
    "coswara": coswara,
    "kauh": kauh,
    "respiratory_tr": respiratory_tr,
}


@functools.cache
def paper() -> Settings:
    """Registries as config/paper.yaml has them."""
    return load_settings(read_yaml(REPOSITORY / "config/paper.yaml"), REPOSITORY)


@functools.cache
def real_recordings(shared_data: Path) -> dict[str, pd.DataFrame]:
    """Recordings of every data set, by its name, as if all audio were there and good."""
    with tempfile.TemporaryDirectory() as folder:
        return {
            kind: importlib.import_module(f"respfm.curate.{kind}")
            .list_recordings(make(shared_data, Path(folder) / kind), {})
            .assign(quarantine="")
            for kind, make in KINDS.items()
        }


@functools.cache
def real_tasks(shared_data: Path) -> dict[tuple[str, str], pd.DataFrame]:
    """Every task of OPERA under both protocols, from its arrays, by (protocol, task)."""
    recordings, opera = real_recordings(shared_data), opera_root(shared_data)
    return {
        (protocol, name): build_task(name, task, protocol, recordings[task["dataset"]], opera, seed=0)
        for name, task in paper().tasks.items()
        if "opera" in task
        for protocol in ("published", "strict")
    }
