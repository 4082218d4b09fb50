"""Calibrating: images through a dynamic model, so that its tracked kernels become the mean of what it uses on them."""

from __future__ import annotations

import torch
from torch import Tensor

from paragon_arch import ParagonModelDescriptor
from paragon_arch.errors import InvalidOptionError
from paragon_arch.networks.dynamic import TrackedTransformer
from paragon_arch.spandrel_support import private_model
from paragon_engine.release.calibrate import crops

CROPS = 16
"""Of an image at most."""


class Calibrator:
    """Collects kernels from images.

    Args:
        model: with content-dependent kernels, not fused; not changed.

    Raises:
        InvalidOptionError: the model has no such kernels.
    """

    def __init__(self, model: ParagonModelDescriptor) -> None:
        self._model = private_model(model)
        self._blocks = [
            module
            for module in self._model.model.modules()
            if isinstance(module, TrackedTransformer) and module.kernel_generator is not None
        ]
        if not self._blocks:
            why = "it is fused" if model.report.fused else f"the layout {model.report.layout} has none"
            raise InvalidOptionError(f"{model.report.name}: there are no dynamic kernels to calibrate: {why}")
        for block in self._blocks:
            block.tracked_initialized.fill_(False)
            block.steps, block.interval = 0, 1
        self.count = 0
        """Images so far that were large enough."""

    @torch.no_grad()
    def add(self, image: Tensor) -> None:
        """Take in one image ``(1, C, H, W)`` in 0..1, in crops of the size of training patches."""
        parts = list(crops(image, CROPS))
        self.count += bool(parts)
        for part in parts:
            for block in self._blocks:
                block.momentum = 1 / (block.steps + 1)  # the running mean is then the mean of all
                block.train()  # these blocks alone: the rest of the network stays as in use
            self._model.model(part.to(self._model.device))
            for block in self._blocks:
                block.eval()

    def result(self) -> ParagonModelDescriptor:
        """The calibrated model, in FP32.

        Raises:
            InvalidOptionError: there was no image.
        """
        if not self.count:
            raise InvalidOptionError(
                "no image of 16 pixels or more was given: calibrate on pictures of the kind that you want to upscale"
            )
        return self._model
