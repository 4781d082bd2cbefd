"""Multi-head self-attention of queries, keys and values side by side, with the kernels that are fastest on its device.

PyTorch's fused kernel for CPUs works in small blocks, has a gradient for each of the three and computes the
attention weights again in the backward pass. In fp32, up to LONG tokens, plain products of one recording at a time
are faster there: its weights stay in the cache, and are kept for the backward pass (docs/pretraining.md).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

LONG = 512  # tokens beyond which the fused kernel is as fast, and the weights would fill the memory


def self_attention(qkv: Tensor, heads: int, skip: int = 0) -> Tensor:
    """[B, N, 3*dim], rows of query, key and value, each head by head -> [B, N - skip, dim].

    The first `skip` tokens are attended to, but do not attend.
    """
    on_cpu = qkv.device.type == "cpu"
    if on_cpu and qkv.dtype == torch.float32 and qkv.shape[1] <= LONG and not torch.compiler.is_compiling():
        return _ByRecording.apply(qkv, heads, skip)
    query, key, value = (part.transpose(1, 2) for part in _parts(qkv, heads, skip))
    if on_cpu and (qkv.dtype == torch.bfloat16 or torch.compiler.is_compiling()):
        # The fused kernel takes about three times as long in bf16; compiled code fuses what is between the products.
        mixed = (query * query.shape[-1] ** -0.5 @ key.transpose(-2, -1)).softmax(-1) @ value
    else:
        mixed = F.scaled_dot_product_attention(query, key, value)
    return mixed.transpose(1, 2).flatten(2)


def _parts(qkv: Tensor, heads: int, skip: int) -> tuple[Tensor, Tensor, Tensor]:
    """Query [B, N - skip, heads, head dim], key and value [B, N, heads, head dim]: views."""
    query, key, value = qkv.unflatten(-1, (3, heads, -1)).unbind(2)
    return query[:, skip:], key, value


class _ByRecording(torch.autograd.Function):
    """`self_attention` by batched products over the heads of one recording after the other."""

    @staticmethod
    def forward(ctx, qkv: Tensor, heads: int, skip: int) -> Tensor:
        parts = _parts(qkv, heads, skip)
        batch, queries, _, width = parts[0].shape
        out = qkv.new_empty(parts[0].shape)
        kept = batch if ctx.needs_input_grad[0] else 1
        weights = qkv.new_empty(kept, heads, queries, qkv.shape[1])
        for index in range(batch):
            query, key, value = (part[index].transpose(0, 1) for part in parts)
            weight = weights[index % kept]
            torch.baddbmm(weight, query, key.transpose(1, 2), beta=0, alpha=width**-0.5, out=weight)
            torch.softmax(weight, -1, out=weight)
            out[index] = (weight @ value).transpose(0, 1)
        ctx.save_for_backward(qkv, weights)
        ctx.heads, ctx.skip = heads, skip
        return out.flatten(2)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        qkv, weights = ctx.saved_tensors
        parts = _parts(qkv, ctx.heads, ctx.skip)
        out = torch.empty_like(qkv)
        out[:, : ctx.skip, : qkv.shape[-1] // 3] = 0
        out_parts = _parts(out, ctx.heads, ctx.skip)
        gradient = gradient.unflatten(-1, (ctx.heads, -1))
        scale = gradient.shape[-1] ** -0.5
        for index, weight in enumerate(weights):
            query, key, value = (part[index].transpose(0, 1) for part in parts)
            d_query, d_key, d_value = (part[index] for part in out_parts)
            d_out = gradient[index].transpose(0, 1)
            d_value.copy_((weight.transpose(1, 2) @ d_out).transpose(0, 1))
            d_weight = d_out @ value.transpose(1, 2)
            d_score = torch.ops.aten._softmax_backward_data(d_weight, weight, -1, weight.dtype)
            torch.mul((d_score @ key).transpose(0, 1), scale, out=d_query)
            torch.mul((d_score.transpose(1, 2) @ query).transpose(0, 1), scale, out=d_key)
        return out, None, None
