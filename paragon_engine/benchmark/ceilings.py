"""What this machine can do at most, and how much of it a network asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

GEMM_SIDE = 1536
"""Side of the square matrices of the arithmetic ceiling."""
COPY_VALUES = 2**25
"""Values of the copied tensor of the memory ceiling: far more than any cache holds."""


@dataclass(frozen=True)
class Work:
    """What one run of a module takes."""

    flops: int
    """Floating-point operations of convolutions and matrix products; a multiply-add counts two."""
    traffic: int
    """Bytes read and written if every operation of eager PyTorch goes to memory once."""


@torch.inference_mode()
def work(module: nn.Module, image: Tensor) -> Work:
    """Count the work of a module on an image by running it once."""
    with FlopCounterMode(display=False) as flops:
        module(image)
    with _Traffic() as traffic:
        module(image)
    return Work(flops.get_total_flops(), traffic.bytes)


class _Traffic(TorchDispatchMode):
    """Adds up the sizes of what operations read and write; views move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if not getattr(func, "is_view", False):
            self.bytes += sum(t.numel() * t.element_size() for t in (*_tensors(args), *_tensors(out)))
        return out


def _tensors(values: Any) -> list[Tensor]:
    if isinstance(values, Tensor):
        return [values]
    if not isinstance(values, (tuple, list)):
        return []
    return [tensor for value in cast("Sequence[Any]", values) for tensor in _tensors(value)]


def probes(device: torch.device) -> dict[str, tuple[Callable[[], object], float]]:
    """Functions that run at a ceiling, and what one call does: ``gemm`` in operations, ``copy`` in bytes."""
    a, b = (torch.rand(GEMM_SIDE, GEMM_SIDE, device=device) for _ in range(2))
    source = torch.rand(COPY_VALUES, device=device)
    target = torch.empty_like(source)
    return {
        "gemm": (lambda: torch.mm(a, b), 2.0 * GEMM_SIDE**3),
        "copy": (lambda: target.copy_(source), 2.0 * source.numel() * source.element_size()),
    }
