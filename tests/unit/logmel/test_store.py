"""Log-mel shards and the store that reads them."""

import concurrent.futures
import multiprocessing
import os
import pickle
import resource
import time
from pathlib import Path

import formulas
import h5py
import numpy as np
import pytest
import soundfile
import torch
from logmel_golden import LOGMEL, unpack_recordings
from respfm.errors import RespfmError
from respfm.logmel.build import write_shard
from respfm.logmel.frontend import LogMel
from respfm.shard import read_quarantined, write_clips
from respfm.store import LogMelStore, describe

FRONT_END = LogMel().definition()
LENGTHS = [700, 1, 0, 305, 608, 1200]


def ragged_clips(label: str) -> list[np.ndarray]:
    generator = formulas.rng(label)
    return [generator.normal(-7, 4, (length, 80)).astype(np.float16) for length in LENGTHS]


def write_random(path: Path, label: str, dtype: str = "float16", definition: dict | None = None) -> Path:
    ids = [f"{label}/é{i}" for i in range(len(LENGTHS))]
    clips = ragged_clips(label)
    write_clips(path, ids, LENGTHS, clips, definition or FRONT_END, "ln(power)", dtype, quarantined={"x": "silent"})
    return path


@pytest.fixture
def shards(tmp_path) -> list[Path]:
    return [write_random(tmp_path / f"{label}.h5", label) for label in "ab"]


@pytest.fixture
def wavs(tmp_path) -> list[Path]:
    folder = tmp_path / "wavs"
    folder.mkdir()
    generator = formulas.rng("wavs")
    for i in range(20):
        samples = 0.1 * generator.standard_normal(generator.integers(200, 40_000))
        soundfile.write(folder / f"{i:02d}.wav", samples, (16_000, 44_100, 8_000)[i % 3])
    return sorted(folder.iterdir())


def test_clips_and_crops_come_back(shards):
    store = LogMelStore(shards)
    clips = ragged_clips("a") + ragged_clips("b")
    assert len(store) == 12
    assert store.lengths.tolist() == LENGTHS * 2
    assert list(store.ids) == [f"{label}/é{i}" for label in "ab" for i in range(6)]
    for index, clip in enumerate(clips):
        whole = store.clip(index)
        assert whole.dtype == np.float32
        np.testing.assert_array_equal(whole, clip.T.astype(np.float32))
    np.testing.assert_array_equal(store.crop(11, 500, 608), clips[11][500:1108].T.astype(np.float32))
    places = [(11, 7), (0, 0), (11, 900)]
    for (index, start), crop in zip(places, store.crops(*zip(*places, strict=True), 300), strict=True):
        np.testing.assert_array_equal(crop, clips[index][start : start + 300].T.astype(np.float32))


def test_every_finite_float16_comes_back(tmp_path):
    values = np.arange(2**16, dtype=np.uint16).view(np.float16)
    values = np.where(np.isfinite(values), values, 0).reshape(-1, 64)
    write_clips(tmp_path / "all.h5", ["all"], [1024], [values], {"n_mels": 64}, "ln(power)")
    whole = LogMelStore([tmp_path / "all.h5"]).clip(0)
    np.testing.assert_array_equal(whole.view(np.uint32), values.T.astype(np.float32).view(np.uint32))


@pytest.mark.parametrize(("start", "frames"), [(-1, 10), (698, 3), (0, 701)])
def test_crops_outside_the_clip_are_refused(shards, start, frames):
    with pytest.raises(RespfmError, match="700 frames"):
        LogMelStore(shards).crop(0, start, frames)


def test_unknown_clip_is_an_index_error(shards):
    with pytest.raises(IndexError):
        LogMelStore(shards).clip(12)


