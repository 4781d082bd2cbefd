"""File format of one log-mel shard: HDF5 with contiguous frames, so that a crop is one read at a known place.

Datasets: `frames` float16 or float32 `[total_frames, n_mels]`; `offsets` int64 `[n + 1]` (clip i holds the
frames `offsets[i]` to `offsets[i + 1]`); `ids`; `quarantined_ids` and `quarantined_reasons` of recordings
left out. Attributes: `format`, `writer`, `definition` (front end, JSON), `units`, `n_mels`, `min_seconds`,
`digest`. The digest is the SHA-256 over those of all 4 MiB blocks of the file, itself read as zeros, so that any
changed bit shows.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from respfm import __version__
from respfm.errors import RespfmError
from respfm.files import atomic_path, canonical_json

FORMAT = "respfm log-mel shard 1"
CURE = "Delete it and run the workflow again (rule cache_logmel) to rebuild it."

_UNSIGNED = b"0" * 64
_BLOCK_BYTES = 1 << 22


@dataclasses.dataclass(frozen=True)
class ShardHeader:
    """What a reader needs to know of a shard; the first frame is `frames_at` bytes into the file."""

    path: Path
    clips: int
    frames: int
    n_mels: int
    dtype: np.dtype
    frames_at: int
    definition: dict[str, Any]


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
        raise RespfmError(f"A log-mel store holds float16 or float32, not {dtype}; mend `dtype`.")
    quarantined, stored = quarantined or {}, np.dtype(dtype).newbyteorder("<")
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype("<i8")
    with atomic_path(path) as temporary:
        with h5py.File(temporary, "w", libver=("earliest", "v110")) as file:
            file.attrs["digest"] = np.bytes_(_UNSIGNED)
            file.attrs["format"] = FORMAT
            file.attrs["writer"] = f"respfm {__version__}"
            file.attrs["definition"] = canonical_json(definition)
            file.attrs["units"] = units
            file.attrs["n_mels"] = definition["n_mels"]
            file.attrs["min_seconds"] = min_seconds
            file["offsets"] = offsets
            file["ids"] = _fixed_width(ids)
            file["quarantined_ids"] = _fixed_width(quarantined)
            file["quarantined_reasons"] = _fixed_width(quarantined.values())
            shape = (int(offsets[-1]), definition["n_mels"])
            frames = file.create_dataset("frames", shape, stored, dcpl=_allocated_at_once())
            frames_at = frames.id.get_offset() or 0
        with temporary.open("r+b") as stream:
            stream.seek(frames_at)
            for length, clip in zip(lengths, clips, strict=True):
                if clip.shape != (length, shape[1]):
                    raise ValueError(f"clip of shape {clip.shape} where {(length, shape[1])} was announced")
                stream.write(np.ascontiguousarray(clip, stored).data)
        _sign(temporary)


def read_header(path: str | os.PathLike) -> ShardHeader:
    """Open a shard far enough to know that it is one, of this format and of full length.

    Raises RespfmError naming the file and the cure when it is missing, foreign or truncated.
    """
    path = Path(path)
    if not path.is_file():
        raise RespfmError(f"There is no log-mel shard {path}. Run the workflow's rule cache_logmel to make it.")
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != FORMAT:
                raise RespfmError(f"{path} is not a log-mel shard of this version ({FORMAT}). {CURE}")
            frames = file["frames"]
            return ShardHeader(
                path=path,
                clips=len(file["offsets"]) - 1,
                frames=len(frames),
                n_mels=frames.shape[1],
                dtype=frames.dtype,
                frames_at=frames.id.get_offset() or 0,
                definition=json.loads(file.attrs["definition"]),
            )
    except (OSError, KeyError, ValueError, TypeError, IndexError) as error:
        raise RespfmError(f"{path} is not a whole log-mel shard ({error}). {CURE}") from error


def read_attributes(path: str | os.PathLike) -> dict[str, Any]:
    """All attributes of the file, by name."""
    with h5py.File(path, "r") as file:
        return dict(file.attrs)


def read_offsets(path: str | os.PathLike) -> np.ndarray:
    """First frame of every clip and the end of the last, int64 `[clips + 1]`."""
    with h5py.File(path, "r") as file:
        return file["offsets"][:]


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
    recorded = bytes(read_attributes(path)["digest"])
    if _file_digest(header.path, recorded) != recorded:
        raise RespfmError(f"{path} is damaged: its content does not match its digest. {CURE}")
    return header


def _fixed_width(texts: Iterable[str]) -> np.ndarray:
    encoded = [text.encode() for text in texts]
    width = max(map(len, encoded), default=1) or 1
    return np.array(encoded, dtype=h5py.string_dtype("utf-8", width))


def _sign(path: Path) -> None:
    digest = _file_digest(path, _UNSIGNED)
    with path.open("r+b") as stream:
        stream.seek(stream.read(_BLOCK_BYTES).index(_UNSIGNED))
        stream.write(digest)


def _allocated_at_once() -> h5py.h5p.PropDCID:
    """Give a data set its place in the file, unfilled, when it is made."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    return properties


def _file_digest(path: Path, recorded: bytes) -> bytes:
    """Hexadecimal SHA-256 of the SHA-256s of the file's blocks, the recorded digest read as zeros."""

    def block_digest(start: int) -> bytes:
        with path.open("rb", buffering=0) as stream:
            stream.seek(start)
            block = stream.read(_BLOCK_BYTES)
        return hashlib.sha256(block if start else block.replace(recorded, _UNSIGNED, 1)).digest()

    with ThreadPoolExecutor() as pool:
        digests = pool.map(block_digest, range(0, path.stat().st_size, _BLOCK_BYTES))
        return hashlib.sha256(b"".join(digests)).hexdigest().encode()
