"""Taking the colours of a result back to those of the input, for models that shift them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Match = Literal["off", "mean and deviation", "wavelet"]
LEVELS = 5
"""Octaves of the wavelet: what is softer than some 30 pixels of the input counts as colour."""
_SMALLEST = 1e-4


def match_colours(result: Tensor, original: Tensor, how: Match, weight: Tensor | None = None) -> Tensor:
    """Give a result the colours of the picture that it was made of.

    Args:
        result: ``(1, C, H', W')`` in 0..1; not changed.
        original: ``(1, C, H, W)`` in 0..1, of any other size.
        how: "mean and deviation" moves each channel to the original's mean and standard deviation. "wavelet" takes
            all that is soft from the original and leaves detail as it is.
        weight: ``(1, 1, H, W)``, how much each pixel of the original counts; None for all alike.

    Returns:
        ``(1, C, H', W')`` in 0..1.
    """
    if how == "off":
        return result
    seen = F.interpolate(result, original.shape[2:], mode="area")  # the result as large as the original
    even = torch.ones_like(original[:, :1]) if weight is None or not weight.any() else weight
    if how == "wavelet":
        soft = _softened((original - seen) * even) / _softened(even).clamp_min(_SMALLEST)
        shift = F.interpolate(soft, result.shape[2:], mode="bilinear", align_corners=False)
        return shift.add_(result).clamp_(0, 1)
    (mean, deviation), (wanted, spread) = _statistics(seen, even), _statistics(original, even)
    gain = torch.where(deviation > _SMALLEST, spread / deviation.clamp_min(_SMALLEST), 1.0)
    return torch.addcmul(wanted - mean * gain, result, gain).clamp_(0, 1)


def _statistics(image: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel."""
    total = weight.sum()
    mean = (image * weight).sum((2, 3), keepdim=True) / total
    variance = ((image - mean).square() * weight).sum((2, 3), keepdim=True) / total
    return mean, variance.sqrt()


def _softened(image: Tensor) -> Tensor:
    """What is left after `LEVELS` octaves of detail are taken out: the a-trous scheme with a binomial filter."""
    taps = image.new_tensor([0.25, 0.5, 0.25])
    for level in range(LEVELS):
        for axis in (2, 3):
            image = _filtered(image, taps, axis, 2**level)
    return image


def _filtered(image: Tensor, taps: Tensor, axis: int, step: int) -> Tensor:
    """One filter along an axis with ``step`` pixels between its taps; edges are repeated."""
    place = torch.arange(image.shape[axis], device=image.device)
    last = image.shape[axis] - 1
    sides = (image.index_select(axis, (place + offset).clamp(0, last)) for offset in (-step, step))
    return image * taps[1] + sum(side * taps[0] for side in sides)
