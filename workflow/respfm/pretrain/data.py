"""What a step trains on: epoch order, crops, mask noise and background noise.

Everything random about a sample comes from a counter-based generator keyed by (seed, epoch, sample), so a batch is
the same whoever makes it: any rank, any loader process, before or after an interruption.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch

from respfm.errors import RespfmError
from respfm.logmel.mixture import Quirk, Recordings
from respfm.pretrain import schedule

ORDER, SAMPLE = range(2)


def generator(seed: int, stream: int, epoch: int, sample: int = 0) -> np.random.Generator:
    """Counter-based generator: independent for every (seed, stream, epoch, sample), cheap to make."""
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, sample, epoch, stream]))


def epoch_order(samples: int, seed: int, epoch: int, quirks: Sequence[str] = ()) -> np.ndarray:
    """Permutation of the sample positions for one epoch."""
    return generator(seed, ORDER, 0 if Quirk.SAME_ORDER_EVERY_EPOCH in quirks else epoch).permutation(samples)


@dataclasses.dataclass(frozen=True)
class Batch:
    """One rank's share of a step: raw log-mel crops [b, 1, n_mels, frames] and mask noise [b, patches]."""

    clean: torch.Tensor
    noise: torch.Tensor | None
    mask_noise: torch.Tensor

    def _map(self, function) -> "Batch":
        return Batch(*(None if tensor is None else function(tensor) for tensor in vars(self).values()))

    def pin_memory(self) -> "Batch":
        return self._map(torch.Tensor.pin_memory)

    def split(self, parts: int) -> list["Batch"]:
        """Equal parts, in order."""
        if parts == 1:
            return [self]
        size = len(self.clean) // parts
        return [self._map(lambda tensor, i=i: tensor[i * size : (i + 1) * size]) for i in range(parts)]

    def record_stream(self, stream: torch.cuda.Stream) -> None:
        """Tell the allocator that `stream` uses the tensors."""
        self._map(lambda tensor: tensor.record_stream(stream))

    def to(self, device: torch.device) -> "Batch":
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))


class Batches(torch.utils.data.Dataset):
    """Batch of every step of a run, addressed by step: `batches[step]` is the share of rank `rank` of `ranks`."""

    def __init__(
        self,
        recordings: Recordings,
        background: Recordings | None,
        *,
        batch_size: int,
        frames: int,
        patches: int,
        seed: int,
        quirks: Sequence[str] = (),
        rank: int = 0,
        ranks: int = 1,
    ):
        self.recordings, self.background = recordings, background
        self.batch_size, self.frames, self.patches = batch_size, frames, patches
        self.seed, self.quirks = seed, tuple(quirks)
        self.share = slice(rank * batch_size // ranks, (rank + 1) * batch_size // ranks)
        self.per_epoch = schedule.steps_per_epoch(len(recordings), batch_size)
        if not self.per_epoch:
            raise RespfmError(
                f"the mixture has {len(recordings)} samples, fewer than one batch of {batch_size}; lower "
                "batch_size of the run or raise the repeats of the mixture in config/pretraining.yaml"
            )
        self._order: tuple[int, np.ndarray] | None = None

    def samples(self, step: int) -> np.ndarray:
        """Sample positions of this rank in `step`."""
        epoch, position = divmod(step, self.per_epoch)
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, epoch_order(len(self.recordings), self.seed, epoch, self.quirks)
        return self._order[1][position * self.batch_size : (position + 1) * self.batch_size][self.share]

    def names(self, step: int) -> list[str]:
        """Recordings of this rank in `step`."""
        return [self.recordings.name(sample) for sample in self.samples(step)]

    def __getitem__(self, step: int) -> Batch:
        samples = self.samples(step)
        starts, masks, others, other_starts = [], [], [], []
        for sample in samples:
            rng = generator(self.seed, SAMPLE, step // self.per_epoch, int(sample))
            starts.append(self.recordings.draw(rng, sample, self.frames, self.quirks))
            masks.append(rng.random(self.patches, dtype=np.float32))
            if self.background is not None:
                others.append(int(rng.integers(len(self.background))))
                other_starts.append(self.background.draw(rng, others[-1], self.frames, self.quirks, repeat_short=True))
        clean, noise = self.recordings.read(samples, starts, self.frames, self.quirks), None
        if self.background is not None:
            noise = self.background.read(others, other_starts, self.frames, self.quirks, repeat_short=True)
        return Batch(
            clean=torch.from_numpy(clean)[:, None],
            noise=None if noise is None else torch.from_numpy(noise)[:, None],
            mask_noise=torch.from_numpy(np.stack(masks)),
        )
