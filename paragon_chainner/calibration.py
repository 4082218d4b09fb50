"""Calibrating: images through a dynamic model, so that its tracked kernels become the mean of what it uses on them."""

from __future__ import annotations

import torch
from torch import Tensor

from paragon_arch import ParagonModelDescriptor
from paragon_arch.errors import InvalidOptionError
from paragon_arch.networks.dynamic import TrackedTransformer

from .models import copied

CROP = 512
"""Pixels: larger images give the crop in their middle."""


class Calibrator:
    """Collects kernels from images.

    Args:
        model: with content-dependent kernels, not fused; not changed.

    Raises:
        InvalidOptionError: the model has no such kernels.
    """

    def __init__(self, model: ParagonModelDescriptor) -> None:
        self._model = copied(model)
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
            block.interval = 1
        self.count = 0
        """Images so far."""

    @torch.no_grad()
    def add(self, image: Tensor) -> None:
        """Take in one image ``(1, C, H, W)`` in 0..1."""
        self.count += 1
        top, left = (max(0, side - CROP) // 2 for side in image.shape[-2:])
        for block in self._blocks:
            block.momentum = 1 / self.count  # of the running mean, in which every image counts the same
            block.training = True  # of these blocks alone: the rest of the network stays as in use
        try:
            self._model.model(image[..., top : top + CROP, left : left + CROP].to(self._model.device))
        finally:
            for block in self._blocks:
                block.training = False

    def result(self) -> ParagonModelDescriptor:
        """The calibrated model, in FP32.

        Raises:
            InvalidOptionError: there was no image.
        """
        if not self.count:
            raise InvalidOptionError("no image was given: calibrate on pictures of the kind that you want to upscale")
        return self._model
