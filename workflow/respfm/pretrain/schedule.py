"""Learning rate and EMA decay per step, as in the M2D reference.

A step is one optimiser update on a whole batch (all ranks and accumulated parts together).
"""

import math


def steps_per_epoch(samples: int, batch_size: int) -> int:
    """Full batches in one epoch; the incomplete last batch is dropped."""
    return samples // batch_size


def peak_lr(base_lr: float, batch_size: int) -> float:
    """Linear scaling rule: `base_lr` is stated for a batch of 256."""
    return base_lr * batch_size / 256


def lr_at(step: int, per_epoch: int, epochs: int, warmup_epochs: float, peak: float, minimum: float = 0.0) -> float:
    """Linear warm-up from exactly 0, then half a cosine down to `minimum`, on fractional epochs."""
    epoch = step // per_epoch + step % per_epoch / per_epoch
    if epoch < warmup_epochs:
        return peak * epoch / warmup_epochs
    progress = (epoch - warmup_epochs) / (epochs - warmup_epochs)
    return minimum + (peak - minimum) * 0.5 * (1.0 + math.cos(math.pi * progress))


def tau_at(step: int, total_steps: int, start: float, end: float) -> float:
    """EMA decay of the target network: a straight line from `start` at the first step to `end` at the end."""
    return start + (end - start) * step / max(total_steps - 1, 1)
