"""The device that the tests of models run on: PARAGONSR_TEST_DEVICE, the CPU unless it says otherwise.

"cuda", "cuda:1", "mps", "xpu" are what they say; "simulated" is the device of tests/simulated_device.py.
"""

from __future__ import annotations

import atexit
import os
from contextlib import ExitStack

import torch

_NAME = os.environ.get("PARAGONSR_TEST_DEVICE", "cpu")


def _device() -> torch.device:
    if _NAME != "simulated":
        device = torch.device(_NAME)
        torch.empty(1, device=device)  # a device that was asked for and is not there is an error, no reason to skip
        return device
    from tests.simulated_device import simulated

    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(simulated()).device


DEVICE = _device()


def within(limit: float) -> float:
    """The largest difference between two ways to compute the same in FP32, given that on a CPU.

    Kernels of other devices add in other orders.
    """
    return limit if DEVICE.type == "cpu" or _NAME == "simulated" else max(limit, 1e-4)
