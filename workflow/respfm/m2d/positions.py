"""Fixed two-dimensional sine-cosine position tables of the patch grid (as in the M2D reference)."""

import torch
from torch import Tensor
from torch.nn import functional as F


def _sincos(positions: Tensor, dim: int) -> Tensor:
    frequencies = 10000.0 ** (-torch.arange(dim // 2, dtype=torch.float64, device="cpu") / (dim // 2))
    angles = positions.double()[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def sincos_positions(dim: int, grid: tuple[int, int]) -> Tensor:
    """Table [1, 1 + F*T, dim] for a grid of F rows and T columns, row by row; the class token's entry is
    zero.

    The first half of `dim` encodes the column (time), the second the row (frequency).
    """
    frequency, time = torch.meshgrid(*(torch.arange(n, device="cpu") for n in grid), indexing="ij")
    table = torch.cat([_sincos(time.flatten(), dim // 2), _sincos(frequency.flatten(), dim // 2)], dim=1)
    return torch.cat([torch.zeros_like(table[:1]), table])[None].float()


def fit_columns(table: Tensor, grid: tuple[int, int], columns: int) -> Tensor:
    """The table [1, 1 + F*T, dim] of `grid` for another number of time columns.

    Fewer columns keep the first ones; more are interpolated bicubically, as the M2D reference does for long
    inputs.
    """
    rows, old = grid
    if columns == old:
        return table
    cells = table[:, 1:].unflatten(1, grid)
    if columns < old:
        cells = cells[:, :, :columns]
    else:
        image = cells.permute(0, 3, 1, 2)
        cells = F.interpolate(image, (rows, columns), mode="bicubic", align_corners=False).permute(0, 2, 3, 1)
    return torch.cat([table[:, :1], cells.flatten(1, 2)], dim=1)
