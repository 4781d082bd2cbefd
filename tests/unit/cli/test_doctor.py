"""`respfm doctor`: each fault is found and named with its fix, and shows in the exit status."""

import re
import subprocess
from pathlib import Path

import pytest
import torch
import yaml
from respfm.cli import doctor
from respfm.cli.main import main
from respfm.config.plan import Plan
from respfm.config.reading import merge, read_yaml
from respfm.config.settings import load_settings
from respfm.files import write_text
from respfm.jobs.checkpoints import write_checkpoint
from respfm.jobs.checksums import write_checksums

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """An empty folder to run in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plan(*configs: str, **change) -> Plan:
    """A plan for configurations of the repository with `change` laid over."""
    config: dict = {}
    for name in configs or ("config.yaml",):
        config = merge(config, read_yaml(REPOSITORY / "config" / name))
    return Plan(load_settings(merge(config, change), REPOSITORY, "test"))


def test_a_fresh_clone_is_well(place, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "SPARE_GB", 0)
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "all is well" in text
    assert "not made yet" in text
    for title in (*doctor.CHECKS, "stale results"):
        assert f"\n{title}\n" in f"\n{text}"


def test_every_trouble_shows_in_the_exit_status(place, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "_stale", lambda configfiles: iter([]))
    config = read_yaml(REPOSITORY / "config" / "config.yaml")
    (place / "mine.yaml").write_text(yaml.safe_dump({**config, "mirror": [{"path": "nowhere"}]}))
    assert main(["doctor", "--configfile", "mine.yaml"]) == 1
    assert "! the mirror nowhere is not a folder; correct `mirror`" in capsys.readouterr().out


def test_packages_of_other_versions_and_missing_ones(monkeypatch):
    versions = {"numpy": "1.0"}

    def version(name: str) -> str:
        if name == "torch":
            raise doctor.importlib.metadata.PackageNotFoundError(name)
        return versions.get(name, installed(name))

    installed = doctor.importlib.metadata.version
    monkeypatch.setattr(doctor.importlib.metadata, "version", version)
    found = list(doctor._packages(plan()))
    assert f"torch is not installed; run {doctor.INSTALL}" in found
    assert any(text.startswith("numpy 1.0 is installed, ") for text in found)
    assert len(found) == 2


def test_a_decoder_that_is_not_there(monkeypatch):
    import av

    assert not list(doctor._decoders(plan()))
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"opus"})
    (found,) = doctor._decoders(plan())
    said, fix = found.split("; run ")
    assert said == "FFmpeg in PyAV lacks opus"
    assert re.fullmatch(r"pip install --force-reinstall --no-deps av==[\d.]+ soundfile==[\d.]+", fix)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_asked_for_but_not_there():
    found = list(doctor._device(plan(device="cuda", resources={"gpus": 2})))
    assert len(found) == 2
    assert "cuda" in found[0]
    assert "`resources.gpus` asks for 2, this machine has 0" in found[1]


def test_space_that_is_needed_and_not_free(place):
    wanted = plan("paper.yaml", results=str(place / "results"))
    assert doctor.needed_gigabytes(wanted) > 100
    assert doctor.needed_gigabytes(plan()) == 0
    (found,) = doctor._disk(wanted)
    assert "are needed; free some or move `results`" in found


def test_a_results_folder_that_cannot_be_written(place, monkeypatch):
    monkeypatch.setattr(doctor, "SPARE_GB", 0)
    results = place / "results"
    results.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(results)], capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    try:
        found = list(doctor._disk(plan(results=str(results))))
    finally:
        subprocess.run(["umount", str(results)], check=True)
    assert found[-1] == f"{results} cannot be written to; mount it writable or move `results` in the configuration"


def test_data_to_get_by_hand_and_data_missing_offline(place):
    found = list(doctor._mirrors(plan("paper.yaml", results=str(place), offline=True, local={"icbhi": "nowhere"})))
    assert "local.icbhi: nowhere is not a folder; correct it in the configuration" in found
    assert any(text.startswith("beats is to be got by hand: https://") for text in found)
    assert "kauh: 0 of 1 files here, missing while `offline` is set; name a mirror that has them, or go online" in found
    assert not any(text.startswith("audioset is to be got") for text in found)


def test_damaged_results_and_checkpoints(place, capsys):
    results = place / "results"
    good, bad = results / "tables" / "table1.csv", results / "recordings" / "kauh.parquet"
    for path in (good, bad):
        write_text(path, "content")
        write_checksums([path])
    bad.write_text("contemt")
    run = results / "pretraining" / "demo_as" / "checkpoints"
    older, newer = (write_checkpoint(run / "0123456789abcdef", step, {"step": step}) for step in (5, 10))
    write_checkpoint(results / "pretraining" / "done" / "checkpoints" / "finished-0123456789abcdef", 20, {"step": 20})
    newer.write_bytes(newer.read_bytes()[:-1])
    embeddings = results / "embeddings" / "strict" / "m2d" / "checkpoints" / "kauh"
    write_checkpoint(embeddings / "0123456789abcdef", 7, {})
    found = list(doctor._store(plan(results=str(results))))
    assert len(found) == 2
    assert found[0].startswith(f"{bad} is damaged")
    assert "Delete it and let snakemake make it again" in found[0]
    assert found[1].startswith(f"{newer} is damaged; delete it")
    printed = capsys.readouterr().out
    assert "pretraining/demo_as was interrupted; the next run continues after step 5" in printed
    assert "embeddings/strict/m2d/kauh was interrupted; the next run continues after step 7" in printed
    assert "pretraining/done was interrupted" not in printed
    assert older.exists()


def test_what_a_killed_run_leaves(place):
    import base64

    (place / ".snakemake" / "locks").mkdir(parents=True)
    (place / ".snakemake" / "locks" / "0.input.lock").touch()
    (place / ".snakemake" / "incomplete").mkdir()
    name = base64.urlsafe_b64encode(b"results/tables/table1.csv").decode()
    (place / ".snakemake" / "incomplete" / name).touch()
    draft = place / "results" / "tables" / ".table1.12.tmp.csv"
    write_text(draft, "half")
    found = list(doctor._killed(plan(results="results")))
    assert [text.partition(" ")[0] for text in found] == [
        "results/tables/.table1.12.tmp.csv",
        "a",
        "results/tables/table1.csv",
    ]
    assert "snakemake --unlock" in found[1]
    assert "run snakemake, which makes them again" in found[2]
