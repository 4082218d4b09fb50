"""A copy of a model for one run of a node.

Models that travel through a workflow are shared by its branches and kept for the next run, so nothing is done to them:
the copy is what moves to the device, changes precision and can be interrupted, and with it everything is gone again.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from spandrel import ImageModelDescriptor
from torch import nn

from paragon_arch.errors import InvalidOptionError, InvalidWeightsError
from paragon_engine.pictures import Picture
from paragon_engine.progress import Progress, log
from paragon_engine.upscale import UpscaleSettings, upscale_picture

from . import host

Precision = Literal["fp32", "fp16", "bf16"]
Model = ImageModelDescriptor[Any]

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def precisions(model: Model, choice: Precision | Literal["auto"], device: torch.device) -> list[Precision]:
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
    """Upscales pictures with a copy of a model, in the first of several precisions that holds.

    Args:
        model: not changed.
        device: that does the work.
        ladder: from `precisions`.
    """

    def __init__(self, model: Model, device: torch.device, ladder: Sequence[Precision]) -> None:
        self._model, self._device, self._ladder = model, device, list(ladder)
        self._copy = self._make()

    @property
    def precision(self) -> Precision:
        """The precision in use now."""
        return self._ladder[0]

    def __call__(self, picture: Picture, settings: UpscaleSettings, progress: Progress) -> Picture:
        """As `upscale_picture`. A result with NaN is made again, and all that follow, in the next precision.

        Raises:
            InvalidWeightsError: NaN even in the last precision.
        """
        while True:
            result = upscale_picture(self._copy, picture, settings, progress=progress)
            if np.isfinite(result.pixels).all() and (result.alpha is None or np.isfinite(result.alpha).all()):
                return result
            if len(self._ladder) == 1:
                raise InvalidWeightsError(f"the model gives NaN even in {self.precision}: model or picture is damaged")
            overflowed = self._ladder.pop(0)
            log.warning("the picture overflowed in %s: made again in %s", overflowed, self.precision)
            self._copy = self._make()

    def _make(self) -> Model:
        network: nn.Module = copy.deepcopy(self._model.model)
        network.to(self._device, DTYPES[self.precision])
        for module in network.modules():  # a large tile alone may take many seconds on a CPU
            module.register_forward_pre_hook(_raise_if_interrupted)
        twin = copy.copy(self._model)
        twin._model = network  # pyright: ignore[reportPrivateUsage]  (spandrel has no other way)
        return twin


def _raise_if_interrupted(_module: nn.Module, _inputs: Any) -> None:
    host.raise_if_interrupted()
