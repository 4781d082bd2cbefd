"""One update of the network: normalise, mix, loss, backward, clip, AdamW, EMA. Nothing here waits for the device."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from respfm import device as devices
from respfm.m2d import M2D, M2DConfig, initialise_from, load_checkpoint
from respfm.m2d.mixing import mix_background
from respfm.pretrain.data import Batch
from respfm.pretrain.settings import Machine, Recipe

METRICS = ("loss", "online", "offline", "target_std", "grad_norm")


class Learner:
    """Network, optimiser and gradient scaler of one rank.

    `statistics` and `background_statistics` hold mean and std of the raw log-mel values; `init_from` is a checkpoint
    whose weights the network takes over (`report` says which), `teacher` the encoder of the offline loss.
    """

    def __init__(
        self,
        recipe: Recipe,
        machine: Machine,
        device: torch.device,
        statistics: dict[str, float],
        background_statistics: dict[str, float] | None = None,
        init_from: Path | None = None,
        teacher: Path | None = None,
    ):
        self.recipe, self.device, self.parts = recipe, device, machine.accumulation
        self.precision = devices.choose_precision(machine.precision, device)
        self.mean, self.std = statistics["mean"], statistics["std"]
        self.background_mean = background_statistics["mean"] if background_statistics else 0.0

        torch.manual_seed(recipe.seed)
        self.model = M2D(M2DConfig.from_dict(recipe.model))
        self.report = initialise_from(self.model, Path(init_from)) if init_from else "from scratch"
        self.model.norm_stats.data = torch.tensor([self.mean, self.std])
        self.model.activation_checkpointing = machine.activation_checkpointing
        self.model.to(device).train()
        self.teacher = load_checkpoint(teacher, encoder_only=True).requires_grad_(False).to(device) if teacher else None
        self.optimiser = devices.adamw(self.model.param_groups(recipe.weight_decay), recipe.betas, device)
        self.parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == "fp16")
        self.network: nn.Module = self.model
        self.parallel: DistributedDataParallel | None = None
        if torch.distributed.is_initialized():
            ids = [device.index] if device.type == "cuda" else None
            self.network = self.parallel = DistributedDataParallel(self.model, ids, gradient_as_bucket_view=True)
        if machine.compile:
            self.network = devices.compiled(self.network, machine.compile, device)
        if self.parallel:
            self._settle_buckets()

    def _inputs(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Normalised clean and mixed log-mels."""
        clean = (batch.clean - self.mean) / self.std
        if batch.noise is None:
            return clean, None
        mixed = mix_background(batch.clean, batch.noise, self.mean, self.background_mean, self.recipe.noise_ratio)
        return clean, mixed / self.std

    def _losses(self, part: Batch) -> dict[str, Tensor]:
        clean, mixed = self._inputs(part)
        with devices.autocast(self.device, self.precision):
            return self.network(clean, mixed, part.mask_noise, self.teacher)

    def _settle_buckets(self) -> None:
        """Run one step on zeros: DDP rebuilds its buckets after the first step, which changes the order of its sums.

        So all steps of a run add in the same order, those after an interruption too.
        """
        config = self.model.config
        size = self.recipe.batch_size // torch.distributed.get_world_size() // self.parts
        clean = torch.zeros(size, 1, *config.input_size, device=self.device)
        noise = torch.zeros_like(clean) if self.recipe.noise_ratio else None
        part = Batch(clean, noise, torch.zeros(size, config.patches, device=self.device))
        self._losses(part)["loss"].backward()
        self.optimiser.zero_grad(set_to_none=True)

    def update(self, batch: Batch, lr: float, tau: float) -> Tensor:
        """Train on a batch; returns METRICS as a tensor on the device."""
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        metrics = torch.zeros(len(METRICS), device=self.device)
        parts = batch.split(self.parts)
        for number, part in enumerate(parts, start=1):
            if self.parallel:
                self.parallel.require_backward_grad_sync = number == len(parts)
            losses = self._losses(part)
            self.scaler.scale(losses["loss"] / len(parts)).backward()
            metrics[:4] += torch.stack([losses[name].detach().float() for name in METRICS[:4]]) / len(parts)
        self.scaler.unscale_(self.optimiser)
        metrics[4] = devices.clip_gradients(self.parameters, self.recipe.clip_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.optimiser.zero_grad(set_to_none=True)
        self.model.ema_update(tau)
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next update depends on."""
        return {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        if state["scaler"]:  # empty after bf16 or fp32, which another machine may have used
            self.scaler.load_state_dict(state["scaler"])
