"""Losses by name, and their weighted sum."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from . import colour, frequency, perceptual, pixel, structure

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Output, target and low-resolution input to a scalar."""

PLAIN: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": pixel.l1,
    "mse": pixel.mse,
    "charbonnier": pixel.charbonnier,
    "bounded-charbonnier": pixel.bounded_charbonnier,
    "huber": pixel.huber,
    "tv": pixel.total_variation,
    "ms-ssim": structure.ms_ssim_loss,
    "fft": frequency.fft_loss,
    "focal-frequency": frequency.focal_frequency_loss,
    "hsluv": colour.hsluv_loss,
    "consistency": colour.consistency_loss,
}
"""Losses that need no weights."""

PRETRAINED: dict[str, Callable[[], nn.Module]] = {
    "vgg": perceptual.vgg_loss,
    "convnext": perceptual.convnext_loss,
    "dists": perceptual.Dists,
    "lpips": perceptual.Lpips,
    "clip": perceptual.ContrastiveClip,
}
"""Losses whose weights are downloaded."""


def build_loss(name: str, device: torch.device) -> Loss:
    """One loss, ready to use.

    Raises:
        ParagonError: its library is missing, or its weights cannot be had.
    """
    if name in PLAIN:
        plain = PLAIN[name]
        return lambda output, target, low: plain(output, target)
    module = perceptual.obtained(name, PRETRAINED[name]).to(device)
    if name == "clip":
        return cast("Loss", module)
    return lambda output, target, low: module(output, target)


class Losses:
    """The losses of a recipe.

    Args:
        weights: by name.
        device: where images will be.
    """

    def __init__(self, weights: Mapping[str, float], device: torch.device) -> None:
        self.weights = dict(weights)
        self.parts = {name: build_loss(name, device) for name in weights}

    def __call__(self, output: Tensor, target: Tensor, low: Tensor) -> dict[str, Tensor]:
        """Each loss times its weight, of float32 images."""
        return {name: self.weights[name] * loss(output, target, low) for name, loss in self.parts.items()}
