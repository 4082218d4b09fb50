"""Patches of extreme contrast: what photographs hardly show and a network must survive all the same.

A network without normalisation that multiplies features (the stream variant) is a polynomial of a high degree. Trained
on photographs alone it can be excellent on photographs and explode on a chessboard. What it must see is a chessboard
of its own input's pixels: reduced from a larger one, the same chessboard is grey.

The target is the bicubic enlargement. A picture that reduction turns back into such a patch does not exist without
squares: within 0..255 only repeated pixels come near, and a network trained on them shows its input's pixels.
"""

from __future__ import annotations

import numpy as np

from .imresize import imresize
from .pictures import Pixels


def stress_patch(side: int, rng: np.random.Generator) -> Pixels:
    """A square of random cells, stripes or a chessboard, in black and white, in pure colours or in any colours.

    Args:
        side: height and width in pixels.
        rng: of all choices.
    """
    cell = 1 if rng.random() < 0.5 else int(rng.integers(2, 9))  # single pixels are the hardest
    cells = -(-side // cell)
    kind = int(rng.integers(4))
    if kind == 0:  # chessboard
        pattern = np.add.outer(np.arange(cells), np.arange(cells))[..., None] % 2 * 255
    elif kind == 1:  # stripes
        pattern = np.broadcast_to((np.arange(cells) % 2 * 255)[None, :, None], (cells, cells, 1))
    elif kind == 2:  # few or many dots
        pattern = (rng.random((cells, cells, int(rng.choice((1, 3))))) < rng.uniform(0.01, 0.5)) * 255
    elif rng.random() < 0.5:
        pattern = rng.integers(0, 256, (cells, cells, 3))
    else:
        pattern = rng.integers(0, 2, (cells, cells, 3)) * 255
    pattern = np.repeat(np.repeat(pattern, cell, axis=0), cell, axis=1)[:side, :side]
    strength = 1.0 if rng.random() < 0.5 else float(rng.uniform(0.3, 1.0))
    scaled = 127.5 + strength * (np.broadcast_to(pattern, (side, side, 3)) - 127.5)
    return np.ascontiguousarray(np.rint(scaled).clip(0, 255).astype(np.uint8))


def stress_pair(side: int, scale: int, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """A patch of ``side`` pixels and its smooth target, ``scale`` times as large."""
    low = stress_patch(side, rng)
    return low, imresize(low, scale)  # Pillow's clips after each axis, so that it is another one when turned
