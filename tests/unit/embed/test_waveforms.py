"""The cache of waveforms, batches of windows, precision, and whose statistics normalise: what embedding does beside
the encoders."""

import logging

import h5py
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from respfm.curate.inspect import inspect_recordings
from respfm.embed import waveforms
from respfm.embed.dataset import Window, batches, embed_dataset, read_embeddings, training_recordings
from respfm.encoders import load_encoder
from respfm.errors import RespfmError

RATES = {"a": 16000, "b": 44100, "c": 8000, "d": 48000, "e": 11025}
SECONDS = {"a": 1.0, "b": 2.3, "c": 12.4, "d": 0.7, "e": 25.3}
SMALL = {"random_seed": 0, "input_size": (80, 208), "dim": 32, "depth": 2, "heads": 2}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(0)
    for name, rate in RATES.items():
        samples = rng.uniform(0.01, 0.3) * rng.standard_normal((round(SECONDS[name] * rate), 2 if name == "b" else 1))
        soundfile.write(folder / f"{name}.wav", samples, rate, subtype="PCM_16")
    return folder


@pytest.fixture(scope="module")
def recordings(root):
    names = sorted(RATES)
    frame = pd.DataFrame({"id": names, "path": [f"{name}.wav" for name in names], "patient": ""})
    return inspect_recordings(frame, root)


@pytest.fixture(scope="module")
def cache(root, recordings, tmp_path_factory):
    path = tmp_path_factory.mktemp("cache") / "16000.h5"
    waveforms.write_waveforms(path, recordings, root, 16000, workers=2)
    return path


def bytes_of(path):
    with h5py.File(path) as file:
        return {layer: file[f"layers/{layer}"][:].tobytes() for layer in file["layers"]}


@pytest.mark.parametrize("protocol", ["published", "strict"])
@pytest.mark.parametrize("family", ["m2d", "logmel_stats"])
def test_embeddings_are_the_same_bit_for_bit_with_and_without_the_cache(
    family, protocol, root, recordings, cache, tmp_path
):
    encoder = load_encoder(family, **(SMALL if family == "m2d" else {}))
    for name, source in (("decoded", None), ("cached", cache)):
        embed_dataset(encoder, recordings, root, protocol, tmp_path / name, waveforms=source, batch_size=2)
    assert bytes_of(tmp_path / "decoded") == bytes_of(tmp_path / "cached")


def test_cache_does_not_depend_on_workers_and_serves_some_in_any_order(root, recordings, cache, tmp_path):
    waveforms.write_waveforms(tmp_path / "one.h5", recordings, root, 16000)
    assert (tmp_path / "one.h5").read_bytes() == cache.read_bytes()
    e, b = waveforms.read_waveforms(cache, ["e", "b"], 16000)
    assert (len(e), len(b)) == (round(25.3 * 16000), round(2.3 * 16000))
    assert np.array_equal(b, next(waveforms.decode_waveforms([root / "b.wav"], 16000, 1)))


def test_recordings_are_written_and_read_one_by_one(root, recordings, cache, tmp_path, monkeypatch):
    decoded = []
    load = waveforms.audio.load
    monkeypatch.setattr(waveforms.audio, "load", lambda path, rate: decoded.append(path) or load(path, rate))
    many = pd.concat([recordings.assign(id=recordings["id"] + str(i)) for i in range(20)], ignore_index=True)
    stream = waveforms.decode_waveforms((root / path for path in many["path"]), 16000, 1)
    next(stream)
    assert len(decoded) <= waveforms.BATCHES_AHEAD + 2
    stream.close()


def test_truncated_cache_is_refused(cache, tmp_path):
    path = tmp_path / "16000.h5"
    path.write_bytes(cache.read_bytes()[:-100])
    with pytest.raises(RespfmError, match=r"16000\.h5 is not whole.*delete it and run the workflow again"):
        waveforms.read_waveforms(path, ["a"], 16000)


def test_cache_of_another_rate_or_data_set_is_refused(cache):
    with pytest.raises(RespfmError, match=r"takes 32000 Hz: correct `sample_rate`"):
        waveforms.read_waveforms(cache, ["a"], 32000)
    with pytest.raises(RespfmError, match=r"lacks 1 recordings, first z"):
        waveforms.read_waveforms(cache, ["a", "z"], 16000)


def test_recording_that_has_changed_since_curation_is_refused(root, recordings, tmp_path):
    changed = recordings.assign(seconds=recordings["seconds"] + (recordings["id"] == "c"))
    with pytest.raises(RespfmError, match=r"c\.wav is not as it was when it was curated"):
        waveforms.write_waveforms(tmp_path / "16000.h5", changed, root, 16000)
    assert not list(tmp_path.iterdir())


