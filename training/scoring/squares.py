"""Whether a method lets the input's pixels be seen: as squares at edges, and as dots.

Both measure a method's 8-bit result, to be read beside bicubic enlargement of the same input: a network is free of
squares where they are at most `LIMIT` times as large.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import numpy.typing as npt

from ..data.pictures import Pixels

LIMIT = 1.1
"""So many times bicubic's value is the most that is free of squares."""
DOTS_SIDE, DOTS = 48, 0.05
"""Side of the picture of dots, and the share of its pixels that are dots."""
Floats = npt.NDArray[np.float64]


def step_ratio(result: Pixels, scale: int) -> float:
    """Mean difference of neighbours that two input pixels made, over that of neighbours inside one input pixel.

    Nearest-neighbour enlargement gives infinity, a picture without any trace of the input's grid 1.

    Args:
        result: an enlarged picture.
        scale: by which it was enlarged, at least 2.
    """
    across = inside = 0.0
    for axis in (0, 1):
        steps = np.abs(np.diff(result.astype(np.float64), axis=axis))
        border = cast("npt.NDArray[np.bool_]", np.arange(steps.shape[axis]) % scale == scale - 1)
        across += float(steps.compress(border, axis=axis).mean())
        inside += float(steps.compress(~border, axis=axis).mean())
    return across / inside if inside > 0 else (np.inf if across > 0 else 1.0)


def dots_picture() -> Pixels:
    """Single white pixels on black."""
    dots = np.random.default_rng(0).random((DOTS_SIDE, DOTS_SIDE)) < DOTS
    return np.repeat((dots[..., None] * 255).astype(np.uint8), 3, axis=2)


def dot_share(upscale: Callable[[Pixels], Pixels], scale: int) -> float:
    """How much of single pixels stays in their own squares, of what is there and one output pixel around them.

    Mean of white ones on black and black ones on white. Nearest-neighbour enlargement gives 1.
    """
    dots = dots_picture()
    own = np.kron(dots[..., 0] > 0, np.ones((scale, scale))) > 0
    around = _grown(own) & ~own
    shares: list[float] = []
    for low, ground in ((dots, 0.0), (255 - dots, 255.0)):
        off = np.abs(upscale(low).astype(np.float64) - ground).mean(axis=2)
        inside, outside = float(off[own].mean()), float(off[around].mean())
        shares.append(inside / (inside + outside) if inside + outside > 0 else 0.0)
    return sum(shares) / len(shares)


def _grown(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """A mask and its eight neighbours."""
    padded = np.pad(mask, 1)
    height, width = mask.shape
    return np.any([padded[y : y + height, x : x + width] for y in range(3) for x in range(3)], axis=0)
