"""Which precision a model runs in: what its layout holds, the device has and the backend computes in."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Literal

import torch

from paragon_arch.errors import InvalidOptionError, NonFiniteError

from ..devices import is_unsupported
from ..progress import log
from .base import Precision

PrecisionChoice = Precision | Literal["auto"]
ORDER: tuple[Precision, ...] = ("fp16", "bf16", "fp32")
"""From the fastest to the safest: BF16 has the range of FP32."""
_NO_FP16 = re.compile(r"GTX 16\d\d|\bT(500|550|600|1000|1200|2000)\b|MX ?(450|550)|CMP 30HX")
"""NVIDIA's Turing chips without tensor cores, whose FP16 convolutions give NaN."""
_FAST_FP16 = {(5, 3), (6, 0), (6, 2)}
"""Capabilities below 7.0 with FP16 arithmetic worth its name."""


def half_precisions(device: torch.device) -> tuple[Precision, ...]:
    """The half precisions that a device really computes in; emulation does not count."""
    if device.type != "cuda":
        return ("fp16", "bf16")
    capability, name = torch.cuda.get_device_capability(device), torch.cuda.get_device_name(device)
    fp16 = torch.version.hip is not None or capability >= (7, 0) or capability in _FAST_FP16
    fp16 = fp16 and not _NO_FP16.search(name)
    bf16 = torch.cuda.is_bf16_supported() if torch.version.hip is not None else capability >= (8, 0)
    return (*(("fp16",) if fp16 else ()), *(("bf16",) if bf16 else ()))


def rungs(
    choice: PrecisionChoice,
    *,
    layout: Collection[str],
    device: Collection[str],
    backend: Collection[str],
    prefer_half: bool,
) -> tuple[Precision, ...]:
    """The precisions to try, in this order.

    Args:
        choice: "auto" is FP32, or with ``prefer_half`` the fastest one.
        layout: half precisions that hold the values of the network.
        device: half precisions of the device.
        backend: precisions of the backend.
        prefer_half: half precision pays on the device.

    Raises:
        InvalidOptionError: the choice is unknown, or not all three hold it.
    """
    if choice not in ("auto", *ORDER):
        raise InvalidOptionError(f"precision {choice!r} is unknown: choose auto, fp32, fp16 or bf16")
    held = [p for p in ORDER if p == "fp32" or (p in layout and p in device and p in backend)]
    if choice == "auto":
        return tuple(held) if prefer_half else ("fp32",)
    if choice not in held:
        who = "this model" if choice not in layout else "this device" if choice not in device else "this backend"
        raise InvalidOptionError(f"{who} does not hold {choice}; choose auto or {' or '.join(held)}")
    return tuple(held[held.index(choice) :])


class Ladder:
    """The precision that a run is in: the first of several that has not failed. One that failed is not tried again."""

    def __init__(self, steps: tuple[Precision, ...]) -> None:
        self.steps = steps
        self._at = 0

    @property
    def precision(self) -> Precision:
        """The one to compute in now."""
        return self.steps[self._at]

    def overflowed(self) -> None:
        """A result was not finite: go on with the next precision.

        Raises:
            NonFiniteError: there is none.
        """
        if self._at + 1 == len(self.steps):
            raise NonFiniteError(
                f"the model gives NaN or infinity even in {self.precision}: its weights are damaged; use another file"
            )
        log.warning("the result overflowed in %s: redone in %s, as is all that follows", *self._down())

    def cannot(self, error: RuntimeError) -> bool:
        """Whether an error means that the device lacks the precision, and there is a next one to go on with."""
        if self._at + 1 == len(self.steps) or not is_unsupported(error):
            return False
        reason = " ".join(str(error).split())[:200]
        failed, following = self._down()
        log.warning("the device has no %s (%s): going on in %s", failed, reason, following)
        return True

    def _down(self) -> tuple[Precision, Precision]:
        self._at += 1
        return self.steps[self._at - 1], self.steps[self._at]
