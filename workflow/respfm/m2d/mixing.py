"""Background noise for M2D-X."""

import math

import torch
from torch import Tensor

POWER_FLOOR = 2.0**-23


def mix_background(clean: Tensor, noise: Tensor, mean_clean: float, mean_noise: float, ratio: float) -> Tensor:
    """Add background noise to log-mels: linear in mel power, after aligning the data sets' mean levels.

    `clean` and `noise` are log-mels of one shape, `mean_clean` and `mean_noise` the mean log-mel of their
    data sets, `ratio` the share of the noise's power in [0, 1]. Returns the mixture minus `mean_clean`, still
    to be divided by the standard deviation of the clean data (M2D-X; the clean log-mels need the same
    treatment).
    """
    if not 0 < ratio < 1:
        return noise - mean_noise if ratio >= 1 else clean - mean_clean
    mixed = torch.logaddexp(noise - mean_noise + math.log(ratio), clean - mean_clean + math.log1p(-ratio))
    return mixed.clamp_min(math.log(POWER_FLOOR))
