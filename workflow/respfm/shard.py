"""File format of one log-mel shard: HDF5 with contiguous frames, so that a crop is one read at a known place.

Datasets: `frames` float16 or float32 `[total_frames, n_mels]`; `offsets` int64 `[n + 1]` (clip i holds the
frames `offsets[i]` to `offsets[i + 1]`); `ids`; `quarantined_ids` and `quarantined_reasons` of recordings
left out. Attributes: `format`, `writer`, `definition` (front end, JSON), `units`, `n_mels`, `min_seconds`,
`digest`. The digest is the SHA-256 of the whole file with the digest itself read as zeros, so that any
changed bit shows."""

import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

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
    """What a reader needs to know of a shard; `frames_at` is the place of the first frame in bytes."""

    path: Path
    clips: int
    frames: int
    n_mels: int
    dtype: np.dtype
    frames_at: int
    definition: dict[str, Any]
    attributes: dict[str, Any]


class ShardWriter:
    """Writes one shard clip by clip; the file appears under its name only when the block ends well.

    Frames go to an unnamed file first, since a contiguous HDF5 dataset must know its length when it is made.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        definition: dict[str, Any],
        units: str,
        dtype: str = "float16",
        min_seconds: float = 0.0,
    ) -> None:
        if dtype not in ("float16", "float32"):
            raise RespfmError(f"A log-mel store holds float16 or float32, not {dtype}; mend `dtype`.")
        self.path, self.definition, self.units = Path(path), definition, units
        self.dtype, self.min_seconds = np.dtype(dtype), min_seconds
        self.lengths: list[int] = []
        self.ids: list[str] = []
        self.quarantined: dict[str, str] = {}

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._spool = tempfile.TemporaryFile(dir=self.path.parent)
        return self

    def append(self, identifier: str, frames: np.ndarray) -> None:
        """Add a clip of log-mel frames `[frames, n_mels]`."""
        self._spool.write(np.ascontiguousarray(frames, dtype=self.dtype).data)
        self.lengths.append(len(frames))
        self.ids.append(identifier)

    def quarantine(self, identifier: str, reason: str) -> None:
        """Note a recording that is left out, and why."""
        self.quarantined[identifier] = reason

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._spool:
            if kind is None:
                with atomic_path(self.path) as temporary:
                    self._write(temporary)
                    _sign(temporary)

    def _write(self, path: Path) -> None:
        n_mels = self.definition["n_mels"]
        offsets = np.concatenate([[0], np.cumsum(self.lengths, dtype=np.int64)]).astype("<i8")
        with h5py.File(path, "w", libver=("earliest", "v110")) as file:
            file.attrs["digest"] = np.bytes_(_UNSIGNED)
            file.attrs["format"] = FORMAT
            file.attrs["writer"] = f"respfm {__version__}"
            file.attrs["definition"] = canonical_json(self.definition)
            file.attrs["units"] = self.units
            file.attrs["n_mels"] = n_mels
            file.attrs["min_seconds"] = self.min_seconds
            file["offsets"] = offsets
            file["ids"] = _fixed_width(self.ids)
            file["quarantined_ids"] = _fixed_width(self.quarantined)
            file["quarantined_reasons"] = _fixed_width(self.quarantined.values())
            frames = file.create_dataset("frames", (int(offsets[-1]), n_mels), self.dtype.newbyteorder("<"))
            rows = max(1, _BLOCK_BYTES // (n_mels * self.dtype.itemsize))
            self._spool.seek(0)
            for start in range(0, len(frames), rows):
                block = np.fromfile(self._spool, self.dtype, min(rows, len(frames) - start) * n_mels)
                frames[start : start + rows] = block.reshape(-1, n_mels)


def read_header(path: str | os.PathLike) -> ShardHeader:
    """Open a shard far enough to know that it is one, of this format and of full length.

    Raises RespfmError naming the file and the cure when it is missing, foreign or truncated.
    """
    path = Path(path)
    if not path.is_file():
        raise RespfmError(
            f"There is no log-mel shard {path}. Run the workflow's rule cache_logmel to make it."
        )
    try:
        with h5py.File(path, "r") as file:
            attributes = dict(file.attrs)
            if attributes.get("format") != FORMAT:
                raise RespfmError(f"{path} is not a log-mel shard of this version ({FORMAT}). {CURE}")
            frames = file["frames"]
            return ShardHeader(
                path=path,
                clips=len(file["offsets"]) - 1,
                frames=len(frames),
                n_mels=frames.shape[1],
                dtype=frames.dtype,
                frames_at=frames.id.get_offset() or 0,
                definition=json.loads(attributes["definition"]),
                attributes=attributes,
            )
    except (OSError, KeyError, ValueError, TypeError, IndexError) as error:
        raise RespfmError(f"{path} is not a whole log-mel shard ({error}). {CURE}") from error


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
    recorded = bytes(header.attributes["digest"])
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


def _file_digest(path: Path, recorded: bytes) -> bytes:
    """SHA-256 in hexadecimal of the file with the recorded digest, in its first block, read as zeros."""
    total = hashlib.sha256()
    with path.open("rb") as stream:
        total.update(stream.read(_BLOCK_BYTES).replace(recorded, _UNSIGNED, 1))
        while block := stream.read(_BLOCK_BYTES):
            total.update(block)
    return total.hexdigest().encode()
