"""Time and memory on a device."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from paragon_engine import devices
from paragon_engine.benchmark.memory import peak_bytes
from paragon_engine.devices import full_precision


def synchronize(device: torch.device) -> None:
    """Wait until a device has done everything."""
    module: Any = getattr(torch, device.type, None)
    if device.type != "cpu" and hasattr(module, "synchronize"):
        module.synchronize()


def timed(call: Callable[[], object], device: torch.device, *, seconds: float = 0.6, most: int = 30) -> dict[str, Any]:
    """Milliseconds of a call: by the clock until the device is done, and on CUDA between two events of the device."""
    for _ in range(2):
        call()
    synchronize(device)
    walls: list[float] = []
    events: list[float] = []
    until = time.perf_counter() + seconds
    while len(walls) < 3 or (time.perf_counter() < until and len(walls) < most):
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(2)] if device.type == "cuda" else []
        synchronize(device)
        began = time.perf_counter()
        if marks:
            marks[0].record()
        call()
        if marks:
            marks[1].record()
        synchronize(device)
        walls.append(1000 * (time.perf_counter() - began))
        if marks:
            events.append(marks[0].elapsed_time(marks[1]))
    found: dict[str, Any] = {"wall_ms": round(statistics.median(walls), 3), "runs": len(walls)}
    return found | ({"device_ms": round(statistics.median(events), 3)} if events else {})


def launches(call: Callable[[], object]) -> int | None:
    """Kernels that a call starts on CUDA; None where the profiler cannot tell."""
    from torch.profiler import ProfilerActivity, profile

    try:
        with profile(activities=[ProfilerActivity.CUDA]) as seen:
            call()
            torch.cuda.synchronize()
        events: Any = seen.events() or []
        return sum("Memcpy" not in event.name and "Memset" not in event.name for event in events)
    except (RuntimeError, AssertionError):
        return None


def peak(call: Callable[[], object], device: torch.device) -> dict[str, int | None]:
    """Bytes that a call took at the peak, beyond what was there: by PyTorch's tensors, and by its allocator."""
    if device.type != "cuda":
        return {"allocated": peak_bytes(call, device)}
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before, reserved = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    call()
    torch.cuda.synchronize()
    return {
        "allocated": torch.cuda.max_memory_allocated() - before,
        "reserved": torch.cuda.max_memory_reserved() - reserved,
    }


@contextmanager
def tensor_float(on: bool, device: torch.device) -> Generator[None]:
    """Let NVIDIA's matrix units round FP32 to TF32, or not."""
    if not on:
        with full_precision(device):
            yield
        return
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    with mock.patch.object(devices, "full_precision", nullcontext):  # which every run of ours asks for
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def smooth(height: int, width: int, seed: int = 0) -> Tensor:
    """Ramps with noise, ``(1, 3, height, width)`` in 0..1, on the CPU."""
    generator = torch.Generator().manual_seed(seed)
    ramp = torch.linspace(0, 0.6, height)[:, None] + torch.linspace(0, 0.2, width)
    return ramp + 0.2 * torch.rand(1, 3, height, width, generator=generator)