def test_float32_shards_and_hdf5_readers(tmp_path):
    import h5py

    path = write_random(tmp_path / "a.h5", "a", dtype="float32")
    with h5py.File(path) as file:
        assert file["frames"].shape == (sum(LENGTHS), 80)
        assert file["frames"].dtype == np.float32
        np.testing.assert_array_equal(file["offsets"][:], np.cumsum([0, *LENGTHS]))
        np.testing.assert_array_equal(file["frames"][:700], ragged_clips("a")[0].astype(np.float32))
    assert LogMelStore([path]).crop(0, 3, 5).shape == (80, 5)
    with pytest.raises(RespfmError, match="float64"):
        write_random(tmp_path / "b.h5", "b", dtype="float64")


def crop_sum(store: LogMelStore, index: int) -> float:
    whole = np.concatenate([store.crop(index, 2, 300), store.clip(5)], axis=1)
    return float(whole.sum(dtype=np.float64))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_many_processes_read_one_store(shards, method):
    store = LogMelStore(shards)
    torch.zeros(1_000_000).add_(1)  # starts the threads that a forked process must not wait for
    indices = [0, 3, 4, 5, 6, 9, 10, 11] * 10
    expected = [crop_sum(store, index) for index in indices]
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(2, context) as pool:
        assert list(pool.map(crop_sum, [store] * len(indices), indices)) == expected


def test_copies_do_not_share_open_files(shards):
    store = LogMelStore(shards)
    store.clip(0)
    copy = pickle.loads(pickle.dumps(store))
    store.close()
    np.testing.assert_array_equal(copy.clip(0), store.clip(0))


def test_few_files_stay_open(tmp_path):
    first = write_random(tmp_path / "000.h5", "a")
    paths = [first]
    for i in range(1, 100):
        paths.append(tmp_path / f"{i:03d}.h5")
        os.link(first, paths[-1])
    store = LogMelStore(paths)
    before = len(os.listdir("/proc/self/fd"))
    for index in range(len(store)):
        store.clip(index)
    assert len(os.listdir("/proc/self/fd")) <= before + 64


@pytest.mark.parametrize("lengths", [[30_000] * 3, [90_000], [7] * 12_000], ids=["middling", "long", "short"])
def test_a_large_shard_holds_its_clips(tmp_path, lengths):
    path = tmp_path / "large.h5"
    frames = formulas.rng("large").normal(-7, 4, (sum(lengths), 80)).astype(np.float16)
    clips = np.split(frames, np.cumsum(lengths)[:-1])
    write_clips(path, [str(i) for i in range(len(clips))], lengths, clips, FRONT_END, "ln(power)")
    assert LogMelStore([path]).lengths.tolist() == lengths
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["frames"], frames)
        np.testing.assert_array_equal(np.diff(file["offsets"]), lengths)


@pytest.mark.parametrize("kept", [0, 100, 0.5, -1])
def test_truncated_shards_are_refused_on_opening(shards, kept):
    content = shards[1].read_bytes()
    shards[1].write_bytes(content[: int(kept * len(content)) if kept == 0.5 else kept])
    with pytest.raises(RespfmError, match=r"b\.h5.*rebuild"):
        LogMelStore(shards)


def test_foreign_missing_and_mixed_shards_are_refused(shards, tmp_path):
    import h5py

    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["frames"] = np.zeros((3, 80), np.float16)
    with pytest.raises(RespfmError, match=r"foreign\.h5 is not a shard"):
        LogMelStore([*shards, tmp_path / "foreign.h5"])
    with pytest.raises(RespfmError, match=r"gone\.h5"):
        LogMelStore([tmp_path / "gone.h5"])
    with pytest.raises(RespfmError, match="list of paths is empty"):
        LogMelStore([])
    other = write_random(tmp_path / "other.h5", "c", definition=LogMel(f_min=20).definition())
    with pytest.raises(RespfmError, match=r"other\.h5 and .*a\.h5 were made by different"):
        LogMelStore([*shards, other])


def test_describe_says_what_is_in_there(shards):
    text = describe(shards)
    for part in ("clips        12", "0 to 1200 per clip", "n_mels 80", "ln(power)", "float16", "x: silent"):
        assert part in text


