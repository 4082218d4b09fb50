"""Sizes of outputs, and bringing pictures to them."""

from __future__ import annotations

import numpy as np
from PIL import Image

from paragon_arch.errors import InvalidOptionError

from .picture import Pixels

Size = tuple[int, int]
"""(width, height) in pixels."""


def resized(pixels: Pixels, size: Size) -> Pixels:
    """(H, W, C) brought to (width, height) by an antialiased Lanczos filter in float; may overshoot 0..1."""
    if (pixels.shape[1], pixels.shape[0]) == size:
        return pixels
    channels = [
        np.asarray(Image.fromarray(np.ascontiguousarray(pixels[..., i])).resize(size, Image.Resampling.LANCZOS))
        for i in range(pixels.shape[2])
    ]
    return np.stack(channels, axis=2)


def wanted_size(size: Size, wanted: tuple[int | None, int | None], *, fit: bool) -> Size:
    """The output size for a width, a height, or both.

    Args:
        size: of the input.
        wanted: (width, height); None for the side that follows from the picture's proportions.
        fit: both sides are limits: the largest size of the picture's proportions inside them.

    Raises:
        InvalidOptionError: a side is below one pixel, or none is given.
    """
    width, height = wanted
    if width is None and height is None:
        raise InvalidOptionError("an output size needs a width, a height or both")
    if min(side for side in wanted if side is not None) < 1:
        raise InvalidOptionError(f"size {width} x {height} is empty: give at least one pixel")
    if width is not None and height is not None and not fit:
        return width, height
    factor = min(side / own for side, own in zip(wanted, size, strict=True) if side is not None)
    exact = [max(1, round(own * factor)) for own in size]
    return (min(exact[0], width) if width else exact[0]), (min(exact[1], height) if height else exact[1])


def applications(factor: float, scale: int) -> int:
    """How often a model of this scale is applied to reach a factor, at most 3 % short of it; at least once."""
    count = 1
    while scale > 1 and scale**count * 1.03 < factor:
        count += 1
    return count
