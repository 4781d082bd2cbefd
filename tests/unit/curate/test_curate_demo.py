"""The synthetic corpus goes through the same curation as the publishers' archives."""

import importlib

import pandas as pd
import pytest
import yaml
from respfm.audit.duplicates import duplicates
from respfm.audit.leakage import leakage
from respfm.config.settings import load_settings
from respfm.curate.inspect import check_recordings, inspect_recordings
from respfm.curate.mixtures import build_mixture
from respfm.curate.tasks import build_task
from respfm.demo import write_dataset
from respfm.retrieve.dataset import fetch_dataset
from respfm.retrieve.finder import Finder
from respfm.retrieve.sources import raw_root
from workspace import REPOSITORY

DATASETS = ("coughvid", "icbhi", "hf_lung", "coswara", "kauh", "respiratory_tr", "esc10", "opera")


def registry(name: str) -> dict:
    return yaml.safe_load((REPOSITORY / "config" / f"{name}.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    entries = load_settings(registry("config"), REPOSITORY).datasets
    found = {}
    for name in DATASETS:
        entry = entries[name]
        write_dataset(name, entry, folder / "mirror" / name, size=0.1, seed=0)
        mirror = {"path": str(folder / "mirror" / name), "checksums": "MANIFEST.csv"}
        fetch_dataset(name, entry, folder / "raw" / name, Finder(folder / "downloads" / name, [mirror], offline=True))
        found[name] = raw_root(folder / "raw" / name / ".sources.json")
    return found


@pytest.fixture(scope="module")
def recordings(roots):
    frames = {}
    for name in DATASETS[:-1]:
        parser = importlib.import_module(f"respfm.curate.{registry('datasets')[name]['kind']}")
        frames[name] = inspect_recordings(parser.list_recordings(roots[name], {}), roots[name], workers=2)
    return frames


@pytest.fixture(scope="module")
def tasks(roots, recordings):
    return {
        (protocol, name): build_task(
            name, task, protocol, recordings[task["dataset"]], roots["opera"], seed=0, allow_partial=True
        )
        for name, task in registry("tasks").items()
        for protocol in ("published", "strict")
    }


def test_recordings_decode(recordings):
    for name, frame in recordings.items():
        check_recordings(name, frame, registry("datasets")[name]["expected"], True, max_quarantine_share=0.2)
    reasons = pd.concat(recordings.values())["quarantine"]
    assert set(reasons) == {"", "silent", "empty"}


def test_every_published_recording_is_found(tasks, recordings):
    for (_, name), task in tasks.items():
        bad = recordings[task.attrs["dataset"]].query("quarantine != ''")["id"]
        assert (task.attrs["missing"], task.attrs["redrawn"]) == (0, "opera" not in registry("tasks")[name]), name
        assert not set(task["recording"]) & set(bad)


def test_strict_tasks_and_mixtures_do_not_leak(tasks, recordings):
    strict = {name: task for (protocol, name), task in tasks.items() if protocol == "strict"}
    datasets = list(recordings)
    mixture = {"exclude": "test", "parts": [{"dataset": name, "repeats": 1} for name in datasets]}
    mixtures = {"all": build_mixture("all", mixture, recordings, strict)}
    assert set(mixtures["all"]["dataset"]) == set(datasets)
    table = leakage({key: task for key, task in tasks.items() if key[0] == "strict"}, mixtures, recordings)
    test = table[table["split"] == "test"]
    assert len(test) > 20
    assert test[["shared_recordings", "shared_patients"]].to_numpy().sum() == 0


def test_stethoscope_filters_are_found_as_copies(tasks, recordings, roots):
    """Published T10 has the same recording under another filter on both sides, as the real data set has."""
    published = {key: task for key, task in tasks.items() if key[1] == "T10"}
    table = duplicates(published, {}, recordings, roots)
    assert set(table["protocol"]) == {"published"}
    assert table["same_patient"].all()
