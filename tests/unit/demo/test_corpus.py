"""The synthetic corpus: same bytes everywhere, files where the registries expect them, tasks that can be learned."""

import csv
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from respfm.config.reading import read_yaml
from respfm.config.settings import load_settings
from respfm.demo import write_dataset
from respfm.demo.cohort import build_cohort
from respfm.errors import RespfmError
from workspace import REPOSITORY

DATASETS = ("coughvid", "icbhi", "hf_lung", "coswara", "kauh", "respiratory_tr", "esc10", "opera")
SEED, SIZE = 3, 0.1
OPERA = "raw.githubusercontent.com/evelyn0414/OPERA/3622310e667afb8aa40169050b4dd45de75946a2"
COSWARA = "raw.githubusercontent.com/iiscleap/Coswara-Data/4942c97e31de7180a93d17f2e7530a9c543cfd50"


def registry() -> dict[str, dict]:
    """The entries that the default configuration gives to the demo."""
    entries = load_settings(read_yaml(REPOSITORY / "config/config.yaml"), REPOSITORY).datasets
    return {name: entries[name] for name in DATASETS}


def write_all(target: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    for name in names:
        write_dataset(name, registry()[name], target / name, SIZE, SEED)
    return {str(path.relative_to(target)): path.read_bytes() for path in sorted(target.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> dict[str, bytes]:
    return write_all(tmp_path_factory.mktemp("corpus"), DATASETS)


def joined(corpus: dict[str, bytes], prefix: str) -> io.BytesIO:
    parts = [content for name, content in corpus.items() if name.startswith(prefix)]
    assert parts, prefix
    return io.BytesIO(b"".join(parts))


@pytest.mark.slow
def test_another_process_writes_the_same_bytes_in_another_order(corpus, tmp_path):
    """Nothing of the clock, the hash seed, the time zone, the umask or the order gets into a file."""
    code = (
        "import os; os.umask(0o077)\n"
        "import test_corpus as t, pathlib\n"
        f"t.write_all(pathlib.Path({str(tmp_path)!r}), t.DATASETS[::-1])"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    again = {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert sorted(again) == sorted(corpus)
    assert [name for name in again if again[name] != corpus[name]] == []


def test_seed_changes_the_corpus(corpus, tmp_path):
    write_dataset("opera", registry()["opera"], tmp_path, SIZE, SEED + 1)
    name = "datasets/coughvid/coughvid__train_uuids.npy"
    assert (tmp_path / OPERA / name).read_bytes() != corpus[f"opera/{OPERA}/{name}"]


@pytest.mark.parametrize("dataset", DATASETS)
def test_manifest_lists_every_file_of_the_entry(corpus, dataset):
    addresses = {
        f"{file['url'].removeprefix('https://')}{'.' if part else ''}{part}"
        for file in registry()[dataset]["files"]
        for part in file.get("parts", [""])
    }
    rows = list(csv.DictReader(corpus[f"{dataset}/MANIFEST.csv"].decode().splitlines()))
    assert {row["path"] for row in rows} == addresses
    for row in rows:
        content = corpus[f"{dataset}/{row['path']}"]
        assert (row["sha256"], row["bytes"]) == (hashlib.sha256(content).hexdigest(), str(len(content)))


def test_unknown_data_set_and_unknown_url_are_refused(tmp_path):
    with pytest.raises(RespfmError, match="no synthetic stand-in for the data set 'audioset'"):
        write_dataset("audioset", {"files": []}, tmp_path, SIZE, SEED)
    with pytest.raises(
        RespfmError, match=r"no stand-in for https://zenodo.org/other.zip; it makes \*/public_dataset.zip"
    ):
        write_dataset("coughvid", {"files": [{"url": "https://zenodo.org/other.zip"}]}, tmp_path, SIZE, SEED)
    assert list(tmp_path.iterdir()) == []


def test_arrays_of_opera_name_recordings_that_exist(corpus):
    def names(path: str) -> set[str]:
        return {
            name.partition("/")[2] for name in np.load(io.BytesIO(corpus[f"opera/{OPERA}/feature/{path}.npy"])).tolist()
        }

    def members(prefix: str) -> set[str]:
        return set(zipfile.ZipFile(joined(corpus, prefix)).namelist())

    coughs = {Path(name).stem for name in members("coughvid/zenodo.org")}
    truncated = {stem[:-1] for stem in coughs}
    for task in ("covid", "gender"):
        assert {Path(name).stem for name in names(f"coughvid_eval/sound_dir_loc_{task}")} <= coughs | truncated
    icbhi = members("icbhi/bhichallenge")
    assert {name.removeprefix("icbhi/") for name in names("icbhidisease_eval/sound_dir_loc")} <= icbhi
    kauh = members("kauh/data.mendeley.com")
    assert {name.removeprefix("KAUH/") for name in names("kauh_eval/sound_dir_loc_subset")} <= kauh
    turkish = members("respiratory_tr/data.mendeley.com")
    assert {name.removeprefix("copd/") for name in names("copd_eval/sound_dir_loc")} <= turkish
    users = set()
    for date in ("20200413", "20200424", "20210426"):
        with tarfile.open(fileobj=joined(corpus, f"coswara/{COSWARA}/{date}/")) as archive:
            users |= set(archive.getnames())
    for task in ("sex", "smoker"):
        listed = names(f"coswara_eval/cough_aligned_filenames_{task}_w_cough-shallow")
        assert {name.removeprefix("Coswara-Data/Extracted_data/") for name in listed} <= users


def test_coswara_holds_one_header_and_one_silent_recording(corpus):
    sizes, silent = [], []
    for date in ("20200413", "20200424", "20210426"):
        with tarfile.open(fileobj=joined(corpus, f"coswara/{COSWARA}/{date}/")) as archive:
            for member in archive.getmembers():
                content = archive.extractfile(member).read()
                sizes.append(len(content))
                silent += [member.name] if len(content) > 44 and not any(content[44:]) else []
    assert sizes.count(44) == 1
    assert len(silent) == 1


def test_recordings_decode(corpus):
    """Each container through PyAV or libsndfile; Opus is mono at 48 kHz, ICBHI mixes its rates."""
    import av
    import soundfile

    coughs = zipfile.ZipFile(joined(corpus, "coughvid/zenodo.org"))
    names = [name for name in coughs.namelist() if name.endswith((".webm", ".ogg"))]
    assert {name.rpartition(".")[2] for name in names} == {"webm", "ogg"}
    for name in names[:3] + [name for name in names if name.endswith("ogg")][:1]:
        with av.open(io.BytesIO(coughs.read(name))) as container:
            assert (container.streams[0].codec.name, container.streams[0].rate) == ("opus", 48_000)
            samples = sum(frame.samples for frame in container.decode(audio=0))
            assert 2.0 <= samples / 48_000 <= 4.05
    icbhi = zipfile.ZipFile(joined(corpus, "icbhi/bhichallenge"))
    rates = [soundfile.info(io.BytesIO(icbhi.read(n))).samplerate for n in icbhi.namelist() if n.endswith("wav")]
    assert set(rates) == {4_000, 10_000, 44_100}
    clips = zipfile.ZipFile(joined(corpus, "esc10/github.com"))
    info = soundfile.info(io.BytesIO(clips.read(clips.namelist()[0])))
    assert (info.subtype, info.samplerate, round(info.duration, 2)) == ("VORBIS", 44_100, 5.0)


def test_scale_beyond_the_patient_numbers_is_refused():
    assert len(build_cohort(SEED, 4).icbhi) > 200
    for size in (0, 4.1):
        with pytest.raises(RespfmError, match=r"set demo_corpus.scale above 0 and up to 4"):
            build_cohort(SEED, size)


def test_default_counts():
    cohort = build_cohort(SEED, 1.0)
    score = cohort.coughvid["cough_detected"]
    assert len(score) == 120
    assert ((score < 0.8).sum(), (score == 0.8).sum(), (score == 0.95).sum(), (score > 0.95).sum()) == (15, 1, 3, 85)
    assert 55 <= len(cohort.icbhi) <= 65
    assert cohort.icbhi["patient"].nunique() == 30
    assert cohort.hf_lung["name"].str.startswith("steth").sum() == 24
    assert len(cohort.coswara) == 70
    assert len(cohort.kauh) == 24
    assert cohort.respiratory_tr["severity"].value_counts().tolist() == [4] * 5
    assert len(cohort.general) == 60


@pytest.mark.parametrize("size", [0.05, 0.3, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(5))
def test_every_class_is_in_every_part(seed, size):
    """Also where a task draws its own validation part: enough recordings and patients of each class to draw from."""
    cohort = build_cohort(seed, size)
    pool = cohort.coughvid[cohort.coughvid["split"] != ""]
    for column, classes in (("status", ["healthy", "COVID-19"]), ("gender", ["male", "female"])):
        table = pd.crosstab(pool["split"], pool[column])
        assert (table.loc[["train", "val", "test"], classes] >= 2).all(axis=None)
    icbhi = cohort.icbhi[cohort.icbhi["diagnosis"].isin(["COPD", "Healthy"])]
    two_sided = icbhi["patient"].isin([156, 218])
    assert set(icbhi[two_sided]["split"]) == {"train", "test"}
    patients = icbhi[~two_sided].groupby(["split", "diagnosis"])["patient"].nunique()
    assert (patients["train"] >= 2).all()
    assert icbhi[icbhi["split"] == "test"]["diagnosis"].nunique() == 2
    good = cohort.coswara[
        (cohort.coswara["fault"] == "") & (cohort.coswara[["quality_shallow", "quality_heavy"]] > 0).all(axis=1)
    ]
    smoker = good["smoker"].map({"y": 1, "True": 1, "n": 0, "False": 0})
    assert (smoker.value_counts() >= 10).all()
    assert (good["gender"].value_counts()[["male", "female"]] >= 10).all()
    kauh = cohort.kauh[cohort.kauh["group"] != ""]
    folds = pd.crosstab(kauh["fold"], kauh["group"] == "healthy")
    assert (folds.loc["train"] >= 4).all()
    assert (folds.loc["test"] >= 2).all()
    turkish = pd.crosstab(cohort.respiratory_tr["split"], cohort.respiratory_tr["severity"])
    assert turkish.shape == (3, 5)
    assert (turkish >= 1).all(axis=None)


def test_no_label_follows_rate_device_date_or_coding():
    cohort = build_cohort(SEED, 1.0)
    icbhi = cohort.icbhi[cohort.icbhi["diagnosis"].isin(["COPD", "Healthy"])]
    for column in ("sample_rate", "subtype"):
        share = pd.crosstab(icbhi["diagnosis"], icbhi[column], normalize="index")
        assert (share.loc["COPD"] - share.loc["Healthy"]).abs().max() < 0.08
    users = cohort.coswara.assign(smokes=cohort.coswara["smoker"].map({"y": True, "True": True}).fillna(False))
    for column in ("date", "sample_rate"):
        assert pd.crosstab(users[column], users["smokes"], normalize="index")[True].between(0.15, 0.55).all()
    coding = users[users["smoker"] != ""].groupby("date")["smoker"].agg(set).to_dict()
    assert coding == {"20200413": {"True", "False"}, "20200424": {"True", "False"}, "20210426": {"y", "n"}}
