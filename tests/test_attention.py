"""Self-attention against PyTorch's fused kernel, by value and gradient, in each of its ways."""

import pytest
import torch
from respfm import attention as module
from respfm.attention import self_attention
from torch import Tensor
from torch.nn import functional as F

HEADS = 4
QKV = torch.randn(3, 40, 3 * HEADS * 16, generator=torch.Generator().manual_seed(0))


def fused(qkv: Tensor, skip: int) -> Tensor:
    query, key, value = (x.unflatten(-1, (HEADS, -1)).transpose(1, 2) for x in qkv.chunk(3, -1))
    return F.scaled_dot_product_attention(query[:, :, skip:], key, value).transpose(1, 2).flatten(2)


def with_gradient(function, qkv: Tensor, *settings: int) -> tuple[Tensor, Tensor]:
    leaf = qkv.detach().clone().requires_grad_()
    out = function(leaf, *settings)
    (out * torch.linspace(-1, 1, out.numel()).view(out.shape)).sum().backward()
    return out, leaf.grad


@pytest.mark.parametrize("skip", [0, 7])
@pytest.mark.parametrize("long", [40, 39], ids=["products", "fused kernel"])
def test_values_and_gradients_are_those_of_the_fused_kernel(monkeypatch, long, skip):
    monkeypatch.setattr(module, "LONG", long)
    for ours, theirs in zip(
        with_gradient(self_attention, QKV, HEADS, skip), with_gradient(fused, QKV, skip), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_the_products_give_the_exact_gradient():
    qkv = QKV[:2, :5, :24].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: module._ByRecording.apply(x, 2, 2), qkv)


@pytest.mark.parametrize("skip", [0, 7])
def test_without_a_gradient_the_values_are_the_same(skip):
    expected, _ = with_gradient(self_attention, QKV, HEADS, skip)
    with torch.no_grad():
        out = self_attention(QKV, HEADS, skip)
    assert torch.equal(out, expected.detach())
    assert not out.requires_grad


def test_the_same_bytes_every_time():
    for first, second in zip(*(with_gradient(self_attention, QKV, HEADS) for _ in range(2)), strict=True):
        assert torch.equal(first, second)


def test_extreme_scores_stay_finite():
    qkv = QKV.clone()
    qkv[0] *= 1000
    for values in with_gradient(self_attention, qkv, HEADS):
        assert values.isfinite().all()


def test_bf16_is_the_fused_kernel_within_its_precision():
    reduced = self_attention(QKV.bfloat16(), HEADS, 7)
    assert reduced.dtype == torch.bfloat16
    torch.testing.assert_close(reduced.float(), fused(QKV, 7), rtol=0.03, atol=0.03)