def test_shard_bytes_do_not_depend_on_workers(wavs, tmp_path):
    contents = set()
    for workers in (1, 2, 3):
        path = tmp_path / f"{workers}.h5"
        write_shard(path, [wav.stem for wav in wavs], wavs, {}, min_seconds=1.0, workers=workers)
        contents.add(path.read_bytes())
    assert len(contents) == 1


def test_shard_holds_the_log_mel_of_padded_recordings(tmp_path):
    path = tmp_path / "stereo.wav"
    soundfile.write(path, formulas.stereo_pcm16("0"), 44_100, subtype="PCM_16")
    write_shard(tmp_path / "x.h5", ["e2e"], [path], FRONT_END, dtype="float32", min_seconds=6.1)
    spectrogram = LogMelStore([tmp_path / "x.h5"]).clip(0)
    assert spectrogram.shape == (80, 611)
    np.testing.assert_allclose(spectrogram[:, LOGMEL["e2e_frames"]], LOGMEL["e2e_lms"], rtol=0, atol=1e-3)


def test_unusable_recordings_are_listed_and_limited(wavs, tmp_path):
    wavs[3].write_bytes(b"")
    soundfile.write(wavs[7], np.zeros(16_000), 16_000)
    ids, path = [wav.stem for wav in wavs], tmp_path / "out" / "000.h5"
    with pytest.raises(RespfmError, match=r"2 of 20 recordings are unusable \(first 03: empty\)"):
        write_shard(path, ids, wavs, {}, min_seconds=1.0, workers=2)
    assert list(path.parent.iterdir()) == []
    summary = write_shard(path, ids, wavs, {}, min_seconds=1.0, workers=2, max_quarantine_share=0.1)
    assert summary.quarantined == read_quarantined(path) == {"03": "empty", "07": "silent"}
    assert summary.clips == len(LogMelStore([path])) == 18
    assert "03" not in LogMelStore([path]).ids


def test_shard_without_a_usable_recording_is_empty_but_valid(wavs, tmp_path):
    wavs[0].write_bytes(b"")
    path = tmp_path / "000.h5"
    write_shard(path, ["only"], wavs[:1], {}, max_quarantine_share=1.0)
    assert len(LogMelStore([path])) == 0
    assert "clips        0" in describe([path])


def test_equal_ids_are_refused(wavs, tmp_path):
    with pytest.raises(RespfmError, match="one id of its own"):
        write_shard(tmp_path / "000.h5", ["same", "same"], wavs[:2], {})


def test_two_million_clips_open_at_once(tmp_path):
    first = tmp_path / "000.h5"
    clip = np.full((4, 80), -7, np.float16)
    write_clips(first, [f"clip{i:011d}" for i in range(5000)], [4] * 5000, [clip] * 5000, FRONT_END, "ln(power)")
    paths = [first, *(tmp_path / f"{i:03d}.h5" for i in range(1, 400))]
    for path in paths[1:]:
        os.link(first, path)
    memory, start = resident_megabytes(), time.process_time()
    store = LogMelStore(paths)
    assert time.process_time() - start < 1
    assert len(store) == 2_000_000
    for index in range(0, 2_000_000, 2500):
        store.crop(index, 1, 2)
    assert resident_megabytes() - memory < 200


def resident_megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def test_float16_error_on_real_recordings(shared_data, tmp_path):
    recordings = unpack_recordings(shared_data, tmp_path, ("coswara",))
    recordings = [path for path in recordings if path.stat().st_size > 44]
    ids = [str(i) for i in range(len(recordings))]
    stores = []
    for dtype in ("float16", "float32"):
        path = tmp_path / f"{dtype}.h5"
        write_shard(path, ids, recordings, {}, dtype, 6.1, workers=2, max_quarantine_share=0.2)
        stores.append(LogMelStore([path]))
    errors = np.concatenate([np.abs(stores[0].clip(i) - stores[1].clip(i)).ravel() for i in range(len(stores[0]))])
    assert 0 < errors.max() <= 2**-8
    assert errors.mean() < 2**-8 / 1.5
