"""Procedural test pictures with the statistics of natural images (Lee, Mumford and Huang 2001: dead leaves)."""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

_RADII = (2.0, 60.0)
_SUPERSAMPLING = 2
_COVERAGE = 6.0
"""Mean number of discs over each pixel; exp(-6) of the picture stays background."""


@functools.lru_cache(maxsize=8)
def dead_leaves(side: int, seed: int) -> Tensor:
    """Overlapping discs of one random colour each, with radii of density r^-3 between 2 and 60 pixels.

    The same arguments give the same picture, and no global random state is touched.

    Args:
        side: height and width in pixels.
        seed: picks the picture.

    Returns:
        ``(1, 3, side, side)``, float32 in 0..1. Shared between callers: do not write to it.
    """
    rng = np.random.default_rng(seed)
    size = side * _SUPERSAMPLING
    small, large = (radius * _SUPERSAMPLING for radius in _RADII)
    extent = size + 2 * large  # a disc centred outside of the picture may still reach into it
    mean_area = 2 * math.pi * small**2 * math.log(large / small)
    count = int(_COVERAGE * extent**2 / mean_area)
    radii = small / np.sqrt(1 - rng.random(count) * (1 - (small / large) ** 2))  # inverse of their distribution
    centres = rng.random((count, 2)) * extent - large
    colours = rng.random((count, 3)).astype(np.float32)
    canvas = np.full((size, size, 3), 0.5, dtype=np.float32)
    for (y, x), radius, colour in zip(centres.tolist(), radii.tolist(), colours, strict=True):
        _draw_disc(canvas, y, x, radius, colour)
    picture = torch.from_numpy(canvas).permute(2, 0, 1).unsqueeze(0)  # pyright: ignore[reportUnknownMemberType]
    return F.avg_pool2d(picture, _SUPERSAMPLING).contiguous()


def _draw_disc(
    canvas: npt.NDArray[np.float32], y: float, x: float, radius: float, colour: npt.NDArray[np.float32]
) -> None:
    """Paint over the pixels of ``canvas`` (H, W, 3) whose centres are within ``radius`` of (y, x)."""
    top, left = max(0, int(y - radius)), max(0, int(x - radius))
    bottom, right = int(y + radius) + 2, int(x + radius) + 2
    part = canvas[top : max(0, bottom), left : max(0, right)]
    dy: npt.NDArray[np.float64] = np.arange(top, top + part.shape[0], dtype=np.float64) - y
    dx: npt.NDArray[np.float64] = np.arange(left, left + part.shape[1], dtype=np.float64) - x
    part[dy[:, None] ** 2 + dx**2 <= radius**2] = colour
