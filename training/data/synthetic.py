"""Synthetic pictures: dead leaves, the occluding shapes whose statistics resemble those of natural images.

Ruderman 1997 and Lee, Mumford and Huang 2001; used to pretrain restoration networks by Achddou et al. 2021. Here they
stand in for photographs in tests and in the smoke recipe.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from .pairs import Pixels, resize

SUPERSAMPLE = 2


def dead_leaves(side: int, *, seed: int, leaves: int = 400) -> Pixels:
    """A square picture of overlapping ellipses and boxes, antialiased.

    Args:
        side: in pixels.
        seed: decides everything.
        leaves: number of shapes; sizes follow a power law, r to the power of -3.
    """
    rng = np.random.default_rng(seed)
    size = side * SUPERSAMPLE
    canvas = Image.new("RGB", (size, size), _colour(rng))
    draw = ImageDraw.Draw(canvas)
    smallest, largest = size / 100, size / 3
    for _ in range(leaves):
        # inverse transform of p(r) ~ r^-3 between the two radii
        u = rng.uniform()
        radius = (smallest**-2 - u * (smallest**-2 - largest**-2)) ** -0.5
        x, y = rng.uniform(0, size, 2)
        stretch = rng.uniform(0.4, 1.0)
        box = (x - radius, y - radius * stretch, x + radius, y + radius * stretch)
        shape = draw.ellipse if rng.uniform() < 0.6 else draw.rectangle
        shape(box, fill=_colour(rng))
    return resize(np.asarray(canvas), (side, side), Image.Resampling.LANCZOS)


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = rng.integers(256, size=3).tolist()
    return red, green, blue
