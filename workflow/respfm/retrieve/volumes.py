"""Archives that are published in several files, read as one without writing them together first."""

import bisect
import io
import itertools
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, cast

from respfm.errors import RespfmError

# Record layouts of the ZIP format (PKWARE APPNOTE 6.3, sections 4.3.12 to 4.3.16).
_ENTRY = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR64 = struct.Struct("<4sIQI")
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF
_ZIP64_EXTRA = 1


def _open(piece: Path | bytes) -> BinaryIO:
    return io.BytesIO(piece) if isinstance(piece, bytes) else open(piece, "rb")


class JoinedFile(io.RawIOBase):
    """Several files, or bytes, behind each other as one read-only seekable binary file."""

    def __init__(self, pieces: Sequence[Path | bytes]) -> None:
        super().__init__()
        self._streams = [_open(piece) for piece in pieces]
        sizes = [stream.seek(0, os.SEEK_END) for stream in self._streams]
        self.starts = list(itertools.accumulate(sizes, initial=0))
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.starts[-1]}[whence]
        if origin + offset < 0:
            raise OSError(f"cannot seek to {origin + offset}, before the start")
        self._position = origin + offset
        return self._position

    def readinto(self, buffer) -> int:
        if self._position >= self.starts[-1]:
            return 0
        index = bisect.bisect_right(self.starts, self._position) - 1
        stream = self._streams[index]
        stream.seek(self._position - self.starts[index])
        wanted = min(len(buffer), self.starts[index + 1] - self._position)
        content = stream.read(wanted)
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)

    def close(self) -> None:
        for stream in self._streams:
            stream.close()
        super().close()


def open_joined(paths: Sequence[Path]) -> io.BufferedReader:
    """One or several files as a buffered binary file."""
    return io.BufferedReader(JoinedFile(paths), buffer_size=1 << 20)


def open_split_zip(paths: Sequence[Path]) -> io.BufferedReader:
    """The volumes of a split zip (.z01, .z02, ..., .zip, in this order) as one ordinary zip file.

    A split archive notes the position of a member as (volume, position in that volume). Here the volumes are
    read as they are, followed by a copy of their directory whose positions count from the first volume on.
    Raises RespfmError if the directory cannot be read, or names a volume that is not among `paths`.
    """
    name = Path(paths[-1]).name
    with open_joined(paths) as volumes:
        starts = cast(JoinedFile, volumes.raw).starts
        count, position, size = _find_directory(volumes, starts, name)
        volumes.seek(position)
        directory = volumes.read(size)
    entries = _absolute_directory(directory, count, starts, name)
    end = starts[-1]
    tail = _END64.pack(
        b"PK\x06\x06", _END64.size - 12, 45, 45, 0, 0, count, count, len(entries), end
    ) + _LOCATOR64.pack(b"PK\x06\x07", 0, end + len(entries), 1)
    tail += _END.pack(b"PK\x05\x06", 0, 0, _MAX16, _MAX16, _MAX32, _MAX32, 0)
    return io.BufferedReader(JoinedFile([*paths, entries + tail]), buffer_size=1 << 20)


def _find_directory(volumes: BinaryIO, starts: Sequence[int], name: str) -> tuple[int, int, int]:
    """Number of members, position in the joined volumes and size of the central directory."""
    volumes.seek(max(0, starts[-1] - _END.size - _MAX16))
    tail = volumes.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        raise RespfmError(f"{name} does not end like a zip file: it is truncated or not the last volume")
    _, _, disk, _, count, size, offset, _ = _END.unpack_from(tail, at)
    locator = at - _LOCATOR64.size
    if locator >= 0 and tail[locator : locator + 4] == b"PK\x06\x07":
        _, disk64, offset64, _ = _LOCATOR64.unpack_from(tail, locator)
        volumes.seek(_joined_position(disk64, offset64, starts, name))
        record = volumes.read(_END64.size)
        if len(record) < _END64.size or record[:4] != b"PK\x06\x06":
            raise RespfmError(f"{name}: the zip64 directory is not where the file says; fetch the volumes again")
        *_, disk, _, count, size, offset = _END64.unpack(record)
    return count, _joined_position(disk, offset, starts, name), size


def _joined_position(volume: int, offset: int, starts: Sequence[int], name: str) -> int:
    if volume >= len(starts) - 1:
        raise RespfmError(f"{name} refers to volume {volume + 1} of a split zip, but only {len(starts) - 1} were given")
    return starts[volume] + offset


def _absolute_directory(directory: bytes, count: int, starts: Sequence[int], name: str) -> bytes:
    """The central directory with every member's position counted from the first volume."""
    entries, at = [], 0
    for _ in range(count):
        if directory[at : at + 4] != b"PK\x01\x02" or len(directory) - at < _ENTRY.size:
            raise RespfmError(f"{name}: the zip directory is damaged at byte {at}; fetch the volumes again")
        fields = list(_ENTRY.unpack_from(directory, at))
        name_length, extra_length, comment_length = fields[10:13]
        name_end = at + _ENTRY.size + name_length
        extra_end = name_end + extra_length
        entry_end = extra_end + comment_length
        extra, sizes, volume, offset = _read_zip64(directory[name_end:extra_end], fields)
        position = _joined_position(volume, offset, starts, name)
        wide = b"".join(struct.pack("<Q", value) for value in [*sizes, position])
        extra = struct.pack("<2H", _ZIP64_EXTRA, len(wide)) + wide + extra
        fields[11], fields[13], fields[16] = len(extra), 0, _MAX32
        filename = directory[at + _ENTRY.size : name_end]
        entries.append(_ENTRY.pack(*fields) + filename + extra + directory[extra_end:entry_end])
        at = entry_end
    return b"".join(entries)


def _read_zip64(extra: bytes, fields: Sequence[int]) -> tuple[bytes, list[int], int, int]:
    """Other extra fields, the 64-bit sizes of the zip64 field, and the member's volume and offset."""
    compressed, uncompressed, volume, offset = fields[8], fields[9], fields[13], fields[16]
    rest, sizes, at = b"", [], 0
    while at + 4 <= len(extra):
        tag, length = struct.unpack_from("<2H", extra, at)
        content = extra[at + 4 : at + 4 + length]
        if tag == _ZIP64_EXTRA:
            wide = io.BytesIO(content)
            sizes = [struct.unpack("<Q", wide.read(8))[0] for v in (uncompressed, compressed) if v == _MAX32]
            if offset == _MAX32:
                (offset,) = struct.unpack("<Q", wide.read(8))
            if volume == _MAX16:
                (volume,) = struct.unpack("<I", wide.read(4))
        else:
            rest += extra[at : at + 4 + length]
        at += 4 + length
    return rest, sizes, volume, offset
