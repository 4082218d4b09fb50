"""How much memory there is for a run."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

FALLBACK_FREE = 4 * 2**30
"""Bytes assumed to be free where nothing says how many are."""
USABLE = 0.8
"""Share of the free memory that a run may plan with."""


def free_memory(device: torch.device) -> int:
    """Bytes that can be allocated on a device now; on the CPU without driving the machine into swap."""
    if device.type in ("cuda", "xpu"):
        return _of_accelerator(getattr(torch, device.type), device)
    if device.type == "mps":  # which shares the host's memory
        mps: Any = torch.mps
        allowed = mps.recommended_max_memory() if hasattr(mps, "recommended_max_memory") else FALLBACK_FREE
        return max(0, min(allowed - mps.current_allocated_memory(), _of_host()))
    return _of_host()


def usable_memory(device: torch.device, limit: int | None = None) -> int:
    """Bytes that a run may use on a device: a share of what is free there, and no more than ``limit``."""
    usable = int(USABLE * free_memory(device))
    return usable if limit is None else min(usable, limit)


def _of_accelerator(module: Any, device: torch.device) -> int:
    """Free for everybody, and what PyTorch keeps of what it has."""
    reserved = module.memory_reserved(device)
    cached = reserved - module.memory_allocated(device)
    if hasattr(module, "mem_get_info"):
        return module.mem_get_info(device)[0] + cached
    return module.get_device_properties(device).total_memory - reserved + cached  # XPU before PyTorch 2.6


def _of_host() -> int:
    for ask in (_psutil, *_SYSTEMS.get(sys.platform, ())):
        try:
            return ask()
        except (ImportError, OSError, ValueError, AttributeError, StopIteration):
            continue
    return FALLBACK_FREE


def _psutil() -> int:
    import psutil  # pyright: ignore[reportMissingModuleSource] - not every installation has it

    return int(psutil.virtual_memory().available)


def _linux() -> int:
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]) * 1024


def _posix() -> int:
    """Half of what is built in."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


class _WindowsStatus(ctypes.Structure):
    """MEMORYSTATUSEX."""

    _fields_ = [("size", ctypes.c_uint32), ("load", ctypes.c_uint32)] + [
        (name, ctypes.c_uint64)
        for name in ("total", "available", "total_page", "free_page", "total_virtual", "free_virtual", "extended")
    ]  # fmt: skip


def _windows() -> int:
    status = _WindowsStatus(size=ctypes.sizeof(_WindowsStatus))
    kernel: Any = getattr(ctypes, "windll").kernel32  # noqa: B009  (exists on Windows alone)
    if not kernel.GlobalMemoryStatusEx(ctypes.byref(status)):
        raise OSError("GlobalMemoryStatusEx failed")
    return int(status.available)


_VM_INFO64, _VM_WORDS = 4, 38
"""HOST_VM_INFO64 and HOST_VM_INFO64_COUNT of macOS."""
_FREE, _INACTIVE = 0, 2
"""Words of vm_statistics64: pages that are free, and those that hold nothing but what can be read again."""


def _macos() -> int:
    system: Any = ctypes.CDLL(None)
    words = (ctypes.c_uint32 * _VM_WORDS)()
    count = ctypes.c_uint32(_VM_WORDS)
    system.mach_host_self.restype = ctypes.c_uint32
    if system.host_statistics64(system.mach_host_self(), _VM_INFO64, ctypes.byref(words), ctypes.byref(count)):
        raise OSError("host_statistics64 failed")
    return (int(words[_FREE]) + int(words[_INACTIVE])) * os.sysconf("SC_PAGE_SIZE")


_SYSTEMS: dict[str, tuple[Callable[[], int], ...]] = {
    "linux": (_linux, _posix),
    "darwin": (_macos, _posix),
    "win32": (_windows,),
}
"""How to ask each system where psutil is missing."""
