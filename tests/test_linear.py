"""The linear layer against PyTorch's, by value, gradient and processor."""

import pytest
import torch
from respfm import linear as module
from respfm.linear import Linear
from torch import nn
from torch.nn import functional as F

needs_operator = pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="this PyTorch was built without oneDNN's linear"
)


@pytest.fixture
def onednn(monkeypatch):
    """oneDNN's product, whatever the processor and the size."""
    monkeypatch.setattr(module, "ONEDNN_IS_FASTER", True)
    monkeypatch.setattr(module, "SMALL_WEIGHT", 0)


def both(x: torch.Tensor, bias: bool = True, outputs: int = 24) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Output and gradients of x, weight and bias by respfm's layer and by PyTorch's, of the same weights."""
    torch.manual_seed(0)
    own = Linear(x.shape[-1], outputs, bias)
    plain = nn.Linear(x.shape[-1], outputs, bias)
    plain.load_state_dict(own.state_dict())
    results = []
    for layer in (own, plain):
        leaf = x.detach().requires_grad_()
        out = layer(leaf)
        (out * torch.linspace(-1, 1, out.numel()).view(out.shape)).sum().backward()
        results.append([out, leaf.grad, *(parameter.grad for parameter in layer.parameters())])
    return results


BATCH = torch.randn(3, 7, 40, generator=torch.Generator().manual_seed(1))


@needs_operator
@pytest.mark.parametrize("outputs", [24, 8], ids=["usual", "narrowing"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "x",
    [BATCH, BATCH[0], BATCH[:, 2:5], BATCH[..., 3:36], BATCH.transpose(0, 1), BATCH[:, :1].expand(3, 5, 40), BATCH[:0]],
    ids=["batch", "matrix", "rows cut out", "columns cut out", "transposed", "expanded", "empty"],
)
def test_values_and_gradients_are_those_of_pytorch(onednn, x, bias, outputs):
    for ours, theirs in zip(*both(x, bias, outputs), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@needs_operator
def test_gradients_nobody_needs_are_not_computed(onednn):
    layer = Linear(40, 24).requires_grad_(False)
    x = BATCH.clone().requires_grad_()
    layer(x).sum().backward()
    assert x.grad is not None
    assert layer.weight.grad is None
    with torch.no_grad():
        assert not layer(x).requires_grad


@needs_operator
def test_the_same_bytes_every_time(onednn):
    first, again = both(BATCH)[0], both(BATCH)[0]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float64])
def test_other_precisions_are_left_to_pytorch(onednn, precision):
    layer, plain = Linear(40, 24), nn.Linear(40, 24)
    plain.load_state_dict(layer.state_dict())
    with torch.autocast("cpu", precision, enabled=precision == torch.bfloat16):
        x = BATCH if precision == torch.bfloat16 else BATCH.double()
        layer, plain = (layer, plain) if precision == torch.bfloat16 else (layer.double(), plain.double())
        ours, theirs = layer(x), plain(x)
    assert ours.dtype == precision
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("vendor", "chosen"), [("AuthenticAMD", True), ("GenuineIntel", False), (None, False)])
def test_only_for_processors_of_amd(tmp_path, monkeypatch, vendor, chosen):
    cpuinfo = tmp_path / "cpuinfo"
    if vendor:
        cpuinfo.write_text(f"processor\t: 0\nvendor_id\t: {vendor}\n")
    monkeypatch.setattr(module, "CPUINFO", cpuinfo)
    assert module.onednn_is_faster() == (chosen and hasattr(torch.ops.mkldnn, "_linear_pointwise"))


@pytest.mark.parametrize(
    ("faster", "features", "used"), [(True, 2048, True), (True, 1024, False), (False, 2048, False)]
)
def test_used_for_large_weights_where_it_is_faster(monkeypatch, faster, features, used):
    monkeypatch.setattr(module, "ONEDNN_IS_FASTER", faster)
    calls = []
    monkeypatch.setattr(module._Product, "apply", lambda *arguments: calls.append(arguments))
    x, layer = torch.randn(3, 64), Linear(64, features)
    result = layer(x)
    assert bool(calls) == used
    assert used or torch.equal(result, F.linear(x, layer.weight, layer.bias))
