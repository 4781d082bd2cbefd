"""The recordings of a mixture inside their log-mel stores, and random crops of them."""

import dataclasses
import enum
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from respfm.errors import RespfmError
from respfm.logmel.frontend import EPSILON
from respfm.store import LogMelStore

SILENCE = float(np.log(EPSILON))  # log-mel of digital silence


class Quirk(enum.StrEnum):
    """Published behaviour of the M2D reference that a run may ask for by name; the strict protocol has none of it."""

    LAST_CROP_NEVER_DRAWN = enum.auto()
    LOUD_PADDING = enum.auto()  # short recordings are padded with log-mel 0.0 instead of silence
    SAME_ORDER_EVERY_EPOCH = enum.auto()  # as its single-process runs have it


def crop_start(rng: np.random.Generator, length: int, frames: int, quirks: Sequence[str] = ()) -> int:
    """Uniform start of a crop of `frames` out of `length` frames; 0 for recordings that are not longer."""
    starts = length - frames + (Quirk.LAST_CROP_NEVER_DRAWN not in quirks)
    return int(rng.integers(starts)) if starts > 1 else 0


@dataclasses.dataclass(frozen=True)
class Recordings:
    """The recordings of a mixture inside their stores; repeats cost four bytes each.

    `stores[row_store[r]]` holds row r at index `row_index[r]`; sample s stands for row `row_of_sample[s]`.
    """

    stores: list[LogMelStore]
    rows: pd.DataFrame
    row_store: np.ndarray
    row_index: np.ndarray
    row_length: np.ndarray
    row_repeats: np.ndarray
    row_of_sample: np.ndarray
    missing: list[str]

    @classmethod
    def open(cls, mixture: pd.DataFrame, shards: dict[str, list[Path]]) -> "Recordings":
        """Locate every row of `mixture` (recording, dataset, repeats) in the log-mel shards of its data set.

        Rows that the stores lack (put aside while caching) are left out and listed in `missing`. Raises RespfmError
        if a data set has no shards or nothing is left.
        """
        row_store, row_index, row_length = (np.full(len(mixture), -1, np.int32) for _ in range(3))
        stores: list[LogMelStore] = []
        for dataset, members in mixture.groupby("dataset", sort=True).indices.items():
            if not shards.get(dataset):
                raise RespfmError(
                    f"the mixture uses {dataset}, but no log-mel shards of it were given; cache them first"
                )
            store = LogMelStore(shards[dataset])
            row_store[members] = len(stores)
            row_index[members] = pd.Index(store.ids).get_indexer(mixture["recording"].to_numpy()[members])
            row_length[members] = store.lengths[row_index[members]]
            stores.append(store)
        found = row_index >= 0
        absent = mixture[~found]
        repeats = mixture["repeats"].to_numpy()[found]
        if not repeats.sum():
            raise RespfmError(
                f"the mixture is empty: none of its {len(mixture)} recordings is in the log-mel store; check its "
                "parts in config/pretraining.yaml and the recordings tables"
            )
        return cls(
            stores=stores,
            rows=mixture.loc[found, ["dataset", "recording"]],
            row_store=row_store[found],
            row_index=row_index[found],
            row_length=row_length[found],
            row_repeats=repeats,
            row_of_sample=np.repeat(np.arange(found.sum(), dtype=np.int32), repeats),
            missing=[f"{dataset}/{name}" for dataset, name in zip(absent["dataset"], absent["recording"], strict=True)],
        )

    def __len__(self) -> int:
        return len(self.row_of_sample)

    def name(self, sample: int) -> str:
        """`dataset/recording` of a sample position."""
        return "/".join(self.rows.iloc[self.row_of_sample[sample]])

    def draw(
        self, rng: np.random.Generator, sample: int, frames: int, quirks: Sequence[str] = (), repeat_short: bool = False
    ) -> int:
        """First frame of a random crop of a sample; see `read` for `repeat_short`."""
        length = int(self.row_length[self.row_of_sample[sample]])
        return crop_start(rng, length * _copies(length, frames) if repeat_short else length, frames, quirks)

    def read(
        self,
        samples: Sequence[int],
        starts: Sequence[int],
        frames: int,
        quirks: Sequence[str] = (),
        repeat_short: bool = False,
    ) -> np.ndarray:
        """Crops `[samples, n_mels, frames]` that begin at `starts`.

        A shorter recording is padded at the end with silence, or, with `repeat_short`, doubled in time until it is
        long enough (background noise in the M2D reference).
        """
        rows, starts = self.row_of_sample[samples], np.asarray(starts)
        crops = np.empty((len(rows), self.stores[0].n_mels, frames), np.float32)
        long = self.row_length[rows] >= frames
        for number, store in enumerate(self.stores):
            chosen = np.flatnonzero(long & (self.row_store[rows] == number))
            for place, crop in zip(
                chosen, store.crops(self.row_index[rows[chosen]], starts[chosen], frames), strict=True
            ):
                crops[place] = crop
        for place in np.flatnonzero(~long):
            clip = self.stores[self.row_store[rows[place]]].clip(self.row_index[rows[place]])
            length = clip.shape[1]
            if repeat_short:
                crops[place] = np.tile(clip, _copies(length, frames))[:, starts[place] :][:, :frames]
            else:
                crops[place, :, :length] = clip
                crops[place, :, length:] = 0.0 if Quirk.LOUD_PADDING in quirks else SILENCE
        return crops


def _copies(length: int, frames: int) -> int:
    """How often a recording is repeated when it is doubled until it has `frames` frames."""
    return 2 ** max(0, int(np.ceil(np.log2(frames / length))))
