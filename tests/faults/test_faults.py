"""Full and read-only disks, damaged files, killed workers and crashing decoders, stage by stage."""

import faulthandler
import os
import random
import signal
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from loopback import Resource, running_server
from respfm import audio
from respfm.curate.inspect import check_recordings, inspect_recordings
from respfm.embed.dataset import embed_dataset
from respfm.encoders import load_encoder
from respfm.errors import RespfmError
from respfm.files import atomic_path, file_digest
from respfm.jobs.checksums import check_files, checksum_of, write_checksums
from respfm.jobs.job import job
from respfm.logmel.build import write_shard
from respfm.logmel.frontend import LogMel
from respfm.retrieve.checksums import Expected
from respfm.retrieve.dataset import fetch_dataset
from respfm.retrieve.download import Patience, download
from respfm.retrieve.finder import Finder
from respfm.shard import read_quarantined, write_clips
from respfm.weights import read_weights

FULL = "the disk is full; free some space there and run again"


def script(folder: Path, **files: list[Path]) -> SimpleNamespace:
    """What Snakemake gives to a script whose log is in `folder`."""
    return SimpleNamespace(**{"log": [folder / "log"], "input": [], "output": [], "params": {}, **files})


class Disk:
    """A small file system of its own at `path`."""

    def __init__(self, path: Path, options: str) -> None:
        self.path = path
        path.mkdir()
        self.mount("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path))

    @staticmethod
    def mount(*command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"needs the right to mount: {done.stderr.strip()}")

    def remount(self, options: str) -> None:
        self.mount("mount", "-o", f"remount,{options}", str(self.path))

    def fill(self, left: int) -> None:
        """Leave about `left` bytes."""
        free = os.statvfs(self.path).f_bavail * os.statvfs(self.path).f_frsize
        (self.path / "filler").write_bytes(bytes(max(0, free - left)))

    def empty(self) -> None:
        (self.path / "filler").unlink()


@pytest.fixture
def disk(tmp_path) -> Iterator[Disk]:
    """A disk of 8 MB."""
    made = Disk(tmp_path / "disk", "size=8m")
    yield made
    subprocess.run(["umount", "--lazy", str(made.path)], check=True)


@pytest.fixture
def recordings(tmp_path) -> pd.DataFrame:
    """Thirty tones of 10 s; their log-mel is 160 kB each."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    names = [f"{number:02d}.wav" for number in range(30)]
    for number, name in enumerate(names):
        tone = 0.1 * np.sin(np.arange(80_000) * (0.05 + 0.01 * number))
        soundfile.write(folder / name, tone, 8000)
    return pd.DataFrame({"id": [name[:2] for name in names], "path": names, "patient": ""})


def cache(recordings: pd.DataFrame, folder: Path, shard: Path, workers: int = 2, **options) -> None:
    paths = [folder / path for path in recordings["path"]]
    write_shard(shard, list(recordings["id"]), paths, {}, min_seconds=6.1, workers=workers, **options)


# Disks


def test_a_disk_that_fills_up_during_a_download(disk):
    content = random.Random(1).randbytes(3_000_000)
    target = disk.path / "downloads" / "archive.zip"
    with running_server() as server:
        server.files["/archive.zip"] = Resource(content, etag='"1"')
        patience = Patience(attempts=2, first_wait=0.001)
        arguments = ([server.url("/archive.zip")], target, Expected(bytes=len(content)), patience)
        disk.fill(left=1_000_000)
        with pytest.raises(RespfmError, match=rf"archive\.zip cannot be written to .*downloads: {FULL}"):
            download(*arguments)
        assert not target.exists()
        disk.empty()
        download(*arguments)
        assert target.read_bytes() == content
        assert server.requests[-1][1] is not None


def test_a_disk_that_fills_up_while_an_archive_is_unpacked(disk, tmp_path, monkeypatch):
    """The download, whose checksum nobody knows, is not taken for a damaged one."""
    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(3):
            archive.writestr(f"{number}.wav", random.Random(number).randbytes(700_000))
    target, downloads = disk.path / "raw" / "corpus", tmp_path / "downloads"
    with running_server() as server:
        server.files["/packed.zip"] = Resource(packed.read_bytes())
        entry = {"files": [{"url": server.url("/packed.zip"), "unpack": "zip"}]}

        def fetch() -> None:
            fetch_dataset("corpus", entry, target, Finder(downloads))

        disk.fill(left=1_000_000)
        with monkeypatch.context() as patched:  # another program takes the space that was free at the start
            patched.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10**9))
            with pytest.raises(RespfmError, match=rf"packed\.zip cannot be unpacked into .*: {FULL}"):
                fetch()
        assert not target.exists()
        disk.empty()
        fetch()
        assert len(server.requests) == 1
    assert sorted(path.name for path in target.iterdir()) == [".sources.json", "0.wav", "1.wav", "2.wav"]


def test_a_disk_that_fills_up_while_log_mels_are_cached(disk, recordings, tmp_path):
    cache(recordings, tmp_path / "recordings", tmp_path / "undisturbed.h5")
    shard = disk.path / "logmel" / "000.h5"
    cache(recordings[:5], tmp_path / "recordings", shard)
    before = shard.read_bytes()
    for left in (1_000_000, 4_000_000):  # the spool does not fit, the shard does not fit
        disk.fill(left)
        with pytest.raises(RespfmError, match=rf"000\.h5 cannot be written: {FULL}"):
            cache(recordings[:15], tmp_path / "recordings", shard)
        assert list(shard.parent.iterdir()) == [shard]
        assert shard.read_bytes() == before
        disk.empty()
    disk.remount("size=16m")
    cache(recordings, tmp_path / "recordings", shard)
    assert shard.read_bytes() == (tmp_path / "undisturbed.h5").read_bytes()


def test_a_disk_that_fills_up_while_recordings_are_embedded(disk, recordings, tmp_path):
    def embed(out: Path) -> None:
        embed_dataset(load_encoder("logmel_stats"), recordings, tmp_path / "recordings", "strict", out)

    out = disk.path / "embeddings" / "esc10.h5"
    disk.fill(left=20_000)
    with pytest.raises(RespfmError, match=rf"esc10\.h5 cannot be written: {FULL}"):
        embed(out)
    assert not list(out.parent.iterdir())
    disk.empty()
    embed(out)
    embed(tmp_path / "undisturbed.h5")
    assert out.read_bytes() == (tmp_path / "undisturbed.h5").read_bytes()


def _save_figure(path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 6))
    figure.figimage(np.random.default_rng(0).random((600, 600)))
    figure.savefig(path)


def _save_shard(path: Path) -> None:
    clip = np.random.default_rng(0).random((9000, 80)).astype(np.float16)
    write_clips(path, ["only"], [9000], [clip], LogMel().definition(), "ln(power)")


def _save_safetensors(path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"x": torch.rand(500_000)}, path)


def _save_torch(path: Path) -> None:
    with open(path, "wb") as stream:
        torch.save({"x": torch.rand(500_000)}, stream)


WRITERS = {
    "table.csv": lambda path: pd.DataFrame(np.random.default_rng(0).random((100_000, 2))).to_csv(path),
    "table.parquet": lambda path: pd.DataFrame({"x": np.random.default_rng(0).random(300_000)}).to_parquet(path),
    "figure.png": _save_figure,
    "shard.h5": _save_shard,
    "encoder.safetensors": _save_safetensors,
    "checkpoint.pth": _save_torch,
}


@pytest.mark.parametrize("name", WRITERS)
def test_whatever_is_written_to_a_full_or_read_only_disk(disk, name):
    path = disk.path / name
    path.write_text("before")
    for prepare, sentence in (
        (lambda: disk.fill(left=100_000), FULL),
        (lambda: disk.remount("ro"), "read-only file system; mount it writable or move `results`"),
    ):
        prepare()
        with (
            pytest.raises(RespfmError, match=rf"{Path(name).stem}.* cannot be written: .*{sentence}"),
            atomic_path(path) as draft,
        ):
            WRITERS[name](draft)
        assert path.read_text() == "before"
        assert not list(disk.path.glob(".*"))


def test_a_job_on_a_full_disk_ends_with_one_sentence(disk, tmp_path, capsys):
    disk.fill(left=0)
    with pytest.raises(SystemExit), job(script(tmp_path)):
        (disk.path / "anything").write_bytes(bytes(1_000_000))
    assert FULL in capsys.readouterr().err.splitlines()[-1]


# Damage


def damaged(content: bytes) -> Iterator[bytes]:
    """A bit flipped at twelve places, and five truncations."""
    for position in np.linspace(0, len(content) - 1, 12, dtype=int):
        flipped = bytearray(content)
        flipped[position] ^= 1 << position % 8
        yield bytes(flipped)
    yield from (content[: round(part * len(content))] for part in (0, 0.1, 0.5, 0.9))
    yield content[:-1]


@pytest.mark.parametrize("name", WRITERS)
def test_a_damaged_file_is_found_before_it_is_used(tmp_path, capsys, name):
    path = tmp_path / name
    with job(script(tmp_path, output=[path])):
        WRITERS[name](path)
    content = path.read_bytes()
    for bad in damaged(content):
        path.write_bytes(bad)
        with pytest.raises(SystemExit), job(script(tmp_path, input=[path])):
            pytest.fail("the job began")
        assert f"{path} is damaged" in capsys.readouterr().err
        assert "Delete it and let snakemake make it again" in (tmp_path / "log").read_text()
    path.write_bytes(content)
    os.utime(path, (0, 0))
    check_files([path])
    assert (
        subprocess.run(["sha256sum", "-c", checksum_of(path).name], cwd=tmp_path, capture_output=True).returncode == 0
    )


def test_a_failed_job_leaves_no_checksum(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    write_checksums([path])
    with pytest.raises(FileNotFoundError), job(script(tmp_path, output=[path])):
        (tmp_path / "no folder" / "table.csv").write_text("new")
    assert not checksum_of(path).exists()


def test_a_damaged_checkpoint_of_others_is_found(tmp_path):
    path = tmp_path / "published.pth"
    torch.save({"model": {"weight": torch.arange(3000.0)}}, path)
    content = path.read_bytes()
    start = content.index(torch.arange(3000.0).numpy().tobytes())
    for position in (start, start + 5001, start + 11_999):
        flipped = bytearray(content)
        flipped[position] ^= 4
        path.write_bytes(flipped)
        with pytest.raises(RespfmError, match=r"published\.pth: this checkpoint is incomplete or damaged"):
            read_weights(path)
    path.write_bytes(content[:9000])
    with pytest.raises(RespfmError, match=r"published\.pth"):
        read_weights(path)


# Workers that die


@pytest.fixture
def deadly(monkeypatch, tmp_path):
    """`deadly(name, sent, times)` makes decoding `name` kill its process with `sent` at the first `times` tries."""

    def arrange(name: str, sent: signal.Signals, times: int) -> None:
        tries, decode = tmp_path / "tries", audio.decode
        tries.touch()

        def die_or_decode(path):
            if Path(path).name == name and tries.stat().st_size < times:
                with tries.open("a") as stream:
                    stream.write(".")
                faulthandler.disable()
                os.kill(os.getpid(), sent)
            return decode(path)

        monkeypatch.setattr(audio, "decode", die_or_decode)

    return arrange


def test_a_worker_that_is_killed_once_leaves_no_trace(recordings, tmp_path, deadly):
    cache(recordings, tmp_path / "recordings", tmp_path / "undisturbed.h5")
    deadly("17.wav", signal.SIGKILL, times=1)
    cache(recordings, tmp_path / "recordings", tmp_path / "000.h5", workers=3)
    assert file_digest(tmp_path / "000.h5") == file_digest(tmp_path / "undisturbed.h5")


def test_a_worker_that_runs_out_of_memory_again_stops_the_job_with_the_cure(recordings, tmp_path, deadly, monkeypatch):
    cache(recordings, tmp_path / "recordings", tmp_path / "undisturbed.h5")
    deadly("17.wav", signal.SIGKILL, times=1000)
    with pytest.raises(RespfmError, match=r"killed while it worked on .*17\.wav.*more memory or fewer threads"):
        cache(recordings, tmp_path / "recordings", tmp_path / "000.h5")
    assert not (tmp_path / "000.h5").exists()
    monkeypatch.undo()
    cache(recordings, tmp_path / "recordings", tmp_path / "000.h5")
    assert file_digest(tmp_path / "000.h5") == file_digest(tmp_path / "undisturbed.h5")


@pytest.mark.parametrize("sent", [signal.SIGSEGV, signal.SIGABRT])
def test_a_recording_that_crashes_the_decoder_is_quarantined_listed_and_counted(recordings, tmp_path, deadly, sent):
    deadly("05.wav", sent, times=1000)
    table = inspect_recordings(recordings, tmp_path / "recordings", workers=2)
    assert table.set_index("id")["quarantine"].to_dict() == {
        identifier: "unreadable: the decoder crashed" if identifier == "05" else "" for identifier in recordings["id"]
    }
    check_recordings("esc10", table, {}, max_quarantine_share=0.05)
    with pytest.raises(RespfmError, match=r"1 of 30 recordings cannot be used .05: unreadable: the decoder crashed"):
        check_recordings("esc10", table, {}, max_quarantine_share=0.01)
    cache(recordings, tmp_path / "recordings", tmp_path / "000.h5")
    assert read_quarantined(tmp_path / "000.h5") == {"05": "the process that worked on it died"}
