"""chaiNNer's images as ours, and back.

chaiNNer's are float32 arrays in 0..1, ``(H, W)`` or ``(H, W, C)`` with C = 1, 3 or 4 in the order blue, green, red,
alpha.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from paragon_engine.finite import cleaned_pixels
from paragon_engine.pictures import Picture


def to_picture(image: NDArray[np.float32]) -> Picture:
    """A copy of one of chaiNNer's images, with 0 in place of NaN and infinity."""
    finite = cleaned_pixels(image.astype(np.float32, copy=False), "the image")
    pixels: NDArray[np.float32] = np.clip(finite, 0, 1)  # always a new array
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[2] == 1:
        return Picture(pixels)
    alpha = pixels[..., 3] if pixels.shape[2] == 4 else None
    return Picture(np.ascontiguousarray(pixels[..., 2::-1]), alpha)


def from_picture(picture: Picture) -> NDArray[np.float32]:
    """An image for chaiNNer; gray without alpha stays gray."""
    if picture.alpha is None:
        return picture.pixels[..., 0] if picture.is_gray else np.ascontiguousarray(picture.pixels[..., ::-1])
    colours = np.broadcast_to(picture.pixels, (*picture.pixels.shape[:2], 3))[..., ::-1]
    return np.ascontiguousarray(np.dstack((colours, picture.alpha)))


def blended(before: NDArray[np.float32], after: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """``share`` of a restored image and the rest of what it was; both of the same shape."""
    former = cast("NDArray[np.float32]", before.reshape(after.shape))
    return cast("NDArray[np.float32]", (1 - np.float32(share)) * former + np.float32(share) * after)
