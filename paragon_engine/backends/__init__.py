"""Backends behind one interface. `backend` finds one by name, `listing` says which can be used here.

ncnn's own Python interface has no runner: it is listed with what runs on the same hardware.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from paragon_arch.errors import InvalidOptionError

from ..packages import INSTALL, installed, version
from .base import Availability, Backend, Precision, Runner
from .openvino import OpenVinoBackend
from .ort import PROVIDERS
from .pytorch import CompiledTorchBackend, TorchBackend
from .tensorrt import TensorRTBackend

__all__ = ["BACKENDS", "Availability", "Backend", "Precision", "Runner", "backend", "listing", "usable"]

BACKENDS: dict[str, Backend] = {
    item.name: item
    for item in (
        TorchBackend(),
        CompiledTorchBackend(),
        *PROVIDERS,
        TensorRTBackend(),
        OpenVinoBackend("openvino", "CPU"),
        OpenVinoBackend("openvino-gpu", "GPU"),
    )
}
"""By name, in the order of listings."""

_INSTEAD = {"ncnn": "openvino or onnxruntime"}
"""Runtimes without a runner, and the backends to use instead."""


def backend(name: str) -> Backend:
    """The backend of a name.

    Raises:
        InvalidOptionError: there is none of this name.
    """
    if name in _INSTEAD:
        raise InvalidOptionError(f"backend {name} has no runner of its own yet: choose {_INSTEAD[name]}")
    if name not in BACKENDS:
        raise InvalidOptionError(f"backend {name!r} is unknown: choose auto, {', '.join(BACKENDS)}")
    return BACKENDS[name]


def usable(device: torch.device, precision: Precision = "fp32") -> list[Backend]:
    """The backends that can be used here on a device in a precision."""
    return [
        item
        for item in BACKENDS.values()
        if device.type in item.devices and precision in item.precisions and item.available().usable
    ]


def listing() -> Iterator[tuple[str, Availability]]:
    """Every backend, and every runtime that has none, with its version or what is missing."""
    yield from ((name, item.available()) for name, item in BACKENDS.items())
    for name, instead in _INSTEAD.items():
        state = f"{version(name)} is installed" if installed(name) else f"not installed: {INSTALL[name]}"
        yield name, Availability(False, f"{state}; no runner of its own yet, use {instead}")
