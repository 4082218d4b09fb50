"""Running without gradients, on every device."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

_NO_INFERENCE_TENSORS = ("privateuseone",)
"""Devices whose operations fail on the tensors that `torch.inference_mode` makes: torch-directml's."""


def without_gradients(device: torch.device) -> AbstractContextManager[object]:
    """`torch.inference_mode` where the device can work in it, else `torch.no_grad`."""
    return torch.no_grad() if device.type in _NO_INFERENCE_TENSORS else torch.inference_mode()
