"""Models as a node runs them: on the app's device, in its precision, within its memory limit.

A model that travels through a chain is shared by its branches and kept for the next run, so nothing is done to it: what
runs is a copy.
"""

from __future__ import annotations

import copy
from typing import Any
from weakref import WeakKeyDictionary

import torch
from spandrel import ImageModelDescriptor

from paragon_arch import ParagonModelDescriptor
from paragon_arch.errors import InvalidOptionError
from paragon_arch.loading import Opened
from paragon_engine.backends.model import with_backend
from paragon_engine.tiling import TileSize
from paragon_engine.tiling.memory import USABLE, free_memory, untiled_peak
from paragon_engine.tiling.plan import can_tile_exactly, fitting_tile, worker

from .interfaces import Settings

GIB = 2**30
_RUNNABLE: WeakKeyDictionary[ImageModelDescriptor[Any], tuple[object, ImageModelDescriptor[Any]]] = WeakKeyDictionary()
"""The last copy of a model, under what it was made for: an iterator uses it for every picture."""


def own_model(model: ImageModelDescriptor[Any]) -> ParagonModelDescriptor:
    """The same model, if it is one of the family.

    Raises:
        InvalidOptionError: it is not; the message names its architecture.
    """
    if not isinstance(model, ParagonModelDescriptor):
        raise InvalidOptionError(
            f"this is a model of the architecture {model.architecture.name}; the node takes ParagonSR models only"
        )
    return model


def copied(model: ParagonModelDescriptor) -> ParagonModelDescriptor:
    """A copy that shares no tensor with the model, in evaluation mode, in FP32 on the model's device."""
    network = copy.deepcopy(model.model).float().eval().requires_grad_(False)
    return ParagonModelDescriptor(Opened(network, model.layout, model.report))


def placed(model: ParagonModelDescriptor, settings: Settings) -> ParagonModelDescriptor:
    """Put a new model where chaiNNer's own loader would put it, in the precision of the settings; changes it."""
    model.to(settings.device)
    model.model.to(torch.float16 if settings.use_fp16 and model.supports_half else torch.float32)
    return model


def runnable(model: ImageModelDescriptor[Any], settings: Settings) -> ImageModelDescriptor[Any]:
    """A copy to upscale with: fused, in its fast form, on the device and in the precision of the settings.

    What overflows in FP16 is computed again more precisely. A foreign model is copied as it is.
    """
    half = settings.use_fp16 and model.supports_half
    key = (str(settings.device), half)
    made_for, ready = _RUNNABLE.get(model, (None, model))
    if made_for != key:
        ready = _make(model, settings.device, half=half)
        _RUNNABLE[model] = (key, ready)
    return ready


def _make(model: ImageModelDescriptor[Any], device: torch.device, *, half: bool) -> ImageModelDescriptor[Any]:
    if isinstance(model, ParagonModelDescriptor):
        twin = copied(model)
        twin.to(device)
        return with_backend(twin, precision="fp16" if half else "fp32")
    twin = copy.copy(model)
    network: torch.nn.Module = copy.deepcopy(model.model)
    twin._model = network.to(device, torch.float16 if half else torch.float32).eval()  # pyright: ignore
    return twin


def tile_within(model: ImageModelDescriptor[Any], width: int, height: int, limit: float) -> TileSize:
    """The tile for an image that keeps a run within the memory that the user allows.

    Args:
        model: on the device that does the work.
        width, height: of the image.
        limit: GiB; 0 for all that is free.

    Returns:
        0 for untiled, else the side of a tile; "auto" without a limit, or if exact tiles are not known for the model.
    """
    if not limit:
        return "auto"
    budget = USABLE * min(limit * GIB, free_memory(model.device))
    x = torch.empty((1, model.input_channels, height, width), device="meta")
    if untiled_peak(worker(model.model), x.shape, model.dtype) <= budget:
        return 0
    return fitting_tile(model, x, budget) if can_tile_exactly(model, x) else "auto"
