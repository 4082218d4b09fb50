"""Choosing the device that does the work."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch

from paragon_arch.errors import InvalidOptionError, ParagonError


def resolve_device(name: str | torch.device = "auto") -> torch.device:
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
        raise InvalidOptionError(f"device {str(name)!r} cannot be used: {reason}; try auto or cpu") from error
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


_UNSUPPORTED = (
    "not supported",
    "not_supported",  # cuDNN, cuBLAS
    "not implemented for",  # PyTorch, of a type
    "no kernel image",
    "unsupported datatype",
)
"""What errors say, in lower case, when a device lacks an operation in a type."""


def is_unsupported(error: BaseException) -> bool:
    """Whether an error says that a device, or its build of PyTorch, lacks an operation in a type."""
    text = str(error).lower()
    return any(phrase in text for phrase in _UNSUPPORTED)


def device_failure(error: BaseException, device: str) -> ParagonError | None:
    """A typed error if a device failed, disappeared or is not served by this PyTorch; else None.

    Args:
        error: what a runtime raised; running out of memory is sorted out before.
        device: for the message.
    """
    text = " ".join(str(error).split())
    if not any(phrase in text.lower() for phrase in _FAILED):
        return None
    if is_unsupported(error):
        return ParagonError(
            f"this PyTorch cannot compute the model on {device} ({text[:200]}): install a build for it, or use the CPU"
        )
    return ParagonError(
        f"{device} stopped working ({text[:200]}): start the program again, or use the CPU; written files are whole"
    )


def release_cached(device: torch.device) -> None:
    """Give memory that PyTorch keeps for later use back to a device."""
    cache: Any = getattr(torch, device.type, None)
    if device.type != "cpu" and hasattr(cache, "empty_cache"):
        cache.empty_cache()


def _available(kind: str) -> bool:
    module = torch.backends.mps if kind == "mps" else getattr(torch, kind, None)
    return module is not None and bool(module.is_available())


_NO_INFERENCE_TENSORS = ("privateuseone",)
"""Devices whose operations fail on the tensors that `torch.inference_mode` makes: torch-directml's."""


@contextmanager
def computing(device: torch.device) -> Generator[None, None, None]:
    """How models run on a device: without gradients, and FP32 is FP32.

    Without gradients is `torch.inference_mode` where the device can work in it, else `torch.no_grad` outside of any
    such mode, also the host's.
    """
    with torch.inference_mode(mode=device.type not in _NO_INFERENCE_TENSORS), torch.no_grad(), full_precision(device):
        yield


@contextmanager
def full_precision(device: torch.device) -> Generator[None, None, None]:
    """No TF32: left to itself, PyTorch lets NVIDIA's cards round what convolutions read to ten bits.

    That makes several times the difference that our limits for FP32 allow, and tiles that differ from the whole
    picture. Who wants speed takes FP16, which rounds no more and is faster.
    """
    places: list[tuple[Any, str, object]] = []
    if device.type == "cuda":
        convolutions: Any = getattr(torch.backends.cudnn, "conv", None)
        if convolutions is not None:  # PyTorch 2.9 and newer, where reading the older switches may raise
            places = [(item, "fp32_precision", "ieee") for item in (torch.backends.cuda.matmul, convolutions)]
        else:
            places = [(item, "allow_tf32", False) for item in (torch.backends.cuda.matmul, torch.backends.cudnn)]
    before = [getattr(item, name) for item, name, _ in places]
    try:
        for item, name, value in places:
            setattr(item, name, value)
        yield
    finally:
        for (item, name, _), value in zip(places, before, strict=True):
            setattr(item, name, value)
