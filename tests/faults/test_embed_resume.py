"""An embedding job that was interrupted anywhere ends with the same bytes as the unbroken one."""

import logging
import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from respfm.embed import dataset
from respfm.embed.dataset import embed_dataset
from respfm.encoders import load_encoder
from respfm.encoders.byola import ByolaEncoder, ByolaNetwork
from respfm.jobs.checkpoints import checkpoints_of, discard_checkpoints, write_checkpoint
from respfm.jobs.checksums import write_checksums
from respfm.jobs.interruption import Interrupted

RATE = 16000
SECONDS = (1.0, 12.4, 0.7, 25.3, 3.0, 11.0, 1.0, 2.3, 0.4)
BATCH_SIZE = 2
BATCHES = {"strict": 7, "published": 5}


def encoders(name: str):
    """A small M2D; a small BYOL-A in training mode that is normalised by the data."""
    if name == "m2d":
        return load_encoder("m2d", random_seed=0, input_size=(80, 208), dim=32, depth=2, heads=2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ByolaEncoder(ByolaNetwork(1, 32).eval(), (-5.0, 5.0), train_seed=3)


class Watched:
    """An encoder that counts its batches and does something during one of them."""

    def __init__(self, inner, during: int = 0, act=None) -> None:
        self.inner, self.during, self.act, self.calls = inner, during, act, 0

    def __getattr__(self, name: str):
        return getattr(self.inner, name)

    def embed(self, waveforms, lengths=None):
        self.calls += 1
        if self.calls == self.during:
            self.act()
        return self.inner.embed(waveforms, lengths)


def run(folder: Path, out: Path, protocol: str, encoder, checkpoints: Path | None = None) -> bytes:
    """The bytes of the embeddings of the recordings in `folder`."""
    recordings = pd.read_csv(folder / "recordings.csv")
    training = set(recordings["id"][::2])
    options = {"batch_size": BATCH_SIZE, "training": training, "checkpoints": checkpoints}
    embed_dataset(encoder, recordings, folder, protocol, out, **options)
    return out.read_bytes()


def killed_run(folder: Path, out: Path, protocol: str, name: str, during: int) -> None:
    """Body of a child process that saves after each batch and is killed within one."""
    torch.set_num_threads(1)
    dataset.SAVE_EVERY_MINUTES = 0
    encoder = Watched(encoders(name), during, lambda: os.kill(os.getpid(), signal.SIGKILL))
    run(folder, out, protocol, encoder, out.parent / "checkpoints")


@pytest.fixture(scope="module")
def server():
    """Starts processes that have already imported what embeds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["respfm.embed.dataset", "respfm.encoders.m2d", "respfm.encoders.byola"])
    return context


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("recordings"), np.random.default_rng(0)
    names = [f"r{index}" for index in range(len(SECONDS))]
    for name, seconds in zip(names, SECONDS, strict=True):
        soundfile.write(folder / f"{name}.wav", 0.1 * rng.standard_normal(round(seconds * RATE)), RATE)
    pd.DataFrame({"id": names, "path": [f"{name}.wav" for name in names]}).to_csv(folder / "recordings.csv")
    return folder


@pytest.mark.parametrize("protocol", BATCHES)
@pytest.mark.parametrize("name", ["m2d", "byola"])
def test_kills_within_several_batches_leave_no_trace(server, folder, tmp_path, protocol, name):
    whole = Watched(encoders(name))
    expected = run(folder, tmp_path / "whole.h5", protocol, whole)
    assert whole.calls == BATCHES[protocol]
    out, done = tmp_path / "broken.h5", 0
    for during in (1, 3, 2):
        process = server.Process(target=killed_run, args=(folder, out, protocol, name, during))
        process.start()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        done += during - 1
    assert not out.exists()
    last = Watched(encoders(name))
    assert run(folder, out, protocol, last, tmp_path / "checkpoints") == expected
    assert last.calls == BATCHES[protocol] - done


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_stops(folder, tmp_path, caplog, number):
    caplog.set_level(logging.INFO)
    checkpoints, before = tmp_path / "checkpoints", signal.getsignal(number)
    expected = run(folder, tmp_path / "whole.h5", "strict", encoders("m2d"))
    asked = Watched(encoders("m2d"), 2, lambda: os.kill(os.getpid(), number))
    with pytest.raises(Interrupted, match="stopped after batch 2; start again to continue"):
        run(folder, tmp_path / "out.h5", "strict", asked, checkpoints)
    assert signal.getsignal(number) is before
    rest = Watched(encoders("m2d"))
    assert run(folder, tmp_path / "out.h5", "strict", rest, checkpoints) == expected
    assert rest.calls == BATCHES["strict"] - 2
    assert "continuing after batch 2" in caplog.text


def test_a_damaged_checkpoint_is_passed_over(folder, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(dataset, "SAVE_EVERY_MINUTES", 0)
    expected = run(folder, tmp_path / "out.h5", "strict", encoders("m2d"), tmp_path / "checkpoints")
    older, newer = sorted((tmp_path / "checkpoints").iterdir())
    for path, left in ((newer, 1), (older, BATCHES["strict"])):
        path.write_bytes(path.read_bytes()[:-1])
        kept = {other: other.read_bytes() for other in (tmp_path / "checkpoints").iterdir()}
        encoder = Watched(encoders("m2d"))
        assert run(folder, tmp_path / "out.h5", "strict", encoder, tmp_path / "checkpoints") == expected
        assert encoder.calls == left
        assert f"{path} is damaged (its content does not match its name) and was passed over" in caplog.text
        for other in (tmp_path / "checkpoints").iterdir():
            other.unlink()
        for other, content in kept.items():
            other.write_bytes(content)


def test_a_disk_without_room_for_a_checkpoint_costs_only_that_one(folder, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(dataset, "SAVE_EVERY_MINUTES", 0)
    (tmp_path / "checkpoints").write_text("no folder")
    expected = run(folder, tmp_path / "whole.h5", "strict", encoders("m2d"))
    found = run(folder, tmp_path / "out.h5", "strict", encoders("m2d"), tmp_path / "checkpoints")
    assert found == expected
    assert "the checkpoint after batch 1 could not be saved" in caplog.text


def test_checkpoints_belong_to_one_output_and_all_that_decides_it(tmp_path):
    weights, table, output = tmp_path / "weights.pth", tmp_path / "table.parquet", tmp_path / "strict" / "kauh.h5"
    weights.write_bytes(b"weights")
    table.write_bytes(b"table")
    write_checksums([table])

    def place(seed=0, device="cpu", out=output):
        return checkpoints_of(out, [table, weights], [{"seed": seed}, device])

    first = place()
    assert first == place()
    assert len({first, place(seed=1), place(device="cuda"), place(out=output.with_name("icbhi.h5"))}) == 4
    weights.write_bytes(b"others")
    assert place() != first
    weights.write_bytes(b"weights")
    table.write_bytes(b"tablet")
    write_checksums([table])
    assert place() != first


def test_no_checkpoint_stays_when_the_output_is_there(tmp_path):
    table, output = tmp_path / "table", tmp_path / "kauh.h5"
    table.touch()
    places = [
        checkpoints_of(out, [table], seed) for out, seed in ((output, 0), (output, 1), (tmp_path / "icbhi.h5", 0))
    ]
    for place in places:
        write_checkpoint(place, 1, {})
    discard_checkpoints(output)
    assert [place.exists() for place in places] == [False, False, True]
    discard_checkpoints(output)
