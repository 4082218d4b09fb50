"""Whether a method lets the input's pixels be seen: as squares at edges, and as dots.

Both are 8-bit measures of a method's result, to be read beside those of bicubic enlargement of the same input: a network
is free of squares where they are at most `LIMIT` times as large.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ..data.pictures import Pixels

LIMIT = 1.1
"""So many times bicubic's value is the most that is free of squares."""
DOTS_SIDE, DOTS_STEP = 48, 6
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
        border = np.arange(steps.shape[axis]) % scale == scale - 1
        across += float(steps.compress(border, axis=axis).mean())
        inside += float(steps.compress(~border, axis=axis).mean())
    return across / inside if inside > 0 else (np.inf if across > 0 else 1.0)


def dots_picture() -> Pixels:
    """Single white and black pixels, far apart, on grey."""
    picture = np.full((DOTS_SIDE, DOTS_SIDE, 3), 128, np.uint8)
    middle = DOTS_STEP // 2
    picture[middle::DOTS_STEP, middle :: 2 * DOTS_STEP] = 255
    picture[middle::DOTS_STEP, middle + DOTS_STEP :: 2 * DOTS_STEP] = 0
    return picture


def dot_share(upscale: Callable[[Pixels], Pixels], scale: int) -> float:
    """How much of single pixels on grey stays in their own squares, of what is there and one output pixel around.

    Nearest-neighbour enlargement gives 1.
    """
    low = dots_picture()
    off = np.abs(upscale(low).astype(np.float64) - 128).mean(axis=2)
    own = np.kron(np.any(low != 128, axis=2), np.ones((scale, scale))) > 0
    around = _grown(own) & ~own
    inside, outside = float(off[own].mean()), float(off[around].mean())
    return inside / (inside + outside) if inside + outside > 0 else 0.0


def _grown(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """A mask and its eight neighbours."""
    padded = np.pad(mask, 1)
    height, width = mask.shape
    return np.any([padded[y : y + height, x : x + width] for y in range(3) for x in range(3)], axis=0)
