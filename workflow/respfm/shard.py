"""File format of one shard of log-mels or waveforms: HDF5 with contiguous frames, so that a crop is one read at a
known place.

Datasets: `frames` float16 or float32 `[total_frames, n_mels]`; `offsets` int64 `[n + 1]` (clip i holds the
frames `offsets[i]` to `offsets[i + 1]`); `ids`; `quarantined_ids` and `quarantined_reasons` of recordings
left out. Attributes: `format`, `writer`, `definition` (front end, JSON), `units`, `n_mels`, `min_seconds`,
`digest`. A frame of a waveform is one sample, and its `n_mels` 1.

The frames come first, so that they can be written before it is known how many there will be. The HDF5 user block (the
first 4096 bytes) repeats in JSON what a reader needs, so that thousands of shards open
at once and a damaged file is recognised without HDF5, which may hang on one. The digest is the SHA-256 over those
of all 4 MiB blocks of the file, itself read as zeros, so that any changed bit shows.
"""

import dataclasses
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, Self

import h5py
import numpy as np

from respfm import __version__
from respfm.errors import RespfmError
from respfm.files import atomic_path, canonical_json

FORMAT = "respfm shard 1"
CURE = "Delete it and run the workflow again to rebuild it."

_HEADER_BYTES = 4096
_FRAMES_AT = _HEADER_BYTES + 2048  # where HDF5 puts the data set that is made first
_UNSIGNED = b"0" * 64
_BLOCK_BYTES = 1 << 22


@dataclasses.dataclass(frozen=True)
class ShardHeader:
    """What a reader needs to know of a shard; `frames_at` and `offsets_at` are places in bytes."""

    path: Path
    clips: int
    frames: int
    n_mels: int
    dtype: str
    frames_at: int
    offsets_at: int
    definition: dict[str, Any]
    size: int
    digest: str


def write_clips(
    path: str | os.PathLike,
    clips: Iterable[tuple[str, np.ndarray | str]],
    definition: Mapping[str, Any],
    units: str,
    dtype: str = "float16",
    min_seconds: float = 0.0,
) -> None:
    """Write a shard of recordings, each its id and its frames `[frames, n_mels]`, or why it was left out.

    `clips` is read once, one at a time, and what has come is written and digested while the next is made.
    """
    if dtype not in ("float16", "float32"):
        raise RespfmError(f"A shard holds float16 or float32, not {dtype}; mend `dtype`.")
    stored, n_mels = np.dtype(dtype).newbyteorder("<"), definition.get("n_mels", 1)
    attributes = {
        "digest": np.bytes_(_UNSIGNED),
        "format": FORMAT,
        "writer": f"respfm {__version__}",
        "definition": canonical_json(definition),
        "units": units,
        "n_mels": n_mels,
        "min_seconds": min_seconds,
    }
    ids: list[str] = []
    ends = [0]
    quarantined: dict[str, str] = {}
    with atomic_path(path) as temporary, temporary.open("w+b") as stream, _BlockDigests(temporary) as digests:
        stream.seek(_FRAMES_AT)
        for identifier, clip in clips:
            if isinstance(clip, str):
                quarantined[identifier] = clip
                continue
            if clip.ndim != 2 or clip.shape[1] != n_mels:
                raise ValueError(f"{identifier}: a clip of shape {clip.shape} where [frames, {n_mels}] was announced")
            ids.append(identifier)
            ends.append(ends[-1] + len(clip))
            stream.write(np.ascontiguousarray(clip, stored).data)
            digests.follow(stream)
        tables = {
            "offsets": np.array(ends, "<i8"),
            "ids": _fixed_width(ids),
            "quarantined_ids": _fixed_width(quarantined),
            "quarantined_reasons": _fixed_width(quarantined.values()),
        }
        header = {"clips": len(ids), "dtype": stored.str, "definition": definition}
        header |= _write_structure(stream, (ends[-1], n_mels), stored, tables, attributes)
        _sign(stream, header, digests)


def read_header(path: str | os.PathLike) -> ShardHeader:
    """Read the first bytes of a shard, enough to know that it is one, of this format and of full length.

    Raises RespfmError naming the file and the cure when it is missing, foreign or truncated.
    """
    try:
        with open(path, "rb") as stream:
            name, _, text = stream.read(_HEADER_BYTES).partition(b"\n")
            size = os.fstat(stream.fileno()).st_size
        if name != FORMAT.encode():
            raise RespfmError(f"{path} is not a shard of this version ({FORMAT}). {CURE}")
        header = ShardHeader(Path(path), **json.loads(text))
    except OSError as error:
        raise RespfmError(
            f"The shard {path} cannot be read ({error.strerror}). Run the workflow again to make it."
        ) from error
    except (ValueError, TypeError) as error:
        raise RespfmError(f"{path} is damaged: its header is no longer text. {CURE}") from error
    if size != header.size:
        raise RespfmError(f"{path} is not whole: it has {size} of {header.size} bytes. {CURE}")
    return header


def read_attributes(path: str | os.PathLike) -> dict[str, Any]:
    """All attributes of the file, by name."""
    with h5py.File(path, "r") as file:
        return dict(file.attrs)


def read_offsets(header: ShardHeader) -> np.ndarray:
    """First frame of every clip and the end of the last, int64 `[clips + 1]`."""
    return np.fromfile(header.path, "<i8", header.clips + 1, offset=header.offsets_at)


def read_ids(path: str | os.PathLike) -> np.ndarray:
    """Recording ids in the order of the clips, as UTF-8 bytes of fixed width `[clips]`."""
    with h5py.File(path, "r") as file:
        return file["ids"][:]


