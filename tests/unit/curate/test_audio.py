"""Decoding of the formats that the data sets come in, and of broken files."""

from pathlib import Path

import av
import formulas
import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from logmel_golden import LOGMEL, unpack_recordings
from respfm import audio
from respfm.curate.metadata import audio_files

RATE = 16000
TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)
STEREO = np.stack([TONE, -0.5 * TONE], axis=1)


def write_opus_webm(path: Path, samples: np.ndarray, rate: int = 48000) -> None:
    write_with_ffmpeg(path, samples, rate, "webm", "libopus")


def write_with_ffmpeg(path: Path, samples: np.ndarray, rate: int, container_format: str, codec: str) -> None:
    with av.open(str(path), "w", format=container_format) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray((samples * 32767).astype(np.int16)[None], "s16", "mono")
        frame.rate = rate
        container.mux([*stream.encode(frame), *stream.encode(None)])


@pytest.mark.parametrize(
    ("suffix", "subtype", "step"),
    [
        ("wav", "PCM_U8", 2**-7),
        ("wav", "PCM_16", 2**-15),
        ("wav", "PCM_24", 2**-23),
        ("wav", "PCM_32", 2**-23),
        ("wav", "FLOAT", 0),
        ("wav", "DOUBLE", 0),
        ("flac", "PCM_16", 2**-15),
        ("flac", "PCM_24", 2**-23),
        ("ogg", "VORBIS", 0.05),
        ("ogg", "OPUS", 0.05),
        ("mp3", "MPEG_LAYER_III", 0.05),
    ],
)
def test_formats_decode_to_float_stereo(tmp_path, suffix, subtype, step):
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, STEREO, RATE, subtype=subtype)
    samples, rate = audio.decode(path)
    assert (samples.dtype, rate) == (np.float32, RATE)
    assert samples.shape == (2, RATE)
    inner = slice(2000, -2000)
    np.testing.assert_allclose(samples[:, inner], STEREO.T[:, inner], rtol=0, atol=step)


def test_opus_in_webm_decodes_without_ffmpeg(tmp_path):
    path = tmp_path / "cough.webm"
    write_opus_webm(path, np.tile(TONE, 3))
    samples, rate = audio.decode(path)
    assert rate == 48000
    assert samples.shape[0] == 1
    assert samples.shape[1] == pytest.approx(3 * RATE, abs=1000)
    assert np.abs(samples).max() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("suffix", "container_format", "codec", "rate"),
    [
        ("3gp", "3gp", "aac", RATE),
        ("aac", "adts", "aac", RATE),
        ("aiff", "aiff", "pcm_s16be", RATE),
        ("amr", "amr", "libopencore_amrnb", 8000),
        ("au", "au", "pcm_s16be", RATE),
        ("caf", "caf", "pcm_s16le", RATE),
        ("m4a", "ipod", "aac", RATE),
        ("mka", "matroska", "libopus", 48000),
        ("mp4", "mp4", "aac", RATE),
        ("w64", "w64", "pcm_s16le", RATE),
    ],
)
def test_what_phones_and_recorders_write_is_listed_and_decoded(tmp_path, suffix, container_format, codec, rate):
    path = tmp_path / f"recording.{suffix.upper()}"
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(3 * rate) / rate)
    write_with_ffmpeg(path, tone, rate, container_format, codec)
    assert audio_files(tmp_path) == [path.name]
    samples, found = audio.decode(path)
    assert found == rate
    assert samples.shape[1] == pytest.approx(3 * rate, rel=0.05)
    assert np.abs(samples[0, rate : 2 * rate]).max() == pytest.approx(0.5, abs=0.06)


def test_load_averages_channels_before_resampling(tmp_path):
    path = tmp_path / "stereo.wav"
    soundfile.write(path, STEREO, RATE, subtype="FLOAT")
    np.testing.assert_allclose(audio.load(path, RATE), 0.25 * TONE, atol=1e-7)
    assert audio.load(path, 11_025).shape == (11_025,)


