"""How much memory a run needs.

The need is not guessed from sizes: the network itself is run on the meta device, where tensors have shapes and types
but no contents, while every allocation is counted. That gives the peak of any layout at any size in milliseconds.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten  # tree_iter came with 2.4

from paragon_arch.copying import private_copy
from paragon_arch.networks.base import SRNetwork

from ..inference.bands import BandedResidual
from ..inference.form import InferenceForm

M = TypeVar("M", bound=nn.Module)

BOUND_SIDES = 32, 64
"""Sides of the images that `untiled_bound` looks at."""
BOUND_MARGIN = 1.25
"""Kernels of a device may fuse more than the meta device counts: a tenth less was seen, for attention."""
_PER_PIXEL: WeakKeyDictionary[nn.Module, dict[tuple[torch.dtype, int], float | None]] = WeakKeyDictionary()
HEAP_SLACK = 24 * 2**20
"""Bytes that the C library keeps between maps of many sizes, as tiles at borders and inside make them: measured."""


class AllocationCounter(TorchDispatchMode):
    """Counts the bytes of the tensors that come to life inside the context; on the meta device nothing else exists.

    Attributes:
        peak: most bytes alive at any time, of tensors made since the context was entered.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._owners: dict[int, int] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """PyTorch would import its compiler, a second of CPU time, only to keep it away from here: it never comes."""
        return False

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = {_storage(x) for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)}
        result = func(*args, **(kwargs or {}))
        for x in tree_flatten(result)[0]:
            if isinstance(x, Tensor) and (_storage(x) in self._owners or _storage(x) not in given):
                self._own(x)
        self.peak = max(self.peak, self.live + workspace(func, args, result))
        return result

    def _own(self, x: Tensor) -> None:
        key, size = _storage(x), x.untyped_storage().nbytes()
        if key not in self._owners:
            self.live += size
            self.peak = max(self.peak, self.live)
        self._owners[key] = self._owners.get(key, 0) + 1
        weakref.finalize(x, self._disown, key, size)

    def _disown(self, key: int, size: int) -> None:
        self._owners[key] -= 1
        if not self._owners[key]:
            del self._owners[key]
            self.live -= size


def workspace(func: Any, args: tuple[Any, ...], result: Any) -> int:
    """Bytes that a kernel takes beside its result and returns at its end, as measured on the CPU in float32.

    oneDNN's convolutions work on a copy of the input, then of the output, with the channels in blocks of eight. A crop
    is copied for them first.
    Attention whose values are longer or shorter than its queries is not fused: it holds logits, weights and a mask of
    all pairs.
    """
    name = str(getattr(func, "_overloadpacket", func))
    if name in ("aten.conv2d", "aten.convolution"):
        dense = any(args[0].is_contiguous(memory_format=f) for f in (torch.contiguous_format, torch.channels_last))
        blocked = max(x.nbytes * (-(-x.shape[1] // 8) * 8) // x.shape[1] for x in (args[0], result))
        return blocked if dense else blocked + args[0].nbytes
    if "scaled_dot_product" in name and args[0].shape[-1] != args[2].shape[-1]:
        query, key = args[0], args[1]
        return query.shape[:-1].numel() * key.shape[-2] * (2 * query.element_size() + 1)
    return 0


def _storage(x: Tensor) -> int:
    return x.untyped_storage()._cdata  # pyright: ignore[reportPrivateUsage]  the only identity that meta tensors have


OUT_OF_MEMORY = (
    "out of memory",  # CUDA, MPS, XPU and Level Zero, ROCm
    "_out_of_device_memory",  # codes of Level Zero and OpenCL
    "_out_of_host_memory",
    "_out_of_resources",  # the same on Intel's older runtimes
    "not enough memory",  # PyTorch's CPU allocator on Windows
    "not enough gpu video memory",  # DirectML
    "can't allocate memory",  # PyTorch's CPU allocator on Linux
    "cannot allocate memory",  # the operating system
    "failed to allocate memory",  # ONNX Runtime
    "alloc_failed",  # cuDNN and cuBLAS: CUDNN_STATUS_ALLOC_FAILED
    "memoryallocation",  # cudaErrorMemoryAllocation
    "bad allocation",
    "bad_alloc",
)
"""What errors say, in lower case, when memory ran out."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on whichever device."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return any(phrase in text for phrase in OUT_OF_MEMORY)


def untiled_peak(network: nn.Module, shape: Sequence[int], dtype: torch.dtype, device: str = "cpu") -> int:
    """Bytes at the peak of one forward pass on an input of this shape, the result included, the input not.

    ``device`` is the type of the one that the network is to run on.
    """
    twin, x = on_meta(network, device), torch.empty(tuple(shape), dtype=dtype, device="meta")
    with torch.inference_mode(), AllocationCounter() as counter:
        twin(x)
    return counter.peak


def untiled_bound(network: nn.Module, shape: Sequence[int], dtype: torch.dtype) -> float | None:
    """Bytes that `untiled_peak` does not exceed, from runs on two small images; None where that is not known.

    `untiled_peak` makes PyTorch import its compiler, which takes more than a second, and runs anew for every size.
    Where there is plenty of memory this answers sooner. Bands of rows and borders only lower what a pixel of a larger
    image takes; what looks at all pixels at once (attention) shows in the two sizes and has no bound.
    """
    if not isinstance(network, (SRNetwork, InferenceForm)):
        return None
    known = _PER_PIXEL.setdefault(network, {})
    key = dtype, shape[1]
    if key not in known:
        try:
            small, large = (_peak_on_zeros(network, shape[1], side, dtype) for side in BOUND_SIDES)
        except (RuntimeError, NotImplementedError, MemoryError):
            small, large = 0, 1
        ratio = (BOUND_SIDES[1] / BOUND_SIDES[0]) ** 2
        known[key] = BOUND_MARGIN * large / BOUND_SIDES[1] ** 2 if large <= ratio * small else None
    per_pixel = known[key]
    return None if per_pixel is None else per_pixel * shape[0] * math.prod(max(BOUND_SIDES[1], s) for s in shape[2:])


def _peak_on_zeros(network: nn.Module, channels: int, side: int, dtype: torch.dtype) -> int:
    """Bytes at the peak of a real run on a small black image."""
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    x = torch.zeros(1, channels, side, side, dtype=dtype, device=device)
    with torch.inference_mode(), AllocationCounter() as counter:
        network(x)
    return counter.peak


def on_meta(network: M, device: str) -> M:
    """A copy without contents, which goes the ways that the network would go on a type of device."""
    twin = private_copy(network, device="meta")
    for module in twin.modules():
        if isinstance(module, BandedResidual):
            module.meta_as = device
    return twin
