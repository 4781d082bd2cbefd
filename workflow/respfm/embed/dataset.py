"""Clip-level embeddings of every layer for all recordings of a data set, under either protocol.

`published` (facts of the paper's plugin): one 10 s crop at a random start, drawn here from (seed, recording id) so
that it repeats; shorter clips get zeros at the end, which take part in the average. Encoders whose released code takes
something else say so (`published_crop`). `strict`: the whole recording in consecutive 10 s windows, averaged by their
duration, without padding.

Encoders with `fit_statistics` normalise their spectrograms by those of the data: of all recordings under `published`,
under `strict` of those in `training` alone.
"""

import contextlib
import io
import logging
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from respfm.device import autocast, choose_precision
from respfm.embed.sums import Sums
from respfm.embed.waveforms import decode_waveforms, read_waveforms
from respfm.encoders.base import PLUGIN_CROP, Crop, Encoder, embed_checked
from respfm.errors import RespfmError
from respfm.files import atomic_path
from respfm.jobs.checkpoints import Checkpointer

WINDOW_SECONDS = 10
SHORTEST_TAIL_SECONDS = 1
WAITING_SECONDS = 1280
"""Sound that may wait in memory for windows of its length; as much as a batch if that is more."""
SAVE_EVERY_MINUTES = 5.0
FORMAT = "respfm-embeddings-1"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Window:
    """A stretch of recording `row` that the network is given at once: float32 [samples], all of which count."""

    row: int
    samples: np.ndarray


@dataclass
class Tally:
    """What went through an encoder: windows in batches, samples of sound, zeros beside shorter windows of a batch."""

    windows: int = 0
    batches: int = 0
    samples: int = 0
    padding: int = 0

    def count(self, batch: Sequence[Window]) -> None:
        """Add a batch."""
        lengths = [len(window.samples) for window in batch]
        self.windows, self.batches = self.windows + len(batch), self.batches + 1
        self.samples += sum(lengths)
        self.padding += max(lengths) * len(lengths) - sum(lengths)


def published_window(
    row: int, waveform: np.ndarray, rate: int, recording: str, seed: int, crop: Crop = PLUGIN_CROP
) -> Window:
    """The one window of the published protocol, with the zeros that `crop` appends."""
    target = len(waveform) if crop.seconds is None else round(crop.seconds * rate)
    if len(waveform) > target:
        start = np.random.default_rng([seed, zlib.crc32(recording.encode())]).integers(len(waveform) - target)
        waveform = waveform[start : start + target]
    return Window(row, np.pad(waveform, (0, target - len(waveform))) if crop.pad else waveform)


def strict_windows(row: int, waveform: np.ndarray, rate: int) -> Iterator[Window]:
    """Consecutive 10 s windows; a last one under one second is left out."""
    target = WINDOW_SECONDS * rate
    for start in range(0, len(waveform), target):
        samples = waveform[start : start + target]
        if start and len(samples) < SHORTEST_TAIL_SECONDS * rate:
            break
        yield Window(row, samples)


def batches(windows: Iterable[Window], batch_size: int, waiting_samples: int) -> Iterator[list[Window]]:
    """Batches of windows of equal length; when memory fills up, those that wait are batched by similar length."""
    buckets: dict[int, list[Window]] = defaultdict(list)
    waiting = 0
    for window in windows:
        length = len(window.samples)
        buckets[length].append(window)
        waiting += length
        if len(buckets[length]) == batch_size:
            waiting -= batch_size * length
            yield buckets.pop(length)
        elif waiting > waiting_samples:
            yield from _neighbours(buckets, batch_size)
            buckets.clear()
            waiting = 0
    yield from _neighbours(buckets, batch_size)


def _neighbours(buckets: dict[int, list[Window]], batch_size: int) -> Iterator[list[Window]]:
    """Batches of windows of the same or similar length."""
    ordered = [window for length in sorted(buckets) for window in buckets[length]]
    for start in range(0, len(ordered), batch_size):
        yield ordered[start : start + batch_size]


def training_recordings(tasks: Iterable[pd.DataFrame]) -> set[str]:
    """Ids that are in the training split of one of `tasks`, and in no other split of any; RespfmError if none are."""
    rows = pd.concat(list(tasks))
    training = rows["split"] == "train"
    ids = set(rows.loc[training, "recording"]) - set(rows.loc[~training, "recording"])
    if not ids:
        raise RespfmError("no recording is in training splits alone; choose `statistics: checkpoint` for this model")
    return ids


