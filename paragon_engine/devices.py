"""Choosing the device that does the work."""

from __future__ import annotations

import torch

from paragon_arch.errors import InvalidOptionError


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


def _available(kind: str) -> bool:
    module = torch.backends.mps if kind == "mps" else getattr(torch, kind, None)
    return module is not None and bool(module.is_available())