def read_quarantined(path: str | os.PathLike) -> dict[str, str]:
    """Recordings that were left out of the shard, and why."""
    with h5py.File(path, "r") as file:
        names, reasons = (file[f"quarantined_{part}"].asstr()[:] for part in ("ids", "reasons"))
        return dict(zip(names, reasons, strict=True))


def check_shard(path: str | os.PathLike) -> ShardHeader:
    """Read the whole shard and compare it with its digest; RespfmError when a single bit differs."""
    header = read_header(path)
    if _file_digest(header.path, header.digest.encode()) != header.digest.encode():
        raise RespfmError(f"{path} is damaged: its content does not match its digest. {CURE}")
    return header


def _fixed_width(texts: Iterable[str]) -> np.ndarray:
    encoded = [text.encode() for text in texts]
    width = max(map(len, encoded), default=1) or 1
    return np.array(encoded, dtype=h5py.string_dtype("utf-8", width))


def _write_structure(
    stream: IO[bytes], shape: tuple[int, int], stored: np.dtype, tables: dict[str, Any], attributes: dict[str, Any]
) -> dict[str, Any]:
    """Write all that HDF5 keeps around the frames, which are in place; returns what the header says of them.

    HDF5 makes it in a file of its own with a hole for the frames.
    """
    draft = Path(stream.name)
    _check_room(draft.parent, sum(table.nbytes for table in tables.values()))
    with tempfile.NamedTemporaryFile(dir=draft.parent, prefix=f"{draft.stem}.", suffix=draft.suffix) as structure:
        with h5py.File(structure.name, "w", libver="earliest", userblock_size=_HEADER_BYTES) as file:
            frames = file.create_dataset("frames", shape, stored, dcpl=_allocated_at_once())
            file.attrs.update(attributes)
            for name, table in tables.items():
                file[name] = table
            frames_at, offsets_at = frames.id.get_offset(), file["offsets"].id.get_offset()
        if shape[0] and frames_at != _FRAMES_AT:
            raise RespfmError(f"HDF5 {h5py.version.hdf5_version} put the frames at {frames_at}; install another h5py.")
        stream.seek(0)
        stream.write(structure.read(_FRAMES_AT))
        structure.seek(shape[0] * shape[1] * stored.itemsize, os.SEEK_CUR)
        stream.seek(structure.tell())
        shutil.copyfileobj(structure, stream)
    places = {"frames_at": _FRAMES_AT, "offsets_at": offsets_at}
    return {**places, "frames": shape[0], "n_mels": shape[1], "size": stream.tell(), "digest": _UNSIGNED.decode()}


def _check_room(folder: Path, size: int) -> None:
    """Raise the OSError of a full disk beforehand: HDF5 itself does not always tell, or survive, that it is."""
    if shutil.disk_usage(folder).free < size + _BLOCK_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


class _BlockDigests:
    """SHA-256 of the blocks of a file that is being written, in a thread beside the writing."""

    def __init__(self, path: Path) -> None:
        self._path, self._pool = path, ThreadPoolExecutor(1)
        self._blocks: list[Future[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def follow(self, stream: IO[bytes]) -> None:
        """Take what `stream` has written since, but for the first block and a last that is not whole."""
        ready = range(_BLOCK_BYTES * (1 + len(self._blocks)), stream.tell() - _BLOCK_BYTES + 1, _BLOCK_BYTES)
        if ready:
            stream.flush()
            for start in ready:
                self._blocks.append(self._pool.submit(_block_digest, self._path, start, _UNSIGNED))

    def whole(self) -> bytes:
        """The digest of the file, which is whole now."""
        rest = range(_BLOCK_BYTES * (1 + len(self._blocks)), self._path.stat().st_size, _BLOCK_BYTES)
        digests = [_block_digest(self._path, start, _UNSIGNED) for start in (0, *rest)]
        return _joined([digests[0], *(block.result() for block in self._blocks), *digests[1:]])


def _sign(stream: IO[bytes], header: dict[str, Any], digests: _BlockDigests) -> None:
    """Write the header, then the digest into header and attribute."""
    stream.seek(0)
    stream.write(f"{FORMAT}\n{canonical_json(header)}".encode().ljust(_HEADER_BYTES))
    stream.flush()
    digest = digests.whole()
    stream.seek(0)
    block = stream.read(_BLOCK_BYTES)
    stream.seek(0)
    stream.write(block.replace(_UNSIGNED, digest, 2))


def _allocated_at_once() -> h5py.h5p.PropDCID:
    """Give a data set its place in the file, unfilled, when it is made."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    return properties


def _file_digest(path: Path, recorded: bytes) -> bytes:
    """Hexadecimal SHA-256 of the SHA-256s of the file's blocks, the recorded digest read as zeros."""
    with ThreadPoolExecutor() as pool:
        starts = range(0, path.stat().st_size, _BLOCK_BYTES)
        return _joined(pool.map(lambda start: _block_digest(path, start, recorded), starts))


def _block_digest(path: Path, start: int, recorded: bytes) -> bytes:
    with path.open("rb", buffering=0) as stream:
        stream.seek(start)
        block = stream.read(_BLOCK_BYTES)
    return hashlib.sha256(block if start else block.replace(recorded, _UNSIGNED, 2)).digest()


def _joined(digests: Iterable[bytes]) -> bytes:
    return hashlib.sha256(b"".join(digests)).hexdigest().encode()