def test_batches_hold_windows_of_one_length():
    lengths = [5, 7, 5, 5, 7, 9, 7, 3]
    made = list(batches([Window(row, np.zeros(n, np.float32)) for row, n in enumerate(lengths)], 2, 1000))
    assert [[len(window.samples) for window in batch] for batch in made] == [[5, 5], [7, 7], [3, 5], [7, 9]]
    assert sorted(window.row for batch in made for window in batch) == list(range(8))


def test_few_windows_wait():
    waiting = most = 0

    def windows():
        nonlocal waiting, most
        for row in range(300):
            waiting += 1
            most = max(most, waiting)
            yield Window(row, np.zeros(100 + row, np.float32))

    for batch in batches(windows(), 16, 5000):
        waiting -= len(batch)
    assert (waiting, most) == (0, pytest.approx(50, abs=16))


def test_padding_is_counted(root, recordings, cache, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    embed_dataset(load_encoder("logmel_stats"), recordings, root, "strict", tmp_path / "out.h5", waveforms=cache)
    total = 1.0 + 2.3 + 12.4 + 0.7 + 25.3
    assert f"8 windows of {total / 8:.1f} s on average in 1 batches; {100 - 100 * total / 80:.2f} %" in caplog.text


@pytest.mark.parametrize(
    ("family", "options", "tolerance"),
    [
        ("m2d", SMALL, 0.03),
        (
            "hubert",
            {"random_seed": 0, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
            | {
                "intermediate_size": 64,
                "num_conv_pos_embedding_groups": 2,  # oneDNN with AMX is wrong in bf16 for groups of 8 channels
                "conv_dim": [16] * 7,
                "num_conv_pos_embeddings": 8,
            },
            0.03,
        ),
        ("logmel_stats", {}, 0.0),
    ],
)
def test_half_precision_is_close_and_written_as_float32(family, options, tolerance, root, recordings, cache, tmp_path):
    """Networks in bf16 stay near; spectrograms are not touched; the published protocol never uses it."""
    encoder, found = load_encoder(family, **options), {}
    for protocol in ("strict", "published"):
        for precision in ("fp32", "bf16"):
            out = tmp_path / f"{protocol}-{precision}.h5"
            embed_dataset(encoder, recordings, root, protocol, out, waveforms=cache, precision=precision)
            with h5py.File(out) as file:
                assert file.attrs["precision"] == ("fp32" if protocol == "published" else precision)
                assert {values.dtype for values in file["layers"].values()} == {np.dtype("float32")}
            found[protocol, precision] = read_embeddings(out, encoder.layers)[1]
    for layer in encoder.layers:
        full, half = found["strict", "fp32"][layer], found["strict", "bf16"][layer]
        error = np.linalg.norm(half - full) / np.linalg.norm(full)
        assert error <= tolerance
        assert np.array_equal(*(found["published", precision][layer] for precision in ("fp32", "bf16")))
    assert (error > 0) == (tolerance > 0)


class Relative:
    """Loudness relative to that of the data."""

    sample_rate, layers, default_layer = 16000, ["loudness"], "loudness"
    scale = 1.0

    def fit_statistics(self, batches, plugin):
        assert not plugin
        self.scale = torch.cat(
            [clip[:length] for clips, lengths in batches for clip, length in zip(clips, lengths, strict=True)]
        ).std()

    def embed(self, waveforms, lengths=None):
        clips = [clip[:length].std()[None] for clip, length in zip(waveforms, lengths, strict=True)]
        return {"loudness": torch.stack(clips) / self.scale}


def test_recordings_of_other_splits_do_not_reach_strict_statistics(root, recordings, tmp_path):
    """The test recordings are replaced by noise 100 times as loud: vectors of the others stay as they were."""
    tasks = [
        pd.DataFrame({"recording": ["a", "b", "c"], "split": ["train", "train", "test"]}),
        pd.DataFrame({"recording": ["b", "c", "d"], "split": ["val", "train", "train"]}),
    ]
    training = training_recordings(tasks)
    assert training == {"a", "d"}
    for other in sorted(set(RATES) - training):
        samples, rate = soundfile.read(root / f"{other}.wav", always_2d=True)
        soundfile.write(tmp_path / f"{other}.wav", 100 * samples, rate, subtype="FLOAT")
    for name in training:
        (tmp_path / f"{name}.wav").symlink_to(root / f"{name}.wav")
    found = []
    for folder in (root, tmp_path):
        embed_dataset(Relative(), recordings, folder, "strict", tmp_path / "out.h5", training=training)
        found.append(read_embeddings(tmp_path / "out.h5", ["loudness"])[1]["loudness"])
    used = recordings["id"].isin(training).to_numpy()
    assert np.array_equal(found[0][used], found[1][used])
    assert np.allclose(100 * found[0][~used], found[1][~used], rtol=1e-3)
    with pytest.raises(RespfmError, match="no recording is in training splits alone"):
        training_recordings([tasks[0], tasks[0].assign(split="test")])
