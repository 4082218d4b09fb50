"""How much memory is free, on every kind of device and system."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from paragon_engine.tiling import available
from paragon_engine.tiling.available import FALLBACK_FREE, free_memory, usable_memory

CPU, GIB = torch.device("cpu"), 2**30


@pytest.fixture
def without_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)


def gives(value: Any) -> Callable[[Any], Any]:
    """A function of one argument that gives a value."""
    return lambda _: value


def as_psutil(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    module: Any = SimpleNamespace(virtual_memory=lambda: SimpleNamespace(available=free))
    monkeypatch.setitem(sys.modules, "psutil", module)


def test_psutil_is_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    as_psutil(monkeypatch, 7 * GIB)
    assert free_memory(CPU) == 7 * GIB
    assert usable_memory(CPU) == int(0.8 * 7 * GIB)
    assert usable_memory(CPU, GIB) == GIB
    assert usable_memory(CPU, 100 * GIB) == int(0.8 * 7 * GIB)


@pytest.mark.usefixtures("without_psutil")
def test_linux_says_it_itself() -> None:
    if not Path("/proc/meminfo").is_file():
        pytest.skip("no /proc here")
    assert 0 < free_memory(CPU) != FALLBACK_FREE


@pytest.mark.usefixtures("without_psutil")
def test_windows_says_it_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def status(reference: Any) -> int:
        memory = reference._obj
        assert memory.size == ctypes.sizeof(memory) == 64  # MEMORYSTATUSEX
        memory.total, memory.available = 16 * GIB, 9 * GIB
        return 1

    monkeypatch.setattr(sys, "platform", "win32")
    kernel = SimpleNamespace(GlobalMemoryStatusEx=status)
    monkeypatch.setattr(ctypes, "windll", SimpleNamespace(kernel32=kernel), raising=False)
    assert free_memory(CPU) == 9 * GIB


@pytest.mark.usefixtures("without_psutil")
def test_macos_says_it_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def statistics(_: int, flavour: int, words: Any, count: Any) -> int:
        assert (flavour, count._obj.value) == (4, 38)  # HOST_VM_INFO64 and its length
        words._obj[0], words._obj[1], words._obj[2] = 1000, 77, 500  # free, active, inactive
        return 0

    class Host:
        def __init__(self) -> None:
            self.restype: Any = None

        def __call__(self) -> int:
            return 1

    library = SimpleNamespace(mach_host_self=Host(), host_statistics64=statistics)
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", gives(library))
    monkeypatch.setattr(available.os, "sysconf", gives(16384), raising=False)
    assert free_memory(CPU) == 1500 * 16384


@pytest.mark.usefixtures("without_psutil")
def test_a_system_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "unknown")
    assert free_memory(CPU) == FALLBACK_FREE


@pytest.mark.parametrize("kind", ["cuda", "xpu"])
@pytest.mark.parametrize("asks", [True, False])
def test_an_accelerator_has_figures_of_its_own(kind: str, asks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What others left free, and what PyTorch keeps for itself; older PyTorch does not ask an XPU what is free."""
    module = SimpleNamespace(
        memory_reserved=gives(3 * GIB),
        memory_allocated=gives(1 * GIB),
        get_device_properties=gives(SimpleNamespace(total_memory=16 * GIB)),
    )
    if asks:
        module.mem_get_info = gives((5 * GIB, 16 * GIB))
    monkeypatch.setattr(torch, kind, module, raising=False)
    assert free_memory(torch.device(kind)) == (7 * GIB if asks else 15 * GIB)


def test_an_apple_gpu_shares_the_hosts_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    as_psutil(monkeypatch, 10 * GIB)
    module: Any = SimpleNamespace(recommended_max_memory=lambda: 12 * GIB, current_allocated_memory=lambda: 4 * GIB)
    monkeypatch.setattr(torch, "mps", module)
    assert free_memory(torch.device("mps")) == 8 * GIB
    as_psutil(monkeypatch, 2 * GIB)
    assert free_memory(torch.device("mps")) == 2 * GIB
