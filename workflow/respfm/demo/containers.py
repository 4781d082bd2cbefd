"""Audio files and archives as bytes, the same bytes for the same content.

Time stamps, owners, stream serial numbers and encoder settings are fixed; nothing of the clock or the
machine's user gets in.
"""

import gzip
import io
import os
import re
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

StandIns = dict[str, Callable[[], bytes]]
"""File contents, made when called, by a pattern of the URL that they stand in for."""

FIXED_TIME = 1_577_836_800  # 2020-01-01 00:00 UTC, in seconds of Unix time


def wav(samples: np.ndarray, sample_rate: int, subtype: str = "PCM_16") -> bytes:
    """WAV file of a mono signal `[samples]` in -1..1; without samples it is the bare 44-byte header."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, samples, sample_rate, format="WAV", subtype=subtype)
    return buffer.getvalue()


def opus(samples: np.ndarray, container: str) -> bytes:
    """Opus of a mono 48 kHz signal in `container` "webm" (of unknown duration, like a browser's) or "ogg"."""
    import av

    buffer = io.BytesIO()
    options = {"fflags": "+bitexact"} | ({"live": "1"} if container == "webm" else {})
    with av.open(buffer, "w", format=container, container_options=options) as muxer:
        stream = muxer.add_stream("libopus", rate=48_000, layout="mono")
        stream.bit_rate = 48_000
        quantised = np.round(np.clip(samples, -1, 1) * 32_767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(quantised[None], format="s16", layout="mono")
        frame.sample_rate = 48_000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            muxer.mux(packet)
    return buffer.getvalue()


def vorbis(samples: np.ndarray, sample_rate: int) -> bytes:
    """Ogg Vorbis of a mono signal; remuxed, because libsndfile takes the serial number from the clock."""
    import av
    import soundfile

    encoded, remuxed = io.BytesIO(), io.BytesIO()
    soundfile.write(encoded, samples, sample_rate, format="OGG", subtype="VORBIS")
    encoded.seek(0)
    with (
        av.open(encoded) as source,
        av.open(remuxed, "w", format="ogg", container_options={"fflags": "+bitexact"}) as muxer,
    ):
        stream = muxer.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = stream
                muxer.mux(packet)
    return remuxed.getvalue()


def zip_archive(members: Iterable[tuple[str, bytes]]) -> bytes:
    """Deflated ZIP of (name, content) pairs in the given order."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name, date_time=(2020, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)
    return buffer.getvalue()


def tar_gz(members: Iterable[tuple[str, bytes]]) -> bytes:
    """Gzipped tar of (name, content) pairs in the given order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), FIXED_TIME
            archive.addfile(info, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), compresslevel=6, mtime=0)


def seven_zip(members: Iterable[tuple[str, bytes]]) -> bytes:
    """7z (LZMA2) of (name, content) pairs; made from files, since 7z stores each file's time and mode."""
    import py7zr

    filters = [{"id": py7zr.FILTER_LZMA2, "preset": 1}]
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder, "archive.7z")
        with py7zr.SevenZipFile(packed, "w", filters=filters) as archive:
            for name, content in members:
                file = Path(folder, "member")
                file.write_bytes(content)
                file.chmod(0o644)
                os.utime(file, (FIXED_TIME, FIXED_TIME))
                archive.write(file, name)
        return packed.read_bytes()


def xlsx(sheets: Mapping[str, list[tuple]]) -> bytes:
    """Excel workbook with one sheet of rows per name."""
    import openpyxl

    workbook = openpyxl.Workbook()
    workbook.remove(workbook.active)
    for title, rows in sheets.items():
        sheet = workbook.create_sheet(title)
        for row in rows:
            sheet.append(row)
    buffer = io.BytesIO()
    workbook.save(buffer)
    with zipfile.ZipFile(buffer) as archive:
        clock = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
        return zip_archive(
            (
                name,
                clock.sub(b"2020-01-01T00:00:00Z", archive.read(name))
                if name == "docProps/core.xml"
                else archive.read(name),
            )
            for name in archive.namelist()
        )


def npy(values: Iterable, dtype: type | None = None) -> bytes:
    """NumPy file; strings get the fixed width of the longest one, or Python objects with `dtype=object`."""
    buffer = io.BytesIO()
    np.save(buffer, np.array(list(values), dtype=dtype), allow_pickle=dtype is object)
    return buffer.getvalue()
