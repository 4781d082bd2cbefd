"""Samples of pre-training depend on (seed, epoch, sample) and nothing else."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from pretrain_corpus import log_mel, write_corpus
from respfm.errors import RespfmError
from respfm.logmel.mixture import SILENCE, Recordings, crop_start
from respfm.logmel.statistics import mixture_statistics
from respfm.pretrain.data import Batches, epoch_order, generator


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    spec = write_corpus(tmp_path_factory.mktemp("corpus"))
    return pd.read_parquet(spec["mixture"]), spec["shards"], json.loads(Path(spec["statistics"]).read_text())


def make_batches(corpus, background=False, **options):
    recordings = Recordings.open(*corpus[:2])
    sizes = {"batch_size": 8, "frames": 64, "patches": 20, "seed": 1, **options}
    return Batches(recordings, recordings if background else None, **sizes)


def test_an_epoch_shows_every_sample_once_in_another_order_each_time(corpus):
    batches = make_batches(corpus)
    assert len(batches.recordings) == 24 + 2 * 24
    epochs = [
        np.concatenate([batches.samples(epoch * batches.per_epoch + step) for step in range(9)]) for epoch in range(2)
    ]
    assert all(sorted(order) == list(range(72)) for order in epochs)
    assert not np.array_equal(*epochs)
    repeated = (
        epoch_order(72, 1, 0, ["same_order_every_epoch"]),
        epoch_order(72, 1, 5, ["same_order_every_epoch"]),
    )
    assert np.array_equal(*repeated)


def test_a_sample_is_the_same_in_any_share_of_the_batch(corpus):
    whole = make_batches(corpus, background=True)[13]
    shares = [make_batches(corpus, background=True, rank=rank, ranks=4)[13] for rank in range(4)]
    for name in ("clean", "noise", "mask_noise"):
        assert torch.equal(getattr(whole, name), torch.cat([getattr(share, name) for share in shares]))


def test_the_loader_gives_the_same_batches_with_any_number_of_processes(corpus):
    batches = make_batches(corpus)
    for workers in (0, 1, 3):
        loader = torch.utils.data.DataLoader(batches, batch_size=None, sampler=range(5, 25), num_workers=workers)
        for step, batch in zip(range(5, 25), loader, strict=True):
            assert torch.equal(batch.clean, batches[step].clean)
            assert torch.equal(batch.mask_noise, batches[step].mask_noise)


def test_crops_and_masks_differ_between_epochs_samples_and_seeds(corpus):
    batches = make_batches(corpus)
    draws = {
        (seed, epoch, sample): generator(seed, 1, epoch, sample).random()
        for seed in range(3)
        for epoch in range(3)
        for sample in range(3)
    }
    assert len(set(draws.values())) == 27
    masks = torch.cat([batches[step].mask_noise for step in range(18)])
    assert len(torch.unique(masks, dim=0)) == len(masks)


def test_every_crop_start_is_drawn_unless_the_published_quirk_is_asked_for():
    starts = {
        quirk: {crop_start(np.random.default_rng(i), 68, 64, quirk) for i in range(200)}
        for quirk in ((), ("last_crop_never_drawn",))
    }
    assert starts[()] == {0, 1, 2, 3, 4}
    assert starts[("last_crop_never_drawn",)] == {0, 1, 2, 3}
    assert crop_start(np.random.default_rng(0), 65, 64, ["last_crop_never_drawn"]) == 0


def test_short_recordings_are_padded_with_silence_or_repeated(corpus):
    recordings = Recordings.open(*corpus[:2])
    rng = np.random.default_rng(0)
    assert recordings.draw(rng, 0, 64) == 0
    (short,) = recordings.read([0], [0], 64)
    assert np.array_equal(short[:, :40], log_mel(0, 0, 40).T)
    assert (short[:, 40:] == np.float32(SILENCE)).all()
    assert (recordings.read([0], [0], 64, ["loud_padding"])[0, :, 40:] == 0).all()
    doubled = np.tile(log_mel(0, 0, 40).T, 2)
    starts = {recordings.draw(rng, 0, 64, repeat_short=True) for _ in range(200)}
    assert starts == set(range(17))
    (repeated,) = recordings.read([0], [16], 64, repeat_short=True)
    assert np.array_equal(repeated, doubled[:, 16:])


def test_statistics_count_every_frame_as_often_as_its_recording_is_repeated(corpus):
    values = np.concatenate(
        [log_mel(number, clip, 40 + 7 * clip) for number in (0, 1, 1) for clip in range(24)], dtype=np.float64
    )
    assert corpus[2]["mean"] == pytest.approx(values.mean(), rel=1e-12)
    assert corpus[2]["std"] == pytest.approx(values.std(ddof=1) + 2.0**-23, rel=1e-12)
    assert corpus[2]["frames"] == len(values)


def test_recordings_that_the_store_lacks_are_named(corpus):
    mixture, shards, _ = corpus
    extra = pd.DataFrame([("gone", "lungs", 1)], columns=mixture.columns)
    assert Recordings.open(pd.concat([mixture, extra]), shards).missing == ["lungs/gone"]
    with pytest.raises(RespfmError, match="mixture is empty"):
        Recordings.open(extra, shards)
    with pytest.raises(RespfmError, match="mixture is empty"):
        mixture_statistics(mixture.head(0), shards)
    with pytest.raises(RespfmError, match="no log-mel shards"):
        Recordings.open(mixture, {"lungs": shards["lungs"]})
    with pytest.raises(RespfmError, match="fewer than one batch"):
        make_batches(corpus, batch_size=100)
