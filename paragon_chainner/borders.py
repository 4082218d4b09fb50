"""Pictures with a border around them while they are upscaled, so that what is beyond their edges is not nothing."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from spandrel import ImageModelDescriptor

from paragon_arch import ParagonModelDescriptor

Border = Literal["reflect", "wrap", "edge"]
"""As in `numpy.pad`: mirrored, from the opposite side, or the outermost pixel repeated."""
LEAST, MOST = 16, 64
"""Widths of a border in pixels, where a model looks less far, or further."""


def border_width(model: ImageModelDescriptor[Any]) -> int:
    """Pixels that a model should see beyond an edge: what it looks at, in whole attention windows."""
    if not isinstance(model, ParagonModelDescriptor):
        return LEAST
    reach = model.report.receptive_field
    window = model.model.traits.window or 1
    wanted = min(max(LEAST, MOST // 2 if reach is None else reach), MOST)
    return -(-wanted // window) * window


def with_border(image: NDArray[np.float32], kind: Border, width: int) -> NDArray[np.float32]:
    """``(H, W)`` or ``(H, W, C)`` with a border; of a picture that is smaller than it, as often as needed."""
    return np.pad(image, [(width, width), (width, width), *[(0, 0)] * (image.ndim - 2)], mode=kind)


def without_border(image: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """A copy of the inside."""
    return np.ascontiguousarray(image[width:-width, width:-width])
