"""What the published protocol lets each encoder hear of a recording."""

import h5py
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from respfm.embed.dataset import embed_dataset, published_window
from respfm.encoders.base import WHOLE_RECORDING, Crop, check_statistics
from respfm.errors import RespfmError

RATE = 100
RAMP = np.arange(15 * RATE, dtype=np.float32)


def window(waveform, *crop):
    return published_window(0, waveform, RATE, "a recording", 0, *crop).samples


def test_plugin_crops_or_pads_to_ten_seconds():
    crop = window(RAMP)
    assert len(crop) == 10 * RATE
    np.testing.assert_array_equal(np.diff(crop), 1)
    np.testing.assert_array_equal(window(RAMP), crop)
    np.testing.assert_array_equal(window(RAMP[:250]), np.pad(RAMP[:250], (0, 750)))


@pytest.mark.parametrize(("samples", "count"), [(1500, 700), (330, 330)])
def test_shorter_crop_without_padding(samples, count):
    assert len(window(RAMP[:samples], Crop(7, pad=False))) == count


def test_whole_recording():
    np.testing.assert_array_equal(window(RAMP, WHOLE_RECORDING), RAMP)


class Loudness:
    """Mean absolute value in units of the data's, of whole recordings."""

    sample_rate, layers, default_layer = 8000, ["loudness"], "loudness"
    published_crop = WHOLE_RECORDING

    def fit_statistics(self, batches, plugin):
        assert plugin
        pieces = [clip[:length] for clips, lengths in batches for clip, length in zip(clips, lengths, strict=True)]
        self.scale = torch.cat(pieces).abs().mean()

    def embed(self, waveforms, lengths=None):
        clips = [clip[:length] for clip, length in zip(waveforms, lengths, strict=True)]
        return {"loudness": torch.stack([clip.abs().mean()[None] for clip in clips]) / self.scale}


def test_statistics_and_crop_of_the_encoder_are_used(tmp_path):
    for name, seconds, level in (("a", 12.3, 0.1), ("b", 1.7, 0.8)):
        soundfile.write(tmp_path / f"{name}.wav", np.full(round(seconds * 8000), level), 8000, subtype="FLOAT")
    recordings = pd.DataFrame({"id": ["a", "b"], "path": ["a.wav", "b.wav"]})
    embed_dataset(Loudness(), recordings, tmp_path, "published", tmp_path / "out.h5")
    mean = (12.3 * 0.1 + 1.7 * 0.8) / 14
    with h5py.File(tmp_path / "out.h5") as file:
        np.testing.assert_allclose(file["layers/loudness"][:, 0], [0.1 / mean, 0.8 / mean], rtol=1e-4)


class BatchSize:
    """How many clips came together."""

    sample_rate, layers, default_layer = 1000, ["size"], "size"

    def embed(self, waveforms, lengths=None):
        return {"size": torch.full((len(waveforms), 1), float(len(waveforms)))}


def test_batches_are_as_large_as_those_of_the_released_code(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.full(100, 0.5), 1000)
    recordings = pd.DataFrame({"id": [f"r{number:03d}" for number in range(600)], "path": "a.wav"})
    embed_dataset(BatchSize(), recordings, tmp_path, "published", tmp_path / "out.h5", batch_size=256)
    with h5py.File(tmp_path / "out.h5") as file:
        assert file["layers/size"][:, 0].tolist() == [256] * 512 + [88] * 88


def test_statistics_that_an_encoder_cannot_take_are_refused():
    check_statistics("loud", Loudness())
    with pytest.raises(RespfmError, match="model 'mine': its encoder takes no statistics of training recordings"):
        check_statistics("mine", BatchSize())
