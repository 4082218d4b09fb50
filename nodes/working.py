"""A model of a workflow, ready for one run of a node.

Models that travel through a workflow are shared by its branches and kept for the next run, so nothing is done to them:
an `Upscaler` runs a private copy, and with it everything is gone again.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from spandrel import ImageModelDescriptor
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from paragon_engine import Upscaler
from paragon_engine.backends.precision import PrecisionChoice as Choice
from paragon_engine.tiling import TileSize, memory_needed

from . import host, settings

__all__ = ["Choice", "Model", "interruptible", "ready"]

Model = ImageModelDescriptor[Any]


def ready(model: Model, image: Tensor, tile: TileSize, precision: Choice) -> Upscaler:
    """A copy of the model on ComfyUI's device, where room is made for it; to be closed.

    Args:
        model: not changed.
        image: ``(N, H, W, C)``, of the size of those to come.
        tile: for how much room.
        precision: "auto" is what ComfyUI uses on its device, as far as the model holds it.

    Raises:
        InvalidOptionError: the model does not hold the precision.
    """
    device = host.device()
    wanted = settings.precision(precision)
    upscaler = Upscaler(model, device=device, precision=wanted, halves=host.half_precisions(device))
    if device.type != "cpu":
        host.make_room(memory_needed(upscaler, image[:1, ..., :3].movedim(-1, 1), tile))
    return upscaler


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
