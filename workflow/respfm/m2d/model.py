"""M2D, M2D-X and MSM-MAE: what is needed besides the encoder to pre-train it, and their losses.

Sources: Niizumi et al., "Masked Modeling Duo" (2023, 2024) and "Masked Spectrogram Modeling using Masked
Autoencoders" (2022); constants and parameter names as in the M2D reference implementation.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from respfm.errors import RespfmError
from respfm.m2d import losses
from respfm.m2d.config import M2DConfig
from respfm.m2d.encoder import M2DEncoder
from respfm.m2d.positions import sincos_positions
from respfm.m2d.transformer import NORM_EPSILON, Block, initial_token, initialise, run_blocks


def take_rows(x: Tensor, index: Tensor) -> Tensor:
    """Rows of each batch item: x [B, N, dim], index [B, K] -> [B, K, dim]; no index per value."""
    rows = index + torch.arange(len(x), device=x.device)[:, None] * x.shape[1]
    return x.flatten(0, 1).index_select(0, rows.flatten()).unflatten(0, index.shape)


class Prediction(NamedTuple):
    """One forward pass. All tokens are in the shuffled order `order` [B, patches], visible ones first.

    `latent` [B, 1 + visible, dim] is the student's output with the class token, `prediction` and `target`
    [B, masked, values] belong to the masked patches.
    """

    latent: Tensor
    prediction: Tensor
    target: Tensor
    order: Tensor


class M2D(M2DEncoder):
    """Student encoder, predictor and, by objective, target network and offline predictor.

    A transformer does not see the order of its tokens, so all of them stay in the shuffled order of the mask
    with their position entries shuffled alike: visible and masked tokens are slices, and nothing is scattered
    back.
    """

    def __init__(self, config: M2DConfig) -> None:
        super().__init__(config)
        width = config.decoder_dim
        predicts_pixels = config.objective == "msm_mae"
        self.mask_token = initial_token(width)
        self.decoder_pos_embed = nn.Parameter(sincos_positions(width, config.grid), requires_grad=False)
        self.decoder_embed = nn.Linear(config.dim, width)
        self.decoder_blocks = nn.ModuleList(
            Block(width, config.decoder_heads, config.mlp_ratio) for _ in range(config.decoder_depth)
        )
        self.decoder_norm = nn.LayerNorm(width, eps=NORM_EPSILON)
        self.decoder_pred = nn.Linear(
            width, config.patch_size[0] * config.patch_size[1] if predicts_pixels else config.dim
        )
        added = [self.decoder_embed, self.decoder_blocks, self.decoder_pred]
        if not predicts_pixels:
            self.target_blocks = nn.ModuleList(
                Block(config.dim, config.heads, config.mlp_ratio) for _ in range(config.depth)
            ).requires_grad_(False)
            self.target_norm = nn.LayerNorm(config.dim, eps=NORM_EPSILON).requires_grad_(False)
            added.append(self.target_blocks)
        if config.objective == "m2d_x":
            self.offline_predictor = nn.Linear(config.grid[0] * config.dim, config.offline_dim)
            added.append(self.offline_predictor)
        for module in added:
            module.apply(initialise)
        self.activation_checkpointing = False

    def loss(
        self,
        clean: Tensor,
        mixed: Tensor | None = None,
        mask_noise: Tensor | None = None,
        teacher: M2DEncoder | Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Losses of a batch of normalised log-mels [B, 1, mels, frames], each a scalar.

        Without `noisy_student`, `clean` goes to the student and `mixed` (if any) to the teacher, as in the
        released M2D-X code; with it the other way round. `mask_noise` [B, patches] fixes the mask: the lowest
        values stay visible. `teacher` (M2D-X) is a frozen encoder or its features [B, T, offline_dim].
        Returns `loss` (the weighted sum), `online`, `offline` (0 unless M2D-X) and `target_std` (`losses.spread`).
        """
        mixed = clean if mixed is None else mixed
        student_input, teacher_input = (mixed, clean) if self.config.noisy_student else (clean, mixed)
        result = self.predict(student_input, mask_noise)
        target = losses.standardise(result.target) if self.config.standardise else result.target
        if self.config.objective == "msm_mae":
            online = nn.functional.mse_loss(result.prediction.float(), target)
        else:
            online = losses.cosine_loss(result.prediction, target)
        offline = torch.zeros_like(online)
        if self.config.objective == "m2d_x":
            offline = self._offline_loss(result, teacher_input, teacher)
        total = self.config.online_weight * online + self.config.offline_weight * offline
        return {"loss": total, "online": online, "offline": offline, "target_std": losses.spread(target)}

    forward = loss

    def predict(self, spectrograms: Tensor, mask_noise: Tensor | None = None) -> Prediction:
        """Student, predictor and target for normalised log-mels [B, 1, mels, frames]; the mask is as in `loss`."""
        if spectrograms.shape[-2:] != self.config.input_size:
            raise RespfmError(f"log-mels of {tuple(spectrograms.shape[-2:])}, the model takes {self.config.input_size}")
        patches = self.patch_embed.cut(spectrograms)
        if mask_noise is None:
            mask_noise = torch.rand(patches.shape[:2], device=patches.device)
        order = mask_noise.argsort(dim=1)
        visible = self.config.visible
        patches = take_rows(patches, order)
        tokens = self._embed(patches[:, :visible], order[:, :visible])
        latent = self.norm(run_blocks(self.blocks, tokens, activation_checkpointing=self.activation_checkpointing))
        prediction = self._predict_masked(latent, order)
        if self.config.objective == "msm_mae":
            return Prediction(latent, prediction, patches[:, visible:], order)
        with torch.no_grad():
            tokens = self._embed(patches[:, visible:], order[:, visible:])
            target = self.target_norm(run_blocks(self.target_blocks, tokens, skip=1))
        return Prediction(latent, prediction, target, order)

    def _embed(self, patches: Tensor, order: Tensor) -> Tensor:
        tokens = self.patch_embed(patches) + self.pos_embed[0, 1:][order]
        return torch.cat([(self.cls_token + self.pos_embed[:, :1]).expand(len(tokens), -1, -1), tokens], dim=1)

    def _predict_masked(self, latent: Tensor, order: Tensor) -> Tensor:
        positions = self.decoder_pos_embed[0, 1:][order]
        known = self.decoder_embed(latent)
        hidden = self.mask_token.expand(len(latent), order.shape[1] - self.config.visible, -1)
        cls, known = known[:, :1] + self.decoder_pos_embed[:, :1], known[:, 1:]
        tokens = torch.cat([cls, torch.cat([known, hidden.to(known.dtype)], dim=1) + positions], dim=1)
        tokens = run_blocks(self.decoder_blocks, tokens, 1 + self.config.visible, self.activation_checkpointing)
        return self.decoder_pred(self.decoder_norm(tokens))

    def _offline_loss(self, result: Prediction, teacher_input: Tensor, teacher: M2DEncoder | Tensor | None) -> Tensor:
        if teacher is None:
            raise RespfmError("objective m2d_x needs a teacher: give an encoder checkpoint or its features")
        if isinstance(teacher, nn.Module):
            with torch.no_grad():
                teacher = teacher.frame_features(teacher_input)
        tokens = torch.cat([result.latent[:, 1:].to(result.prediction.dtype), result.prediction], dim=1)
        frames = self.to_frames(take_rows(tokens, result.order.argsort(dim=1)))
        predicted = self.offline_predictor(frames)
        if predicted.shape != teacher.shape:
            raise RespfmError(
                f"the teacher's features are {list(teacher.shape)}, the offline predictor gives "
                f"{list(predicted.shape)}; use a teacher with the same patches, or set offline_dim"
            )
        return losses.cosine_loss(predicted, losses.standardise(teacher.float()))

    @torch.no_grad()
    def ema_update(self, tau: float) -> None:
        """Move the target network towards the student, in place: w <- tau * w + (1 - tau) * student."""
        if self.config.objective != "msm_mae":
            target = [*self.target_blocks.parameters(), *self.target_norm.parameters()]
            online = [*self.blocks.parameters(), *self.norm.parameters()]
            torch._foreach_lerp_(target, online, 1 - tau)

    def param_groups(self, weight_decay: float) -> list[dict]:
        """Optimiser groups of all trained parameters; biases and those of at most one dimension do not decay."""
        trained = [(name, p) for name, p in self.named_parameters() if p.requires_grad]
        plain = [p for name, p in trained if p.ndim <= 1 or name.endswith(".bias")]
        decayed = [p for name, p in trained if not (p.ndim <= 1 or name.endswith(".bias"))]
        return [{"params": plain, "weight_decay": 0.0}, {"params": decayed, "weight_decay": weight_decay}]
