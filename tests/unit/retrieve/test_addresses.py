"""The registry of data sets: complete, checkable, and true to what the publishers state."""

import re
from pathlib import Path

import pytest
from respfm.config.reading import read_yaml
from respfm.config.settings import load_settings
from respfm.errors import RespfmError
from respfm.retrieve.registry import pieces_of

ROOT = Path(__file__).resolve().parents[3]
REGISTRY = load_settings(read_yaml(ROOT / "config" / "paper.yaml"), ROOT).datasets
PIECES = [
    (dataset, piece) for dataset, entry in REGISTRY.items() for file in entry["files"] for piece in pieces_of(file)
]
DIGITS = {"sha256": 64, "git_blob": 40, "md5": 32}


def test_every_data_set_of_the_paper():
    assert set(REGISTRY) == {
        *("coughvid", "icbhi", "hf_lung", "coswara", "kauh", "respiratory_tr"),
        *("audioset", "fsd50k", "librispeech", "esc10", "opera"),
    }
    for entry in REGISTRY.values():
        assert {"title", "kind", "licence", "access", "citation", "checksums", "expected", "files"} <= set(entry)
        assert ("how" in entry) == (entry["access"] == "by hand") == (not entry["files"])


def test_counts():
    counts = {name: entry["expected"].get("recordings") for name, entry in REGISTRY.items()}
    assert counts["coughvid"] == 20_072
    assert counts["icbhi"] == 920
    assert counts["hf_lung"] == 3_839
    assert counts["kauh"] == 336
    assert counts["respiratory_tr"] == 504
    assert counts["audioset"] == 2_005_132
    assert counts["fsd50k"] == 40_966
    assert counts["librispeech"] == 28_539 + 104_014 + 148_688
    coswara = [piece for dataset, piece in PIECES if dataset == "coswara"]
    assert len(coswara) == 3 + 153
    assert len({piece.name.partition(".")[0] for piece in coswara[3:]}) == 43
    assert len(pieces_of(REGISTRY["fsd50k"]["files"][0])) == 6


def test_digests_are_digests():
    """YAML would read some hexadecimal numbers as numbers."""
    for _, piece in PIECES:
        for name, digits in DIGITS.items():
            value = getattr(piece.expected, name)
            assert value is None or (isinstance(value, str) and re.fullmatch(f"[0-9a-f]{{{digits}}}", value))


def test_addresses_and_names_are_unique():
    assert len({piece.urls[0] for _, piece in PIECES}) == len(PIECES)
    assert len({(dataset, piece.name) for dataset, piece in PIECES}) == len(PIECES)


@pytest.mark.parametrize("dataset", ["coughvid", "icbhi", "coswara", "kauh", "fsd50k", "librispeech", "opera"])
def test_where_a_digest_was_published_every_file_has_one(dataset):
    assert all(piece.expected.digest for name, piece in PIECES if name == dataset)


def test_split_zip_names_its_volumes():
    first, *_, last = pieces_of(REGISTRY["fsd50k"]["files"][0])
    assert first.urls == ("https://zenodo.org/records/4060432/files/FSD50K.dev_audio.z01",)
    assert (first.name, last.name) == ("FSD50K.dev_audio.z01", "FSD50K.dev_audio.zip")
    assert (first.expected.bytes, last.expected.bytes) == (3_221_225_472, 2_306_663_327)


@pytest.mark.parametrize("values", ["0" * 40, ["0" * 40]])
def test_parts_need_a_digest_each(values):
    with pytest.raises(RespfmError, match="published in 2 parts: give as many values of git_blob"):
        pieces_of({"url": "https://host/x.tar.gz", "parts": ["aa", "ab"], "git_blob": values})
