"""Upscaling transparency without fringes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def bleed(colour: Tensor, alpha: Tensor) -> Tensor:
    """Give fully transparent pixels the colours of their visible surroundings.

    Whatever a painting program left there (mostly black) would otherwise be mixed into the visible edge by the
    network and show as a dark fringe.

    Args:
        colour: ``(1, C, H, W)``.
        alpha: ``(1, 1, H, W)``, 0..1.

    Returns:
        ``(1, C, H, W)``; unchanged where alpha > 0, and everywhere if no pixel is visible.
    """
    visible = (alpha > 0).to(colour.dtype)
    if not bool(visible.any()) or bool(visible.all()):
        return colour
    return _fill(colour, visible)


def _fill(colour: Tensor, known: Tensor) -> Tensor:
    """Fill pixels that are not known from a pyramid of averages of those that are."""
    if min(colour.shape[-2:]) > 1 or max(colour.shape[-2:]) > 1:
        share = F.avg_pool2d(known, 2, ceil_mode=True)
        mean = F.avg_pool2d(colour * known, 2, ceil_mode=True) / share.clamp_min(1e-6)
        coarse = _fill(mean, (share > 0).to(colour.dtype))
        smooth = F.interpolate(coarse, size=colour.shape[-2:], mode="bilinear", align_corners=False)
    else:
        smooth = colour
    return torch.where(known > 0, colour, smooth)


def within_neighbourhood(upscaled: Tensor, alpha: Tensor, scale: int) -> Tensor:
    """Limit upscaled alpha to the range of the four input pixels around each output pixel.

    Opaque areas stay exactly opaque and empty ones exactly empty, and an edge cannot overshoot into a halo.

    Args:
        upscaled: ``(1, 1, H*scale, W*scale)``.
        alpha: ``(1, 1, H, W)``.
        scale: output pixels per input pixel.
    """
    padded = F.pad(alpha, (1, 1, 1, 1), mode="replicate")
    high, low = F.max_pool2d(padded, 2, stride=1), -F.max_pool2d(-padded, 2, stride=1)  # at the pixels' corners
    high, low = (F.interpolate(corners, scale_factor=scale, mode="nearest") for corners in (high, low))
    # an output pixel belongs to the corner it is nearest to, half a pixel away from the pixels' own grid
    height, width, half = upscaled.shape[-2], upscaled.shape[-1], scale // 2
    inner = (..., slice(half, half + height), slice(half, half + width))
    return upscaled.clamp(low[inner], high[inner])
