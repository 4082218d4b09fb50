"""Peak memory of one call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from ..heap import trim

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_bytes(call: Callable[[], object], device: torch.device) -> int | None:
    """Bytes that a call takes at its peak, beyond what was in use before it; None where the system does not say.

    On CUDA from PyTorch's allocator, elsewhere from the kernel's own high-water mark of the process (Linux).
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    trim()
    try:
        _RESET.write_text("5", encoding="ascii")
        before = _read("VmRSS")
    except OSError:
        call()
        return None
    call()
    return max(0, _read("VmHWM") - before)


def _read(field: str) -> int:
    lines = _STATUS.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))
