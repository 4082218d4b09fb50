"""MATLAB's ``imresize(image, scale, "bicubic")``, which published scores of super-resolution are made with.

Keys' cubic kernel with a = -0.5, widened when it reduces (antialiasing), weights that sum to 1, borders mirrored with
the edge pixel repeated, rounded to 8 bits once at the end.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt

from .pictures import Pixels

Floats = npt.NDArray[np.float64]

SUPPORT = 4.0
"""Width of Keys' kernel in samples."""


def cubic(x: Floats) -> Floats:
    """Keys' kernel, a = -0.5, at distances ``x``."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def weights(length: int, target: int, scale: float) -> Floats:
    """``(target, length)``: what each source sample gives to each result."""
    stretch = min(scale, 1.0)
    centres = (np.arange(target, dtype=np.float64) + 0.5) / scale - 0.5
    taps = int(np.ceil(SUPPORT / stretch)) + 2
    first = np.floor(centres - SUPPORT / stretch / 2).astype(np.int64)
    indices = first[:, None] + np.arange(taps)[None, :]
    values = cubic(np.multiply(centres[:, None] - indices, stretch, dtype=np.float64))
    values /= values.sum(axis=1, keepdims=True)
    folded = indices % (2 * length)  # ... 1 0 | 0 1 2 ... n-1 | n-1 n-2 ...
    folded = np.minimum(folded, 2 * length - 1 - folded)
    matrix = np.zeros((target, length))
    np.add.at(matrix, (np.arange(target)[:, None], folded), values)
    return matrix


def imresize(image: Pixels, scale: Fraction | int) -> Pixels:
    """Resize by a factor; sides are rounded up.

    Args:
        image: ``(H, W, 3)``, 8 bits.
        scale: e.g. ``Fraction(1, 2)`` or 2.
    """
    height, width = (-int(-side * scale // 1) for side in image.shape[:2])
    rows = weights(image.shape[0], height, float(scale))
    columns = weights(image.shape[1], width, float(scale))
    result = np.einsum("yh,hwc->ywc", rows, image.astype(np.float64), optimize=True)
    result = np.einsum("xw,ywc->yxc", columns, result, optimize=True)
    return np.clip(np.floor(result + 0.5), 0, 255).astype(np.uint8)  # halves go up, as MATLAB rounds
