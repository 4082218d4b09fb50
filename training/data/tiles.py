"""Sharp square tiles of pictures: what the second models were trained on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from .pictures import Pixels, resize

SIDE, SMALLEST = 512, 256
"""Side of a tile in pixels, and the least that one may have."""
MOST = 3
"""Tiles of one picture."""
SHARP = 0.7
"""Detail of the finest octave over that of the next, from which on a picture is sharp. Of a photograph as cameras give
it, about 0.5; of Kodak24 and Urban100, 0.7 to 1."""
STEP = 0.75
"""A picture that is not sharp is reduced by this factor and looked at again."""
FLAT = 2.0
"""Tiles with less detail than this (8-bit steps, root mean square of the finest octave) are left out."""
Floats = npt.NDArray[np.float32]


def sharp_tiles(image: Pixels) -> list[Pixels]:
    """The liveliest tiles of a picture, after it has been reduced until it is sharp; none of a flat or small one."""
    while sharpness(image) < SHARP:
        size = (round(image.shape[0] * STEP), round(image.shape[1] * STEP))
        if min(size) < SMALLEST:
            return []
        image = resize(image, size, Image.Resampling.LANCZOS)
    side = min(SIDE, *image.shape[:2])
    if side < SMALLEST:
        return []
    tiles = [image[y : y + side, x : x + side] for y, x in _grid(image, side)]
    lively = sorted(tiles, key=detail, reverse=True)[:MOST]
    return [tile for tile in lively if detail(tile) >= FLAT]


def _grid(image: Pixels, side: int) -> list[tuple[int, int]]:
    """Corners of as many tiles as fit without touching, spread evenly."""
    rows, columns = (_starts(length, side) for length in image.shape[:2])
    return [(y, x) for y in rows for x in columns]


def _starts(length: int, side: int) -> list[int]:
    number = length // side
    return [round(index * (length - side) / max(1, number - 1)) for index in range(number)]


def detail(image: Pixels) -> float:
    """Root mean square of what halving loses, in 8-bit steps of green."""
    return _lost(image[..., 1].astype(np.float32))


def sharpness(image: Pixels) -> float:
    """Detail of the finest octave over that of the next, of green; flat pictures count as sharp."""
    plane = image[..., 1].astype(np.float32)
    next_one = _lost(_halved(plane))
    return _lost(plane) / next_one if next_one > 0 else 1.0


def _lost(plane: Floats) -> float:
    half = _halved(plane)
    restored = half.repeat(2, axis=0).repeat(2, axis=1)
    return float(np.sqrt(np.square(plane[: restored.shape[0], : restored.shape[1]] - restored).mean()))


def _halved(plane: Floats) -> Floats:
    height, width = plane.shape[0] // 2, plane.shape[1] // 2
    return plane[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean(axis=(1, 3))
