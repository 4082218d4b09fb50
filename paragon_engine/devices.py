"""Choosing the device that does the work."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from paragon_arch.errors import InvalidOptionError, ParagonError


def resolve_device(name: str = "auto") -> torch.device:
    """The device of a name: "auto" (the first accelerator, else the CPU), "cpu", "cuda", "cuda:1", "mps", "xpu".

    Raises:
        InvalidOptionError: no such device, or this PyTorch cannot use it.
    """
    if name == "auto":
        return next((torch.device(kind) for kind in ("cuda", "xpu", "mps") if _available(kind)), torch.device("cpu"))
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidOptionError(f"device {name!r} cannot be used: {reason}; try auto or cpu") from error
    return device


_FAILED = (
    "cuda error",
    "cudnn error",
    "cublas error",
    "cuda failure",  # ONNX Runtime
    "hip error",
    "device lost",
    "device_lost",  # Level Zero
    "device removed",  # DirectML
    "887a0005",  # its code
    "device is lost",
)
"""What errors say, in lower case, when a device stopped working while it was used."""


def device_failure(error: BaseException, device: str) -> ParagonError | None:
    """A typed error if a device failed or disappeared, which nothing but a new process mends; else None.

    Args:
        error: what a runtime raised; running out of memory is sorted out before.
        device: for the message.
    """
    text = " ".join(str(error).split())
    if not any(phrase in text.lower() for phrase in _FAILED):
        return None
    return ParagonError(
        f"{device} stopped working ({text[:200]}): start the program again, or use the CPU; written files are whole"
    )


def _available(kind: str) -> bool:
    module = torch.backends.mps if kind == "mps" else getattr(torch, kind, None)
    return module is not None and bool(module.is_available())


_NO_INFERENCE_TENSORS = ("privateuseone",)
"""Devices whose operations fail on the tensors that `torch.inference_mode` makes: torch-directml's."""


def without_gradients(device: torch.device) -> AbstractContextManager[object]:
    """`torch.inference_mode` where the device can work in it, else `torch.no_grad`."""
    return torch.no_grad() if device.type in _NO_INFERENCE_TENSORS else torch.inference_mode()
