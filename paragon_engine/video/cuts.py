"""Telling a new scene from the same one that moves, fades or flickers.

Frames are compared as small luma pictures. The scene counts as broken off where

- the brightness of places jumped: the mean absolute difference is above `JUMP` (hard cuts, and both edges of a flash,
  after which the flash must not shine on), or
- the structure changed while something visibly differs: the correlation of the two pictures, each less its mean, is
  below `LIKENESS` (a cut between scenes of equal brightness, which the first rule misses).

A fade changes brightness by less than `JUMP` a frame and keeps the structure, a dissolve keeps most of it from frame
to frame; both pass.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

JUMP = 0.12
"""Of 0..1; 30 of 255."""
LIKENESS = 0.6
VISIBLE = 0.03
"""Mean absolute difference below which two frames are the same, whatever noise does to their correlation."""
_GRID = (36, 64)
_LUMA = (0.2126, 0.7152, 0.0722)


class CutDetector:
    """Compares each frame with the one before."""

    def __init__(self) -> None:
        self._previous: Tensor | None = None

    def __call__(self, frame: Tensor) -> bool:
        """Whether this frame does not go on from the one before; True for the first one.

        Args:
            frame: ``(1, C, H, W)`` in 0..1.
        """
        small = _thumbnail(frame)
        previous, self._previous = self._previous, small
        return previous is None or previous.shape != small.shape or _differs(previous, small)


def _thumbnail(frame: Tensor) -> Tensor:
    """Luma as (rows, columns), on the CPU."""
    size = min(_GRID[0], frame.shape[-2]), min(_GRID[1], frame.shape[-1])
    small = F.adaptive_avg_pool2d(frame.float(), size)[0]
    if small.shape[0] == 1:
        return small[0].cpu()
    weights = torch.tensor(_LUMA, device=small.device).view(3, 1, 1)
    return (small * weights).sum(dim=0).cpu()


def _differs(a: Tensor, b: Tensor) -> bool:
    difference = torch.mean(torch.abs(a - b)).item()
    if difference > JUMP:
        return True
    if difference < VISIBLE:
        return False
    x, y = a - a.mean(), b - b.mean()
    likeness = torch.sum(x * y) / (torch.sqrt(torch.sum(x * x) * torch.sum(y * y)) + 1e-3)
    return likeness.item() < LIKENESS
