"""Checkpoint files that are no checkpoint, or another's: one clear sentence from every family of the zoo."""

import os

import pytest
import torch
from respfm.encoders import load_encoder
from respfm.encoders.registry import read_registry
from respfm.errors import RespfmError

PUBLISHED = [name for name, entry in read_registry().items() if entry["weights"] == "published"]


def web_page(path):
    path.write_text("<!DOCTYPE html><html><body>Quota exceeded</body></html>")


def half(path):
    torch.save({"model": {"weight": torch.ones(1000)}}, path)
    os.truncate(path, path.stat().st_size // 2)


def other(path):
    torch.save({"model": {"some.weight": torch.ones(2)}}, path)


def code(path):
    torch.save({"model": {"weight": torch.ones(2)}, "hook": Hook()}, path)


class Hook:
    """An object whose class a checkpoint would have to import."""


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize(
    ("write", "words"),
    [
        (web_page, "this is an HTML page, not a checkpoint"),
        (half, r"this checkpoint is incomplete or damaged \(\d+ bytes\); get it again"),
        (other, "this is not|not an M2D checkpoint"),
        (code, "could run code; set `trust: true` only if you trust"),
        (lambda path: None, "there is no such checkpoint file; .*get it from"),
    ],
)
def test_one_sentence(name, write, words, tmp_path):
    path = tmp_path / "m2d_vit_base-80x608p16x16" / "checkpoint.pth"
    path.parent.mkdir()
    write(path)
    with pytest.raises(RespfmError, match=words) as refused:
        load_encoder(name, path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)
