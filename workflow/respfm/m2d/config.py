"""The one description from which an encoder or a whole pre-training network is built."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from respfm.errors import RespfmError, suggest

M2D_PREDICTOR = {
    "decoder_dim": 512,
    "decoder_depth": 8,
    "decoder_heads": 16,
    "mask_ratio": 0.7,
    "standardise": True,
}
MAE_PREDICTOR = {
    "decoder_dim": 384,
    "decoder_depth": 4,
    "decoder_heads": 6,
    "mask_ratio": 0.75,
    "standardise": False,
}
PREDICTORS = {"m2d": M2D_PREDICTOR, "m2d_x": M2D_PREDICTOR, "msm_mae": MAE_PREDICTOR}
PUBLISHED: Any = None
"""Stands for the published value of the objective."""


@dataclass(frozen=True)
class M2DConfig:
    """Sizes and objective of a network; the defaults are the published ViT-B, 80 x 608 in 16 x 16 patches.

    `input_size` and `patch_size` are (mel bands, frames). `objective` is "m2d", "m2d_x" (M2D with an offline
    predictor of `offline_dim` values per frame, compared with a teacher's features) or "msm_mae" (pixels
    instead of a target network). What is PUBLISHED takes that of the objective. `noisy_student`
    turns the published orientation of M2D-X (clean student, noisy teacher) around. `online_weight` and
    `offline_weight` weigh the losses.
    """

    input_size: tuple[int, int] = (80, 608)
    patch_size: tuple[int, int] = (16, 16)
    dim: int = 768
    depth: int = 12
    heads: int = 12
    mlp_ratio: float = 4.0
    objective: str = "m2d"
    decoder_dim: int = PUBLISHED
    decoder_depth: int = PUBLISHED
    decoder_heads: int = PUBLISHED
    mask_ratio: float = PUBLISHED
    standardise: bool = PUBLISHED
    offline_dim: int = PUBLISHED
    noisy_student: bool = False
    online_weight: float = 1.0
    offline_weight: float = 1.0
    sample_rate: int = 16000

    def __post_init__(self) -> None:
        # Frozen for everybody else; what is filled in here is part of making it.
        vars(self).update(input_size=tuple(self.input_size), patch_size=tuple(self.patch_size))
        if self.objective not in PREDICTORS:
            raise RespfmError(f"objective {self.objective!r} is not known; it is one of {', '.join(PREDICTORS)}")
        if min(*self.patch_size, *self.grid) < 1:
            raise RespfmError(
                f"patch_size {list(self.patch_size)} does not fit into input_size {list(self.input_size)}"
            )
        published: dict[str, Any] = dict(PREDICTORS[self.objective])
        if self.objective == "m2d_x":
            published["offline_dim"] = self.grid[0] * self.dim
        vars(self).update({name: value for name, value in published.items() if getattr(self, name) is PUBLISHED})
        for name, dim, heads in (
            ("dim", self.dim, self.heads),
            ("decoder_dim", self.decoder_dim, self.decoder_heads),
        ):
            if dim % 4 or dim % heads:
                raise RespfmError(f"{name} {dim} must be a multiple of 4 and of its {heads} heads")
        if not 0 < self.visible < self.patches:
            raise RespfmError(f"mask_ratio {self.mask_ratio} leaves {self.visible} of {self.patches} patches visible")

    @property
    def front_end(self) -> dict[str, int]:
        """Arguments of LogMel: windows of 25 ms every 10 ms, mel bands from 50 Hz to half the sample rate."""
        scale = self.sample_rate // 16000
        return {
            "sample_rate": self.sample_rate,
            "n_fft": 400 * scale,
            "hop_length": 160 * scale,
            "n_mels": self.input_size[0],
            "f_min": 50,
            "f_max": 8000 * scale,
        }

    @property
    def grid(self) -> tuple[int, int]:
        """Patch rows (frequency) and columns (time); what remains of `input_size` is dropped."""
        return self.input_size[0] // self.patch_size[0], self.input_size[1] // self.patch_size[1]

    @property
    def patches(self) -> int:
        """Number of patches of one input."""
        return self.grid[0] * self.grid[1]

    @property
    def visible(self) -> int:
        """Number of patches that the student sees."""
        return int(self.patches * (1 - self.mask_ratio))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "M2DConfig":
        """Inverse of `to_dict`; raises RespfmError for an unknown name."""
        known = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                raise RespfmError(f"an M2D network has no setting {name!r}; {suggest(name, known)}")
        fields: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
        return cls(**fields)
