"""M2D the textbook way: the formulas of the paper written down one after the other, nothing saved, nothing fused."""

import torch
from respfm.m2d import M2D
from torch import Tensor, nn


class TextbookM2D(nn.Module):
    """The networks of an `M2D` with a plain forward pass, AdamW and EMA.

    All tokens pass all layers, attention is written with softmax, tokens are put back into their places, and the
    target network is updated parameter by parameter.
    """

    def __init__(self, networks: M2D):
        super().__init__()
        self.networks = networks.train()
        self.optimiser = torch.optim.AdamW(networks.param_groups(0.05), betas=(0.9, 0.95), fused=False, foreach=False)

    def attend(self, attention: nn.Module, x: Tensor) -> Tensor:
        batch, tokens, dim = x.shape
        qkv = attention.qkv(x).reshape(batch, tokens, 3, attention.heads, dim // attention.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        weights = (query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5).softmax(-1)
        return attention.proj((weights @ value).transpose(1, 2).reshape(batch, tokens, dim))

    def transform(self, blocks: nn.ModuleList, x: Tensor) -> Tensor:
        for block in blocks:
            x = x + self.attend(block.attn, block.norm1(x))
            x = x + block.mlp(block.norm2(x))
        return x

    def loss(self, spectrograms: Tensor, mask_noise: Tensor) -> Tensor:
        """Mean squared distance of normalised predictions and targets, as in eq. 1-3 of the M2D paper."""
        net = self.networks
        batch = len(spectrograms)
        tokens = net.patch_embed.proj(spectrograms).flatten(2).transpose(1, 2) + net.pos_embed[:, 1:]
        order = mask_noise.argsort(1)
        back = order.argsort(1)
        visible, masked = order[:, : net.config.visible], order[:, net.config.visible :]

        def pick(x: Tensor, index: Tensor) -> Tensor:
            return x.gather(1, index[..., None].expand(-1, -1, x.shape[-1]))

        cls = (net.cls_token + net.pos_embed[:, :1]).expand(batch, -1, -1)
        latent = net.norm(self.transform(net.blocks, torch.cat([cls, pick(tokens, visible)], 1)))
        hidden = net.decoder_embed(latent)
        fill = net.mask_token.expand(batch, masked.shape[1], -1)
        grid = pick(torch.cat([hidden[:, 1:], fill], 1), back)
        hidden = torch.cat([hidden[:, :1], grid], 1) + net.decoder_pos_embed
        hidden = net.decoder_pred(net.decoder_norm(self.transform(net.decoder_blocks, hidden)))
        prediction = pick(hidden[:, 1:], masked)
        with torch.no_grad():
            target = torch.cat([cls, pick(tokens, masked)], 1)
            target = net.target_norm(self.transform(net.target_blocks, target))[:, 1:]
            target = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6).sqrt()
        prediction, target = nn.functional.normalize(prediction, dim=-1), nn.functional.normalize(target, dim=-1)
        return (prediction - target).square().sum(-1).mean()

    def step(self, spectrograms: Tensor, mask_noise: Tensor, lr: float, tau: float) -> float:
        """Forward, backward, clip, AdamW, EMA."""
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        self.optimiser.zero_grad()
        loss = self.loss(spectrograms, mask_noise)
        loss.backward()
        nn.utils.clip_grad_norm_(self.networks.parameters(), 3.0, foreach=False)
        self.optimiser.step()
        with torch.no_grad():
            online = [*self.networks.blocks.parameters(), *self.networks.norm.parameters()]
            target = [*self.networks.target_blocks.parameters(), *self.networks.target_norm.parameters()]
            for own, other in zip(target, online, strict=True):
                own.copy_(own * tau + other * (1 - tau))
        return loss.item()
