"""What a backend is: something that turns a network into a function from image to image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from paragon_arch.errors import InvalidOptionError
from paragon_arch.networks.base import SRNetwork

Precision = Literal["fp32", "fp16", "bf16"]

DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

Runner = Callable[[Tensor], Tensor]
"""``(N, C, H, W)`` in 0..1, of any floating type, on any device, to ``(N, C, H*s, W*s)`` FP32 on the same device."""


@dataclass(frozen=True)
class Availability:
    """Whether a backend can be used here."""

    usable: bool
    detail: str
    """Its version where it is usable, else the reason and the cure."""


class Backend(Protocol):
    """One way to run a network."""

    @property
    def name(self) -> str:
        """What a user types."""
        ...

    @property
    def devices(self) -> tuple[str, ...]:
        """Types of the torch devices that it computes on: "cpu", "cuda", ..."""
        ...

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """What it computes in."""
        ...

    @property
    def quick(self) -> bool:
        """Preparing takes seconds, not minutes: `auto` may try it."""
        ...

    def available(self) -> Availability:
        """Whether it can be used; imports no more than it must."""
        ...

    def prepare(self, network: SRNetwork, *, device: torch.device, precision: Precision) -> Runner:
        """Make a runner.

        Args:
            network: in evaluation mode, fused or not; not changed, and not kept alive in a second copy if avoidable.
            device: one of a type in `devices`.
            precision: one of `precisions`.

        Raises:
            InvalidOptionError: the network, device or precision is not for this backend, or a package is missing.
        """
        ...


@runtime_checkable
class GraphBackend(Backend, Protocol):
    """A backend that runs ONNX graphs."""

    def runner(self, graph: bytes, device: torch.device) -> Runner:
        """Run a serialised graph whose input and output are FP32, whichever network it was made from."""
        ...


def check_request(backend: Backend, device: torch.device, precision: Precision) -> None:
    """Refuse what a backend cannot do.

    Raises:
        InvalidOptionError: it is not usable here, or not for this device or precision.
    """
    availability = backend.available()
    if not availability.usable:
        raise InvalidOptionError(f"backend {backend.name} cannot be used: {availability.detail}")
    if device.type not in backend.devices:
        raise InvalidOptionError(
            f"backend {backend.name} computes on {' or '.join(backend.devices)}, not on {device.type}: "
            "choose another --device or --backend"
        )
    if precision not in backend.precisions:
        raise InvalidOptionError(
            f"backend {backend.name} has no {precision}: choose {' or '.join(backend.precisions)}, or the backend torch"
        )
