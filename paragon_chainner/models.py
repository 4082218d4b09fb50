"""Models as a node runs them: on the app's device, in its precision, within its memory limit.

A model that travels through a chain is shared by its branches and kept for the next run, so nothing is done to it: what
runs is a copy.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import torch
from spandrel import ImageModelDescriptor

from paragon_arch import ParagonModelDescriptor
from paragon_engine import Upscaler
from paragon_engine.backends.precision import PrecisionChoice, half_precisions

from .interfaces import Settings

GIB = 2**30
_RUNNABLE: WeakKeyDictionary[ImageModelDescriptor[Any], tuple[object, Upscaler]] = WeakKeyDictionary()
"""The last copy of a model, under what it was made for: an iterator uses it for every picture."""


def placed(model: ParagonModelDescriptor, settings: Settings) -> ParagonModelDescriptor:
    """Put a new model where chaiNNer's own loader would put it, in the precision of the settings; changes it."""
    model.to(settings.device)
    model.model.to(torch.float16 if settings.use_fp16 and model.supports_half else torch.float32)
    return model


def runnable(model: ImageModelDescriptor[Any], settings: Settings) -> Upscaler:
    """A copy to upscale with, on the device and in the precision of the settings; kept for the next picture."""
    device = torch.device(settings.device)
    half = settings.use_fp16 and model.supports_half and "fp16" in half_precisions(device)
    precision: PrecisionChoice = "fp16" if half else "fp32"
    made_for, ready = _RUNNABLE.get(model, (None, None))
    if ready is None or made_for != (device, precision):
        if ready is not None:
            ready.close()
        ready = Upscaler(model, device=device, precision=precision)
        _RUNNABLE[model] = ((device, precision), ready)
    return ready


def memory_limit(settings: Settings) -> int | None:
    """Bytes that a run may use; None for all that is free."""
    return settings.budget_limit * GIB or None