def collate(batch: Sequence[Window], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Waveforms [B, samples], zeros at the end of shorter ones, and their lengths [B]."""
    lengths = [len(window.samples) for window in batch]
    waveforms = np.zeros((len(batch), max(lengths)), np.float32)
    for waveform, window in zip(waveforms, batch, strict=True):
        waveform[: len(window.samples)] = window.samples
    return torch.from_numpy(waveforms).to(device), torch.tensor(lengths, device=device)


def embed_dataset(
    encoder: Encoder,
    recordings: pd.DataFrame,
    root: Path,
    protocol: str,
    out: Path,
    *,
    waveforms: Path | None = None,
    training: Collection[str] = (),
    seed: int = 0,
    batch_size: int = 16,
    workers: int = 2,
    device: str | torch.device = "cpu",
    precision: str = "auto",
    attributes: dict[str, Any] | None = None,
    layers: Sequence[str] | None = None,
    checkpoints: Path | None = None,
) -> None:
    """Write the embeddings of `recordings` (columns `id`, `path` relative to `root`) to the HDF5 file `out`.

    `waveforms` names a cache of decoded waveforms (respfm.embed.waveforms). Networks run in `precision` under
    `strict`, in float32 under `published`; spectrograms and what is written are always float32.

    Layout: `ids`; one float32 dataset [recordings, dim] per layer under `layers/`; attributes `layers`,
    `default_layer`, `protocol`, `precision` and those given. `layers` chooses some of the encoder's, by default all.
    With a folder for `checkpoints` a job that is interrupted continues from there, and gives the same bytes.
    Raises RespfmError for a vector that is not finite.
    """
    if protocol not in ("published", "strict"):
        raise RespfmError(f"protocol {protocol!r} is not known; it is 'published' or 'strict'")
    if recordings.empty:
        raise RespfmError(f"{out}: there is no recording to embed; see the quarantine reasons and the data set's pool")
    device = torch.device(device)
    precision = "fp32" if protocol == "published" else choose_precision(precision, device)
    if hasattr(encoder, "to"):
        encoder.to(device)
    rate, ids = encoder.sample_rate, list(recordings["id"])
    layers = list(layers or encoder.layers)
    crop: Crop = getattr(encoder, "published_crop", PLUGIN_CROP)

    def windows(action: str, chosen: pd.DataFrame) -> Iterator[Window]:
        if waveforms:
            decoded = read_waveforms(waveforms, list(chosen["id"]), rate)
        else:
            decoded = decode_waveforms((Path(root) / path for path in chosen["path"]), rate, workers)
        progress = tqdm(decoded, f"{action} ({protocol})", len(chosen), unit="recording", disable=None)
        for row, (recording, waveform) in enumerate(zip(chosen["id"], progress, strict=True)):
            if protocol == "published":
                yield published_window(row, waveform, rate, recording, seed, crop)
            else:
                yield from strict_windows(row, waveform, rate)

    def batched(action: str, chosen: pd.DataFrame) -> Iterator[list[Window]]:
        waiting = max(WAITING_SECONDS, WINDOW_SECONDS * batch_size)
        return batches(windows(action, chosen), batch_size, waiting * rate)

    if hasattr(encoder, "fit_statistics"):
        fitted = recordings if protocol == "published" else recordings[recordings["id"].isin(training)]
        if len(fitted):
            encoder.fit_statistics(
                (collate(batch, device) for batch in batched("statistics", fitted)), plugin=protocol == "published"
            )

    def encode(batch: Sequence[Window]) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        samples, lengths = collate(batch, device)
        with autocast(device, precision):
            counted = None if protocol == "published" and crop.pad else lengths
            vectors = embed_checked(encoder, samples, counted, layers)
        rows = np.array([window.row for window in batch])
        shares = lengths.cpu().numpy() if protocol == "strict" else np.ones(len(batch))
        values = {layer: vectors[layer].float().cpu().numpy() for layer in layers}
        for layer in layers:
            if (bad := ~np.isfinite(values[layer]).all(axis=1)).any():
                raise RespfmError(
                    f"layer {layer} gave values that are not finite for {ids[rows[bad][0]]!r}; check the recording and "
                    "the checkpoint"
                )
        return rows, shares, values

    sums, tally = Sums(len(recordings)), Tally()
    checkpointer = Checkpointer(sums, checkpoints, every_minutes=SAVE_EVERY_MINUTES) if checkpoints else None
    with checkpointer.resumed() if checkpointer else contextlib.nullcontext():
        for number, batch in enumerate(batched("embed", recordings)):
            tally.count(batch)
            if number >= sums.step:
                sums.add(*encode(batch))
            if checkpointer:
                checkpointer.after_step()
    log.info(
        "%d windows of %.1f s on average in %d batches; %.2f %% of the batches is padding, cut off before the network",
        *(tally.windows, tally.samples / rate / tally.windows, tally.batches),
        100 * tally.padding / (tally.samples + tally.padding),
    )
    described = {"protocol": protocol, "precision": precision, "default_layer": encoder.default_layer}
    _write(out, ids, sums.means(), described | (attributes or {}))


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
            file.create_dataset(f"layers/{layer}", data=values.astype(np.float32))
    with atomic_path(out) as temporary:
        temporary.write_bytes(image.getbuffer())
