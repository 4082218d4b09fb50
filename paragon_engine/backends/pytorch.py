"""PyTorch: the inference form, run as it is or compiled."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from paragon_arch.errors import InvalidOptionError
from paragon_arch.networks.base import SRNetwork

from ..devices import full_precision
from ..inference import inference_form
from ..packages import installed
from .base import DTYPES, Availability, Precision, Runner, check_request
from .forms import fused

COMPILERS = ("g++", "clang++", "cl")
COMPILED_AT = (160, 144)
"""Height and width of the image that triggers compilation: every size beyond `SMALL` and `THIN` runs the same code."""
SMALL = 20480
"""Values up to which PyTorch takes another kind of convolution on a CPU, which compiled code is not valid for."""
THIN = 16
"""Sides below it are a case of their own to the compiler, as they are to whatever treats borders."""


@dataclass(frozen=True)
class TorchBackend:
    """Runs wherever PyTorch does."""

    name: str = "torch"
    devices: tuple[str, ...] = ("cpu", "cuda", "mps", "xpu")
    precisions: tuple[Precision, ...] = ("fp32", "fp16", "bf16")
    quick: bool = True

    def available(self) -> Availability:
        """Always."""
        return Availability(True, torch.__version__)

    def prepare(self, network: SRNetwork, *, device: torch.device, precision: Precision) -> Runner:
        """See `Backend`."""
        check_request(self, device, precision)
        return ModuleRunner(inference_form(fused(network), device=device), device, DTYPES[precision])


@dataclass(frozen=True)
class CompiledTorchBackend:
    """The same through torch.compile, with height and width symbolic: one compilation serves every tile size.

    Images of `SMALL` values or fewer (82 x 82 in colour), `THIN` ones and batches run uncompiled, instead of stopping
    for a compilation of their own.
    """

    name: str = "torch-compile"
    devices: tuple[str, ...] = ("cpu", "cuda")
    precisions: tuple[Precision, ...] = ("fp32", "fp16", "bf16")
    quick: bool = False

    def available(self) -> Availability:
        """Needs a C++ compiler for the CPU, or Triton for CUDA."""
        if installed("triton") and torch.cuda.is_available():
            return Availability(True, f"{torch.__version__}, Triton")
        compiler = next(filter(shutil.which, COMPILERS), None)
        if compiler is None:
            return Availability(False, f"torch.compile needs a C++ compiler: install one of {', '.join(COMPILERS)}")
        return Availability(True, f"{torch.__version__}, {compiler}")

    def prepare(self, network: SRNetwork, *, device: torch.device, precision: Precision) -> Runner:
        """See `Backend`; takes up to minutes."""
        check_request(self, device, precision)
        form = inference_form(fused(network), target="graph")
        if device.type == "cuda":  # for open sizes the compiler decides no layouts, and FP16 convolutions want this one
            form.memory_format = torch.channels_last
            form = form.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        plain = ModuleRunner(form, device, DTYPES[precision])
        compiled: Any = torch.compile(form, dynamic=True)
        run = ModuleRunner(compiled, device, DTYPES[precision])
        channels = network.hyperparameters.get("in_channels", 3)
        try:
            run(torch.zeros(1, channels, *COMPILED_AT, device=device))
        except Exception as error:  # the compiler's errors share no base class
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise InvalidOptionError(f"torch.compile failed ({reason[:200]}): choose the backend torch") from error
        return lambda x: run(x) if _served(x) else plain(x)


def _served(x: Tensor) -> bool:
    """Whether the one compilation is valid for an image."""
    return len(x) == 1 and x.numel() > SMALL and min(x.shape[2:]) >= THIN


class ModuleRunner:
    """Runs a module on a device, in a type."""

    def __init__(self, module: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
        self.module = module.to(device, dtype)
        self._device, self._dtype = device, dtype

    @torch.inference_mode()
    def __call__(self, x: Tensor) -> Tensor:
        """See `Runner`."""
        # a copy is an inference tensor, whatever x is: a compiled form would be compiled anew for the other kind
        with full_precision(self._device):
            return self.module(x.to(self._device, self._dtype, copy=True)).to(x.device, torch.float32)
