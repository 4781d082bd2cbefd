"""Linear layer of the transformers, with the fastest fp32 product that PyTorch carries for the processor.

PyTorch multiplies fp32 matrices on x86 with MKL, which does not choose its best code on AMD's processors. oneDNN,
which it carries too and uses for bf16, is faster there at most shapes of M2D, forward and for the gradient of the input
(docs/pretraining.md). Public calls reach it for frozen weights only, so the operator below is the one that PyTorch's
own compiler emits; without it, or on another processor, the layer is that of PyTorch.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CPUINFO = Path("/proc/cpuinfo")
SMALL_WEIGHT = 2**16  # up to this size (512 x 128) MKL is as fast or faster

LIBRARY = torch.library.Library("respfm", "DEF")
LIBRARY.define("linear(Tensor x, Tensor weight, Tensor? bias) -> Tensor")


@torch.library.impl(LIBRARY, "linear", "CPU")
def _multiply(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


@torch.library.register_fake("respfm::linear", lib=LIBRARY)
def _shape(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty(*x.shape[:-1], len(weight))


class _Product(torch.autograd.Function):
    """x [..., in] times weight [out, in] plus bias.

    The weight's gradient stays with MKL, which is no slower there unless the layer has many inputs for few outputs.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.ops.respfm.linear(x, weight, bias)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        rows, inputs = gradient.flatten(0, -2), x.flatten(0, -2)
        narrowing = len(rows) > 0 and weight.shape[1] > 2 * weight.shape[0]
        multiply = torch.ops.respfm.linear if narrowing else F.linear
        return (
            torch.ops.respfm.linear(gradient, weight.t(), None) if ctx.needs_input_grad[0] else None,
            multiply(rows.t(), inputs.t(), None) if ctx.needs_input_grad[1] else None,
            rows.sum(0) if ctx.needs_input_grad[2] else None,
        )


def onednn_is_faster() -> bool:
    """Whether the processor is AMD's, and this PyTorch has the operator."""
    return (
        torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and CPUINFO.is_file()
        and "AuthenticAMD" in CPUINFO.read_text()
    )


ONEDNN_IS_FASTER = onednn_is_faster()


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x [..., in], weight [out, in], bias [out] -> [..., out]."""
    large = ONEDNN_IS_FASTER and x.device.type == "cpu" and weight.numel() > SMALL_WEIGHT
    if large and x.dtype == weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu"):
        return _Product.apply(x, weight, bias)
    return F.linear(x, weight, bias)


class Linear(nn.Linear):
    """nn.Linear by `linear`; the names of its parameters are the same."""

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        return linear(x, self.weight, self.bias)
