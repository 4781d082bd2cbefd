"""The recipe of a pre-training run (what is computed) and the machine settings (how)."""

import dataclasses
from typing import Any

from respfm.errors import RespfmError


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What decides the weights of a run; the defaults are the M2D reference's.

    `model` holds the settings of M2DConfig; `batch_size` counts all ranks and accumulated parts; `base_lr` is for a
    batch of 256; `ema` is the decay of the target at the first and last step; `noise_ratio` the share of background
    noise in power (M2D-X); `log_every` the steps per row of history.csv; `quirks` are those of
    respfm.logmel.mixture.Quirk.
    """

    epochs: int
    batch_size: int
    model: dict[str, Any] = dataclasses.field(default_factory=dict)
    base_lr: float = 3e-4
    min_lr: float = 0.0
    warmup_epochs: float = 20
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)
    clip_norm: float = 3.0
    ema: tuple[float, float] = (0.99995, 0.99999)
    noise_ratio: float = 0.0
    seed: int = 0
    log_every: int = 50
    quirks: tuple[str, ...] = ()

    @classmethod
    def from_run(cls, run: dict[str, Any]) -> "Recipe":
        """Recipe of an entry of `runs` in config/pretraining.yaml; what only describes or links the run is left out."""
        names = {field.name for field in dataclasses.fields(cls)}
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in run.items() if key in names}
        return cls(**values)


@dataclasses.dataclass(frozen=True)
class Machine:
    """How a run is computed on this machine; none of it belongs to the recipe.

    `threads`: CPU threads per rank (None: all cores); `accumulation`: parts into which each rank cuts its share of a
    batch; `compile`: a mode of torch.compile; `activation_checkpointing`: less memory for more work in the backward
    pass; a checkpoint is saved every `save_every_minutes`, and every `save_every_steps` if given.
    """

    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    accumulation: int = 1
    compile: str | None = None
    activation_checkpointing: bool = False
    save_every_minutes: float = 10.0
    save_every_steps: int | None = None

    def check(self, batch_size: int, ranks: int) -> None:
        """Raise RespfmError unless the batch can be cut into equal parts for all ranks, and compiled code can add them.

        CUDA graphs, which two modes of torch.compile use, overwrite the gradients of the part before.
        """
        if self.accumulation > 1 and self.compile in ("reduce-overhead", "max-autotune"):
            raise RespfmError(
                f"compile: {self.compile} and accumulation: {self.accumulation} do not go together; choose compile: "
                "default or max-autotune-no-cudagraphs, or accumulation: 1"
            )
        if batch_size % (ranks * self.accumulation):
            raise RespfmError(
                f"batch_size {batch_size} cannot be cut into {ranks} ranks x {self.accumulation} accumulated "
                "parts; choose numbers whose product divides it"
            )
