"""A copy of a model for one run of a node.

Models that travel through a workflow are shared by its branches and kept for the next run, so nothing is done to them:
the copy is what moves to the device and is rebuilt for speed, and with it everything is gone again.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, cast

import numpy as np
import torch
from spandrel import ImageModelDescriptor
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from paragon_arch import ParagonModelDescriptor
from paragon_arch.errors import InvalidOptionError, InvalidWeightsError
from paragon_engine.backends import Precision, Runner, backend
from paragon_engine.backends.base import DTYPES
from paragon_engine.backends.guard import Guarded
from paragon_engine.backends.model import with_backend
from paragon_engine.pictures import Picture
from paragon_engine.progress import Progress
from paragon_engine.tiling import OnPart
from paragon_engine.upscale import UpscaleSettings, upscale_picture

from . import host
from .scratch import ordinary_mode

Choice = Precision | Literal["auto"]
Model = ImageModelDescriptor[Any]


def precisions(model: Model, choice: Choice, device: torch.device) -> list[Precision]:
    """The precisions to try, in this order; each one after the first is safer than the one before.

    Args:
        model: says which ones it holds.
        choice: "auto" is FP32, on CUDA FP16 or else BF16 where the model holds it.
        device: that does the work.

    Raises:
        InvalidOptionError: the model does not hold the choice.
    """
    held: list[Precision] = []
    if model.supports_half:
        held.append("fp16")
    if model.supports_bfloat16 and (device.type != "cuda" or torch.cuda.is_bf16_supported()):
        held.append("bf16")
    held.append("fp32")
    if choice == "auto":
        return held if device.type == "cuda" else ["fp32"]
    if choice not in held:
        raise InvalidOptionError(f"this model does not hold {choice} here; choose auto or {' or '.join(held)}")
    return held[held.index(choice) :]


class Worker:
    """Upscales pictures with a copy of a model.

    A model of ours runs in its inference form, as on the command line. A tile that is not finite in half precision is
    computed again in a safer one, and the console says so.

    Args:
        model: not changed.
        device: that does the work.
        ladder: from `precisions`.
    """

    def __init__(self, model: Model, device: torch.device, ladder: Sequence[Precision]) -> None:
        with ordinary_mode():
            twin = _copy_of(model, device)
            if isinstance(twin, ParagonModelDescriptor) and device.type in backend("torch").devices:
                self.model: Model = with_backend(twin, "torch", precision=ladder[0])
            else:
                self.model = _guarded(twin, ladder)
        self._last = ladder[-1]

    def __call__(
        self, picture: Picture, settings: UpscaleSettings, progress: Progress, on_part: OnPart | None = None
    ) -> Picture:
        """As `upscale_picture`; cancelling takes effect at the next layer, not only at the next tile.

        Raises:
            ParagonError: NaN even in the last precision.
        """
        with interruptible():
            result = upscale_picture(self.model, picture, settings, progress=progress, on_part=on_part)
        if np.isfinite(result.pixels).all() and (result.alpha is None or np.isfinite(result.alpha).all()):
            return result
        raise InvalidWeightsError(f"the model gives NaN even in {self._last}: model or picture is damaged")


def _copy_of(model: Model, device: torch.device) -> Model:
    network: nn.Module = copy.deepcopy(model.model).to(device)
    twin = copy.copy(model)
    twin._model = network  # pyright: ignore[reportPrivateUsage]  (spandrel has no other way)
    return twin


def _guarded(model: Model, ladder: Sequence[Precision]) -> Model:
    """The same model, each tile of which is tried in several precisions."""
    call = cast("Callable[[nn.Module, Tensor], Tensor]", model._call_fn)  # pyright: ignore[reportPrivateUsage]
    network: nn.Module = model.model

    def make(precision: Precision) -> Runner:
        dtype = DTYPES[precision]
        form = network if dtype == model.dtype else copy.deepcopy(network).to(dtype=dtype)
        return lambda x: call(form, x.to(dtype)).float()

    guarded = Guarded(make, ladder)

    def run(_network: nn.Module, x: Tensor) -> Tensor:
        return guarded(x)

    model._call_fn = run  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
    return model


@contextmanager
def interruptible() -> Generator[None]:
    """While open, every layer that this thread runs looks at the cancel button: a tile may take seconds on a CPU."""
    thread = threading.get_ident()

    def check(_module: nn.Module, _inputs: Any) -> None:
        if threading.get_ident() == thread:
            host.raise_if_interrupted()

    handle = register_module_forward_pre_hook(check)
    try:
        yield
    finally:
        handle.remove()
