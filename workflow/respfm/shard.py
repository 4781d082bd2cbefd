"""File format of one shard of log-mels or waveforms: HDF5 with contiguous frames, so that a crop is one read at a
known place.

Datasets: `frames` float16 or float32 `[total_frames, n_mels]`; `offsets` int64 `[n + 1]` (clip i holds the
frames `offsets[i]` to `offsets[i + 1]`); `ids`; `quarantined_ids` and `quarantined_reasons` of recordings
left out. Attributes: `format`, `writer`, `definition` (front end, JSON), `units`, `n_mels`, `min_seconds`. A frame
of a waveform is one sample, and its `n_mels` 1.

The HDF5 user block (the first 4096 bytes) repeats in JSON what a reader needs, so that thousands of shards open
at once and a truncated file is recognised without HDF5, which may hang on one. Its content is compared by the jobs that
read it, with the checksum beside it.
"""

import dataclasses
import errno
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from respfm import __version__
from respfm.errors import RespfmError
from respfm.files import atomic_path, canonical_json

FORMAT = "respfm shard 2"
REBUILD = "delete it and run the workflow again to rebuild it"

_HEADER_BYTES = 4096
_SPARE_BYTES = 1 << 22
_WRITE_BYTES = 1 << 20  # at once; clip by clip takes half as long again


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


def write_clips(
    path: str | os.PathLike,
    ids: Sequence[str],
    lengths: Sequence[int],
    clips: Iterable[np.ndarray],
    definition: Mapping[str, Any],
    units: str,
    dtype: str = "float16",
    min_seconds: float = 0.0,
    quarantined: Mapping[str, str] | None = None,
) -> None:
    """Write a shard of clips `[frames, n_mels]` whose lengths in frames are known beforehand.

    `clips` is read once, one at a time. `quarantined` names recordings that were left out, with the reasons.
    """
    if dtype not in ("float16", "float32"):
        raise RespfmError(f"A shard holds float16 or float32, not {dtype}; correct `dtype`")
    quarantined, stored = quarantined or {}, np.dtype(dtype).newbyteorder("<")
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype("<i8")
    with atomic_path(path) as temporary:
        _check_room(Path(path), int(offsets[-1]) * definition.get("n_mels", 1) * stored.itemsize)
        with h5py.File(temporary, "w", libver="earliest", userblock_size=_HEADER_BYTES) as file:
            file.attrs["format"] = FORMAT
            file.attrs["writer"] = f"respfm {__version__}"
            file.attrs["definition"] = canonical_json(definition)
            file.attrs["units"] = units
            file.attrs["n_mels"] = definition.get("n_mels", 1)
            file.attrs["min_seconds"] = min_seconds
            file["offsets"] = offsets
            file["ids"] = _fixed_width(ids)
            file["quarantined_ids"] = _fixed_width(quarantined)
            file["quarantined_reasons"] = _fixed_width(quarantined.values())
            shape = (int(offsets[-1]), definition.get("n_mels", 1))
            frames = file.create_dataset("frames", shape, stored, dcpl=_allocated_at_once())
            header = {
                "clips": len(ids),
                "frames": shape[0],
                "n_mels": shape[1],
                "dtype": stored.str,
                "frames_at": frames.id.get_offset() or 0,
                "offsets_at": file["offsets"].id.get_offset(),
                "definition": definition,
            }
        with temporary.open("r+b", buffering=_WRITE_BYTES) as stream:
            stream.seek(header["frames_at"])
            for length, clip in zip(lengths, clips, strict=True):
                if clip.shape != (length, shape[1]):
                    raise ValueError(f"clip of shape {clip.shape} where {(length, shape[1])} was announced")
                stream.write(np.ascontiguousarray(clip, stored).data)
            header["size"] = stream.seek(0, os.SEEK_END)
            stream.seek(0)
            stream.write(f"{FORMAT}\n{canonical_json(header)}".encode().ljust(_HEADER_BYTES))


def read_header(path: str | os.PathLike) -> ShardHeader:
    """Read the first bytes of a shard, enough to know that it is one, of this format and of full length.

    Raises RespfmError naming the file and the fix when it is missing, foreign or truncated.
    """
    try:
        with open(path, "rb") as stream:
            name, _, text = stream.read(_HEADER_BYTES).partition(b"\n")
            size = os.fstat(stream.fileno()).st_size
        if name != FORMAT.encode():
            raise RespfmError(f"{path} is not a shard of this version ({FORMAT}); {REBUILD}")
        header = ShardHeader(Path(path), **json.loads(text))
    except OSError as error:
        raise RespfmError(
            f"The shard {path} cannot be read ({error.strerror}). Run the workflow again to make it"
        ) from error
    except (ValueError, TypeError) as error:
        raise RespfmError(f"{path} is damaged: its header is no longer text; {REBUILD}") from error
    if size != header.size:
        raise RespfmError(f"{path} is not whole: it has {size} of {header.size} bytes; {REBUILD}")
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


def _fixed_width(texts: Iterable[str]) -> np.ndarray:
    encoded = [text.encode() for text in texts]
    width = max(map(len, encoded), default=1) or 1
    return np.array(encoded, dtype=h5py.string_dtype("utf-8", width))


def _check_room(path: Path, size: int) -> None:
    """Raise the OSError of a full disk beforehand: HDF5 itself does not always tell, or survive, that it is."""
    if shutil.disk_usage(path.parent).free < size + _SPARE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _allocated_at_once() -> h5py.h5p.PropDCID:
    """Give a data set its place in the file, unfilled, when it is made."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    return properties
