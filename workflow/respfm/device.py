"""Every device specific in one place: choice of device and precision, fused kernels, transfers, memory, peak rates."""

import contextlib
import os
import re
import resource
import shutil
import time
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn

from respfm.errors import RespfmError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# Dense matrix-multiply peaks in FLOP/s from the vendors' data sheets, for model FLOPs utilisation.
PEAK_FLOPS = {
    "H200": {"bf16": 989e12, "fp16": 989e12, "fp32": 67e12},
    "H100 PCIe": {"bf16": 756e12, "fp16": 756e12, "fp32": 51e12},
    "H100": {"bf16": 989e12, "fp16": 989e12, "fp32": 67e12},
    "A100": {"bf16": 312e12, "fp16": 312e12, "fp32": 19.5e12},
    "L40S": {"bf16": 362e12, "fp16": 362e12, "fp32": 91.6e12},
    "V100": {"fp16": 125e12, "fp32": 15.7e12},
}


def choose_device(name: str = "auto") -> torch.device:
    """The CUDA device of this local rank if there is one and `name` is `auto`, else the CPU; or as named.

    On CUDA, fp32 convolutions are in fp32 (by default cuDNN rounds their inputs to TF32, which the spectrogram of
    OpenL3 shows) and by the same algorithm each time.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise RespfmError(f"device {name!r} is not known; it is auto, cpu, cuda or cuda:<number>")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda"):
        if not torch.cuda.is_available():
            raise RespfmError(f"device {name} was asked for, but there is no usable GPU; set it to auto or cpu")
        device = torch.device(name if ":" in name else f"cuda:{os.environ.get('LOCAL_RANK', 0)}")
        torch.cuda.set_device(device)
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.deterministic = True
        return device
    return torch.device(name)


def choose_precision(name: str, device: torch.device) -> str:
    """`auto`: bf16 on GPUs that have it, fp16 on older ones, fp32 on the CPU."""
    if name != "auto":
        return name
    if device.type != "cuda":
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager:
    """Autocast context of a precision name; does nothing for fp32."""
    return torch.autocast(device.type, DTYPES[precision], enabled=precision != "fp32")


def adamw(groups: Iterable[dict[str, Any]], betas: tuple[float, float], device: torch.device) -> torch.optim.AdamW:
    """AdamW with the fused kernel; the learning rate is set at every step."""
    return torch.optim.AdamW(groups, lr=0.0, betas=betas, eps=1e-8, fused=device.type in ("cuda", "cpu"))


def clip_gradients(parameters: list[nn.Parameter], max_norm: float) -> torch.Tensor:
    """Scale the gradients down to `max_norm` in all; returns their norm before.

    On CUDA the test would wait for the device, so gradients are always scaled; on a CPU only near the limit.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = nn.utils.get_total_norm(gradients, foreach=True)
    if norm.device.type != "cpu" or not norm < 0.99 * max_norm:
        nn.utils.clip_grads_with_norm_(parameters, max_norm, norm, foreach=True)
    return norm


def compiled(network: nn.Module, mode: str, device: torch.device) -> nn.Module:
    """The network through torch.compile in a mode of that; on a CPU RespfmError without the C++ compiler it needs."""
    compiler = os.environ.get("CXX", "g++")
    if device.type == "cpu" and shutil.which(compiler) is None:
        raise RespfmError(f"machine.compile needs the C++ compiler {compiler}; install it or leave the setting out")
    return torch.compile(network, mode=mode)


def prefetch(batches: Iterable[Any], device: torch.device) -> Iterator[Any]:
    """Batches on the device. On CUDA the next is copied on a side stream while the current one is used."""
    if device.type != "cuda":
        yield from batches
        return
    stream = torch.cuda.Stream(device)
    iterator, ready = iter(batches), None
    for batch in iterator:
        with torch.cuda.stream(stream):
            following = batch.to(device)
        if ready is not None:
            yield ready
        torch.cuda.current_stream(device).wait_stream(stream)
        following.record_stream(torch.cuda.current_stream(device))
        ready = following
    if ready is not None:
        yield ready


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what was queued."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(device: torch.device) -> int:
    """Highest memory use so far in bytes: allocated on the GPU, or resident in this process on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measured_gemm_flops(device: torch.device, precision: str, size: int = 1536, repeats: int = 3) -> float:
    """FLOP/s of square matrix products of this size, the best of `repeats`."""
    a = torch.randn(size, size, device=device, dtype=DTYPES[precision])
    times = []
    for _ in range(repeats + 1):
        synchronize(device)
        start = time.perf_counter()
        a @ a
        synchronize(device)
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times[1:])


def peak_flops(device: torch.device, precision: str) -> tuple[float, str]:
    """Peak matrix-multiply rate in FLOP/s and where the figure comes from (data sheet, or measured here)."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        for model, rates in PEAK_FLOPS.items():
            if model in name and precision in rates:
                return rates[precision], f"data sheet of {model}"
    size = 8192 if device.type == "cuda" else 1536
    return measured_gemm_flops(device, precision, size), f"measured, {size} x {size} matrix product"
