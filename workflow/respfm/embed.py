"""Clip-level embeddings of every layer for all recordings of a data set, under either protocol.

`published` (facts of the paper's plugin): one 10 s crop at a random start, drawn here from (seed, recording id) so
that it repeats; shorter clips get zeros at the end, which take part in the average. Encoders whose released code hears
something else say so (`published_crop`); those with `fit_statistics` get the statistics of all these recordings.
`strict`: the whole recording in consecutive 10 s windows, averaged by their duration, padding excluded.
"""

import io
import zlib
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from respfm import audio
from respfm.encoders.base import PLUGIN_CROP, Crop
from respfm.errors import RespfmError
from respfm.files import atomic_path

WINDOW_SECONDS = 10
SHORTEST_TAIL_SECONDS = 1
FORMAT = "respfm-embeddings-1"


@dataclass(frozen=True)
class Window:
    """A piece of recording `row`: `samples` float32 padded to its bucket, of which the first `length` are real."""

    row: int
    samples: np.ndarray
    length: int


def published_window(
    row: int, waveform: np.ndarray, rate: int, recording: str, seed: int, crop: Crop = PLUGIN_CROP
) -> Window:
    """The one window of the published protocol; zeros that `crop` appends count as signal."""
    target = len(waveform) if crop.seconds is None else round(crop.seconds * rate)
    if len(waveform) > target:
        start = np.random.default_rng([seed, zlib.crc32(recording.encode())]).integers(len(waveform) - target)
        waveform = waveform[start : start + target]
    if crop.pad:
        return Window(row, np.pad(waveform, (0, target - len(waveform))), target)
    return _bucketed(row, waveform, rate)


def strict_windows(row: int, waveform: np.ndarray, rate: int) -> Iterator[Window]:
    """Consecutive 10 s windows; a last piece under one second is left out."""
    target = WINDOW_SECONDS * rate
    for start in range(0, len(waveform), target):
        piece = waveform[start : start + target]
        if start and len(piece) < SHORTEST_TAIL_SECONDS * rate:
            break
        yield _bucketed(row, piece, rate)


def _bucketed(row: int, piece: np.ndarray, rate: int) -> Window:
    """A window padded to whole seconds, so that many share a batch."""
    return Window(row, np.pad(piece, (0, -len(piece) % rate)), len(piece))


def _waveforms(recordings: pd.DataFrame, root: Path, rate: int, workers: int) -> Iterator[np.ndarray]:
    """Waveforms in the order of `recordings`, decoded and resampled by threads a few clips ahead."""
    with ThreadPoolExecutor(workers) as pool:
        ahead: deque = deque()
        paths = iter(recordings["path"])
        try:
            for path in paths:
                ahead.append(pool.submit(audio.load, root / path, rate))
                if len(ahead) > 4 * workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _batches(windows: Iterable[Window], batch_size: int) -> Iterator[list[Window]]:
    """Batches of windows of one padded length; what is in a batch never changes how a window is padded."""
    buckets: dict[int, list[Window]] = defaultdict(list)
    for window in windows:
        bucket = buckets[len(window.samples)]
        bucket.append(window)
        if len(bucket) == batch_size:
            yield bucket
            buckets[len(window.samples)] = []
    yield from (bucket for _, bucket in sorted(buckets.items()) if bucket)


def embed_dataset(
    encoder: Any,
    recordings: pd.DataFrame,
    root: Path,
    protocol: str,
    out: Path,
    *,
    seed: int = 0,
    batch_size: int = 16,
    workers: int = 2,
    device: str = "cpu",
    attributes: dict[str, Any] | None = None,
    layers: Sequence[str] | None = None,
) -> None:
    """Write the embeddings of `recordings` (columns `id`, `path` relative to `root`) to the HDF5 file `out`.

    Layout: `ids`; one float32 dataset [recordings, dim] per layer under `layers/`; attributes `layers`,
    `default_layer`, `protocol` and those given. `layers` chooses some of the encoder's, by default all. Raises
    RespfmError for a vector that is not finite.
    """
    if protocol not in ("published", "strict"):
        raise RespfmError(f"protocol {protocol!r} is not known; it is 'published' or 'strict'")
    if hasattr(encoder, "to"):
        encoder.to(device)
    rate, count = encoder.sample_rate, len(recordings)
    layers = list(layers or encoder.layers)
    ids = list(recordings["id"])
    crop: Crop = getattr(encoder, "published_crop", PLUGIN_CROP)

    def windows(action: str = "embed") -> Iterator[Window]:
        progress = tqdm(total=count, unit="recording", desc=f"{action} ({protocol})", disable=None)
        for row, waveform in enumerate(_waveforms(recordings, Path(root), rate, workers)):
            if protocol == "published":
                yield published_window(row, waveform, rate, ids[row], seed, crop)
            else:
                yield from strict_windows(row, waveform, rate)
            progress.update()
        progress.close()

    if protocol == "published" and hasattr(encoder, "fit_statistics"):
        pieces = (window.samples[: window.length] for window in windows("statistics"))
        encoder.fit_statistics(torch.from_numpy(piece)[None].to(device) for piece in pieces)
    sums: dict[str, np.ndarray] = {}
    weights = np.zeros(count)
    for batch in _batches(windows(), batch_size):
        rows = np.array([window.row for window in batch])
        lengths = np.array([window.length for window in batch])
        vectors = encoder.embed(
            torch.from_numpy(np.stack([window.samples for window in batch])).to(device),
            None if protocol == "published" and crop.pad else torch.from_numpy(lengths).to(device),
        )
        np.add.at(weights, rows, lengths)
        for layer in layers:
            values = vectors[layer].cpu().numpy()
            if layer not in sums:
                sums[layer] = np.zeros((count, values.shape[1]), np.float32)
            share = lengths[:, None] if protocol == "strict" else np.ones((len(batch), 1))
            np.add.at(sums[layer], rows, (values * share).astype(np.float32))
    divisor = weights if protocol == "strict" else np.ones(count)
    described = {"protocol": protocol, "default_layer": encoder.default_layer, **(attributes or {})}
    _write(out, ids, {layer: sums[layer] / divisor[:, None] for layer in layers}, described)


def read_embeddings(path: Path, layers: Sequence[str]) -> tuple[list[str], dict[str, np.ndarray]]:
    """Recording ids and the vectors [recordings, dim] of `layers` from an embeddings file."""
    with h5py.File(path, "r") as file:
        return list(file["ids"].asstr()[:]), {layer: file[f"layers/{layer}"][:] for layer in layers}


def _write(out: Path, ids: list[str], layers: dict[str, np.ndarray], attributes: dict[str, Any]) -> None:
    image = io.BytesIO()  # HDF5 itself does not always tell, or survive, that the disk is full
    with h5py.File(image, "w") as file:
        file.attrs["format"] = FORMAT
        file.attrs["layers"] = list(layers)
        for key, value in attributes.items():
            file.attrs[key] = value
        file.create_dataset("ids", data=ids, dtype=h5py.string_dtype())
        for layer, values in layers.items():
            bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
            if len(bad):
                raise RespfmError(
                    f"layer {layer} gave values that are not finite for {len(bad)} recordings, first "
                    f"{ids[bad[0]]!r}; check the recording and the checkpoint"
                )
            file.create_dataset(f"layers/{layer}", data=values.astype(np.float32))
    with atomic_path(out) as temporary:
        temporary.write_bytes(image.getbuffer())
