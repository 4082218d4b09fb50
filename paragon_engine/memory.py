"""How much memory a run would need, and how much there is: the estimate behind ``tile="auto"``."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor, nn

FALLBACK_FREE = 4 * 2**30
"""Bytes assumed to be free where the system does not say."""
USABLE = 0.6
"""Share of the free memory that a run may plan with."""


def free_memory(device: torch.device) -> int:
    """Bytes that can be allocated on a device now; on the CPU without driving the machine into swap."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (OSError, ValueError, AttributeError):  # neither Linux nor POSIX
        return FALLBACK_FREE


def feature_width(model: nn.Module) -> int:
    """Channels of the feature maps: the widest convolution that is wide on both of its sides."""
    return max((min(p.shape[:2]) for p in model.parameters() if p.ndim == 4), default=3)


def estimate_peak(model: nn.Module, x: Tensor, *, scale: int, window: int | None = None) -> int:
    """Bytes that an untiled run on ``x`` (N, C, H, W) needs at its peak, roughly and rather too many.

    Counted in feature maps: ten at input size (an expansion to four times the width, its activation, a skip) and
    three at output size (before and after the pixel shuffle, and the input of the last convolution), plus the
    attention weights of windows where there are any.
    """
    pixels = x.shape[0] * x.shape[-2] * x.shape[-1]
    values = feature_width(model) * (10 + 3 * scale**2) + 6 * scale**2
    if window is not None:
        values += 8 * window**2
    return pixels * values * x.element_size()


def fits(model: nn.Module, x: Tensor, *, scale: int, device: torch.device, window: int | None = None) -> bool:
    """Whether an untiled run on ``x`` is expected to fit into the memory that is free on ``device``."""
    return estimate_peak(model, x, scale=scale, window=window) <= USABLE * free_memory(device)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on whichever device."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return any(phrase in text for phrase in ("out of memory", "not enough memory", "can't allocate memory"))
