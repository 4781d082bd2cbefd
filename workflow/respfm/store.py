"""Log-mel store: random crops out of any number of shards, each a single read of the frames asked for."""

import bisect
import collections
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from respfm.errors import RespfmError
from respfm.shard import read_attributes, read_header, read_ids, read_offsets, read_quarantined

_OPEN_FILES = 64
_PIECE = 30_000  # values


class LogMelStore:
    """Clips of several shards, numbered through in the order of `paths`.

    Opening reads one small header per shard; offsets and ids follow when first used. The store can be copied
    to worker processes (fork, spawn, pickle) and read in all of them at once: reads carry their own position.
    Raises RespfmError for a shard that is missing, truncated, foreign, or made by another front end.
    """

    def __init__(self, paths: Iterable[str | os.PathLike]) -> None:
        self.shards = [read_header(path) for path in paths]
        if not self.shards:
            raise RespfmError("A log-mel store needs at least one shard; the list of paths is empty")
        first = self.shards[0]
        for shard in self.shards:
            if shard.definition != first.definition:
                raise RespfmError(
                    f"{shard.path} and {first.path} were made by different log-mel front ends. "
                    "Rebuild one of them (rule cache_logmel) with the definition of the other"
                )
        self.definition: dict[str, Any] = first.definition
        self.n_mels = first.n_mels
        self._first_clip = [0, *itertools.accumulate(shard.clips for shard in self.shards)]
        self._offsets: dict[int, np.ndarray] = {}
        self._files: collections.OrderedDict[int, int] = collections.OrderedDict()

    def __len__(self) -> int:
        return self._first_clip[-1]

    @property
    def lengths(self) -> np.ndarray:
        """Frames of every clip, int64 `[clips]`."""
        return np.concatenate([np.diff(self._shard_offsets(shard)) for shard in range(len(self.shards))])

    @property
    def ids(self) -> pd.Index:
        """Recording id of every clip `[clips]`; read each time, so that they do not stay in memory."""
        parts = [pa.array(read_ids(shard.path), pa.binary()).cast(pa.string()) for shard in self.shards]
        return pd.Index(pd.array(pa.chunked_array(parts), dtype="str"))

    def crop(self, index: int, start: int, frames: int) -> np.ndarray:
        """Frames `start` to `start + frames` of clip `index`, float32 `[n_mels, frames]`, and no others."""
        return self._read(*self._place(index, start, frames), frames)

    def crops(self, indices: Iterable[int], starts: Iterable[int], frames: int) -> Iterator[np.ndarray]:
        """Yield the crops of several clips in their order; the disk is told of all before the first is read."""
        places = [self._place(index, start, frames) for index, start in zip(indices, starts, strict=True)]
        if hasattr(os, "posix_fadvise"):
            for shard, first in places:
                position, size = self._bytes(shard, first, frames)
                os.posix_fadvise(self._file(shard), position, size, os.POSIX_FADV_WILLNEED)
        for shard, first in places:
            yield self._read(shard, first, frames)

    def clip(self, index: int) -> np.ndarray:
        """The whole clip `index`, float32 `[n_mels, frames]`."""
        shard, first, end = self._locate(index)
        return self._read(shard, first, end - first)

    def close(self) -> None:
        """Close the files that reading opened; the next read opens them again."""
        while self._files:
            os.close(self._files.popitem()[1])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": collections.OrderedDict()}

    def __del__(self) -> None:
        if hasattr(self, "_files"):
            self.close()

    def _locate(self, index: int) -> tuple[int, int, int]:
        """Shard of clip `index`, its first frame in the shard and the one after its last."""
        if not 0 <= index < len(self):
            raise IndexError(f"clip {index} of a store of {len(self)}")
        shard = bisect.bisect_right(self._first_clip, index) - 1
        offsets, clip = self._shard_offsets(shard), index - self._first_clip[shard]
        return shard, int(offsets[clip]), int(offsets[clip + 1])

    def _place(self, index: int, start: int, frames: int) -> tuple[int, int]:
        """Shard and first frame in it of a crop."""
        shard, first, end = self._locate(index)
        if start < 0 or frames < 0 or first + start + frames > end:
            raise RespfmError(
                f"Clip {index} of {self.shards[shard].path} has {end - first} frames; "
                f"a crop of {frames} from frame {start} reaches outside"
            )
        return shard, first + int(start)

    def _shard_offsets(self, shard: int) -> np.ndarray:
        if shard not in self._offsets:
            self._offsets[shard] = read_offsets(self.shards[shard])
        return self._offsets[shard]

    def _bytes(self, shard: int, first: int, frames: int) -> tuple[int, int]:
        """Place and number of the bytes that hold `frames` frames from frame `first` of a shard."""
        header = self.shards[shard]
        width = header.n_mels * np.dtype(header.dtype).itemsize
        return header.frames_at + first * width, frames * width

    def _read(self, shard: int, first: int, frames: int) -> np.ndarray:
        header = self.shards[shard]
        position, size = self._bytes(shard, first, frames)
        stored = np.empty((frames, header.n_mels), header.dtype)
        if os.preadv(self._file(shard), [stored.data], position) != size:
            raise RespfmError(f"{header.path} ended early while it was read; was it replaced? Open it again")
        return _to_float32(stored).T

    def _file(self, shard: int) -> int:
        if shard in self._files:
            self._files.move_to_end(shard)
        else:
            while len(self._files) >= _OPEN_FILES:
                os.close(self._files.popitem(last=False)[1])
            self._files[shard] = os.open(self.shards[shard].path, os.O_RDONLY | os.O_CLOEXEC)
        return self._files[shard]


def _to_float32(values: np.ndarray) -> np.ndarray:
    """float32 of float16 (or float32) `[frames, n_mels]`, by the processor's own instruction, which numpy does not use.

    The pieces are too small for PyTorch to share them among threads, which costs more than it brings and would make
    a forked process wait for ever for the threads of its parent.
    """
    if values.dtype == np.float32:
        return values
    from torch import from_numpy

    converted = np.empty(values.shape, np.float32)
    frames = _PIECE // values.shape[1]
    for first in range(0, len(values), frames):
        from_numpy(converted[first : first + frames]).copy_(from_numpy(values[first : first + frames]))
    return converted


def describe(paths: Sequence[str | os.PathLike]) -> str:
    """What the shards hold, for people: front end, units, clips, hours, size, quarantined recordings."""
    store = LogMelStore(paths)
    first, attributes = store.shards[0], read_attributes(store.shards[0].path)
    lengths = store.lengths if len(store) else np.zeros(1, np.int64)
    frame_seconds = store.definition["hop_length"] / store.definition["sample_rate"]
    hours = sum(shard.frames for shard in store.shards) * frame_seconds / 3600
    size = sum(Path(shard.path).stat().st_size for shard in store.shards)
    lines = [
        f"shards       {len(store.shards)}",
        f"clips        {len(store)}",
        f"hours        {hours:.2f}",
        f"size         {size / 1e6:.1f} MB, {np.dtype(first.dtype)}",
        f"frames       {lengths.min()} to {lengths.max()} per clip",
        "front end    " + ", ".join(f"{key} {value}" for key, value in store.definition.items()),
        f"units        {attributes['units']}",
        f"writer       {attributes['writer']}, clips padded to {attributes['min_seconds']:g} s",
    ]
    quarantined = [item for shard in store.shards for item in read_quarantined(shard.path).items()]
    lines.append(f"quarantined  {len(quarantined)}")
    lines += [f"  {identifier}: {reason}" for identifier, reason in quarantined]
    return "\n".join(lines)
