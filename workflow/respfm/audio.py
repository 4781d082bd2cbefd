"""Decoding of recordings as they are published.

libsndfile reads wav, flac, ogg and mp3; PyAV, which brings its own FFmpeg, reads the rest (webm, m4a, ...).
"""

import dataclasses
import os
from pathlib import Path

import numpy as np
import soundfile
import soxr

from respfm.errors import RespfmError

_BLOCK_FRAMES = 1 << 22
_PLAUSIBLE_RATES = range(1_000, 768_001)
_STREAMED = 0x7FFFF000  # writers that cannot seek back announce this many bytes or more


class AudioError(RespfmError):
    """A recording that cannot be used; `reason` is the short form that quarantine lists carry."""

    def __init__(self, path: str | os.PathLike, reason: str) -> None:
        super().__init__(f"{path}: {reason}. Replace the file or leave the recording quarantined")
        self.path, self.reason = str(path), reason

    def __reduce__(self):
        return AudioError, (self.path, self.reason)


@dataclasses.dataclass(frozen=True)
class AudioInfo:
    """What decoding a recording showed; `quarantine` is empty for a good one, else the reason."""

    sample_rate: int
    channels: int
    seconds: float
    peak: float
    quarantine: str


def decode(path: str | os.PathLike) -> tuple[np.ndarray, int]:
    """Decode a whole recording.

    Returns float32 samples `[channels, samples]`, full scale = 1, and the sample rate in Hz.
    Raises AudioError with the reason "empty", "truncated" (wav and flac, which announce their length),
    "not finite" or "unreadable: ...".
    """
    try:
        if os.path.getsize(path) == 0:
            raise AudioError(path, "empty")
    except OSError as error:
        raise AudioError(path, f"unreadable: {error.strerror or error}") from error
    try:
        sound = soundfile.SoundFile(path)
    except (soundfile.LibsndfileError, TypeError):  # TypeError: a name that ends in .raw
        samples, sample_rate = _decode_av(path)
    else:
        with sound:
            samples, sample_rate = _decode_sndfile(path, sound), sound.samplerate
    if samples.shape[1] == 0:
        raise AudioError(path, "empty")
    if sample_rate not in _PLAUSIBLE_RATES:
        raise AudioError(path, f"unreadable: sample rate of {sample_rate} Hz")
    if not np.isfinite(samples).all():
        raise AudioError(path, "not finite")
    return samples, sample_rate


def load(path: str | os.PathLike, sample_rate: int) -> np.ndarray:
    """Decode to mono at `sample_rate` Hz, float32 `[samples]`: mean of the channels, then soxr HQ.

    This is what librosa does (M2D reference, `wav_to_lms.py`). Raises AudioError as `decode`.
    """
    samples, native_rate = decode(path)
    mono = samples[0] if len(samples) == 1 else samples.mean(axis=0)
    if native_rate == sample_rate:
        return mono
    resampled = soxr.resample(mono, native_rate, sample_rate, quality="HQ")
    length = -(-len(mono) * sample_rate // native_rate)
    return np.pad(resampled[:length], (0, max(0, length - len(resampled))))


def inspect(path: str | os.PathLike) -> AudioInfo:
    """Decode a recording and describe it; one that cannot be used is described, never raised.

    Adds the reason "silent" (all samples are zero) to those of `decode`.
    """
    try:
        samples, sample_rate = decode(path)
    except AudioError as error:
        return AudioInfo(0, 0, 0.0, 0.0, error.reason)
    channels, length = samples.shape
    peak = float(np.abs(samples).max())
    return AudioInfo(sample_rate, channels, length / sample_rate, peak, "" if peak > 0 else "silent")


def _decode_sndfile(path: str | os.PathLike, sound: soundfile.SoundFile) -> np.ndarray:
    if sound.format in ("WAV", "WAVEX") and _wav_is_truncated(Path(path)):
        raise AudioError(path, "truncated")
    # libsndfile takes four times as long to return 16-bit samples as floats.
    dtype, scale = ("int16", 2.0**-15) if sound.subtype == "PCM_16" else ("float32", 1.0)
    blocks: list[np.ndarray] = []
    try:
        while not blocks or len(blocks[-1]) == _BLOCK_FRAMES:
            blocks.append(sound.read(_BLOCK_FRAMES, dtype=dtype, always_2d=True))
    except soundfile.LibsndfileError as error:
        raise AudioError(path, f"unreadable: {error.error_string}") from error
    samples = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    if sound.format == "FLAC" and len(samples) < sound.frames:
        raise AudioError(path, "truncated")
    return np.multiply(samples.T, np.float32(scale), dtype=np.float32, order="C")


def _wav_is_truncated(path: Path) -> bool:
    """Whether over 1 % of the bytes that the data chunk announces are missing; libsndfile does not mind."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        if stream.read(4) != b"RIFF":
            return False
        position = 12
        while position + 8 <= size:
            stream.seek(position)
            name, length = stream.read(4), int.from_bytes(stream.read(4), "little")
            position += 8
            if name == b"data":
                return length < _STREAMED and size - position < 0.99 * length
            position += length + length % 2
    return False


def _decode_av(path: str | os.PathLike) -> tuple[np.ndarray, int]:
    import av

    planar = av.AudioResampler(format="fltp")
    frames, sample_rate = [np.empty((0, 0), np.float32)], _PLAUSIBLE_RATES.start
    try:
        with av.open(os.fspath(path), metadata_errors="ignore") as container:
            if not container.streams.audio or container.streams.audio[0].codec_context is None:
                raise AudioError(path, "unreadable: no audio stream that can be decoded")
            for frame in container.decode(audio=0):
                sample_rate = frame.sample_rate
                frames += [converted.to_ndarray() for converted in planar.resample(frame)]
        return np.concatenate(frames[1:] or frames, axis=1), sample_rate
    except (av.FFmpegError, ValueError) as error:
        raise AudioError(path, f"unreadable: {getattr(error, 'strerror', None) or error}") from error
