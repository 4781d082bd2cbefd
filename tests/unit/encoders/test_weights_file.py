"""Reading publishers' files: what is accepted beside weights, what is refused, and in which words."""

import argparse
import os

import numpy as np
import pytest
import torch
from respfm.encoders.weights_file import fill, read_state
from respfm.errors import RespfmError


class Hook:
    """An object whose class a checkpoint would have to import."""


def saved(path, content):
    torch.save(content, path)
    return path


def test_options_and_scores_beside_the_weights_are_read(tmp_path):
    beside = {"args": argparse.Namespace(lr=0.1), "best": np.float64(0.4), "epoch": 3, "sampler": np.arange(3)}
    file = saved(tmp_path / "model.ckpt", {**beside, "state_dict": {"module.a": torch.ones(2, dtype=torch.float16)}})
    state = read_state(file, ["module."])
    assert list(state) == ["a"]
    assert state["a"].dtype == torch.float32


def test_foreign_object_is_refused_unless_trusted(tmp_path):
    file = saved(tmp_path / "model.ckpt", {"hook": Hook(), "state_dict": {"a": torch.ones(2)}})
    with pytest.raises(RespfmError, match="could run code; set `trust: true`"):
        read_state(file)
    assert list(read_state(file, trust=True)) == ["a"]


def test_folder_of_the_hub_stands_for_its_weight_file(tmp_path):
    saved(tmp_path / "pytorch_model.bin", {"a": torch.ones(2)})
    assert list(read_state(tmp_path)) == ["a"]


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"<!DOCTYPE html><html>", "HTML page"), (b"PK\x03\x04 cut", "incomplete or damaged"), (b"", "damaged")],
)
def test_what_is_no_checkpoint_is_refused(tmp_path, content, words):
    file = tmp_path / "model.ckpt"
    file.write_bytes(content)
    with pytest.raises(RespfmError, match=words):
        read_state(file)


def test_half_a_download_is_refused(tmp_path):
    file = saved(tmp_path / "model.ckpt", {"a": torch.ones(1000)})
    os.truncate(file, 2000)
    with pytest.raises(RespfmError, match=r"incomplete or damaged \(2000 bytes\)"):
        read_state(file)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"weight": torch.ones(2, 3)}, "bias is missing"),
        ({"weight": torch.ones(2, 3), "bias": torch.ones(2), "other": torch.ones(1)}, "other is unknown"),
        ({"weight": torch.ones(2, 4), "bias": torch.ones(2)}, r"weight has shape \(2, 4\)"),
    ],
)
def test_wrong_architecture_is_refused(tmp_path, state, words):
    file = saved(tmp_path / "model.ckpt", state)
    with pytest.raises(RespfmError, match=f"this is not the publisher's file: {words}"):
        fill(torch.nn.Linear(3, 2), read_state(file), file)