def test_load_equals_reference_on_44_khz_stereo(tmp_path):
    path = tmp_path / "stereo.wav"
    soundfile.write(path, formulas.stereo_pcm16("0"), 44_100, subtype="PCM_16")
    waveform = audio.load(path, RATE)
    assert len(waveform) == LOGMEL["e2e_resampled_len"]
    np.testing.assert_allclose(waveform[:16], LOGMEL["e2e_resampled_first16"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(waveform[RATE : RATE + 16], LOGMEL["e2e_resampled_mid16"], rtol=0, atol=1e-6)


def write_broken(path: Path, kind: str) -> None:
    tone = TONE.copy()
    if kind == "not finite":
        tone[100] = np.nan
    soundfile.write(path, tone[:0] if kind == "header only" else tone, RATE, subtype="FLOAT")
    content = path.read_bytes()
    path.write_bytes(
        {
            "no bytes": b"",
            "text": b"not a sound at all\n" * 40,
            "half": content[: len(content) // 2],
            "header cut": content[:20],
        }.get(kind, content)
    )


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("no bytes", "empty"),
        ("header only", "empty"),
        ("half", "truncated"),
        ("not finite", "not finite"),
        ("text", "unreadable"),
        ("header cut", "unreadable"),
    ],
)
def test_broken_files_are_named_with_their_reason(tmp_path, kind, reason):
    path = tmp_path / "broken.wav"
    write_broken(path, kind)
    with pytest.raises(audio.AudioError, match=r"broken\.wav") as caught:
        audio.load(path, RATE)
    assert caught.value.reason.startswith(reason)
    assert audio.inspect(path).quarantine == caught.value.reason


def test_truncated_flac_is_refused(tmp_path):
    path = tmp_path / "tone.flac"
    soundfile.write(path, TONE, RATE)
    path.write_bytes(path.read_bytes()[:-2000])
    assert audio.inspect(path).quarantine


def test_missing_file_is_unreadable(tmp_path):
    assert audio.inspect(tmp_path / "gone.wav").quarantine.startswith("unreadable")


def test_inspect_describes_good_and_silent_recordings(tmp_path):
    good, silent = tmp_path / "good.wav", tmp_path / "silent.wav"
    soundfile.write(good, STEREO, RATE, subtype="FLOAT")
    soundfile.write(silent, 0 * TONE, RATE)
    assert audio.inspect(good) == audio.AudioInfo(RATE, 2, 1.0, pytest.approx(0.5), "")
    assert audio.inspect(silent).quarantine == "silent"


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "webm"])
def test_garbled_files_raise_audio_error_or_decode(tmp_path, suffix):
    path = tmp_path / f"tone.{suffix}"
    if suffix == "webm":
        write_opus_webm(path, TONE)
    else:
        soundfile.write(path, TONE[:4000], RATE)
    content = path.read_bytes()
    position = st.integers(0, len(content) - 1) | st.integers(0, min(200, len(content) - 1))

    @settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.dictionaries(position, st.integers(0, 255), max_size=20), st.integers(1, len(content)))
    def check(changes, length):
        garbled = bytearray(content)
        for place, value in changes.items():
            garbled[place] = value
        path.write_bytes(garbled[:length])
        info = audio.inspect(path)
        assert info.quarantine or info.seconds > 0

    check()


def test_real_recordings_decode_and_bad_ones_are_found(shared_data, tmp_path):
    paths = unpack_recordings(shared_data, tmp_path, ("coswara", "coughvid", "esc10"))
    infos = {path: audio.inspect(path) for path in paths}
    reasons = [info.quarantine for info in infos.values() if info.quarantine]
    assert sorted(reasons) == ["empty"] * 2 + ["silent"] * 6
    assert {path.suffix for path, info in infos.items() if not info.quarantine} >= {".wav", ".ogg", ".webm"}
