"""NaN and infinity: found cheaply, and taken out of what a picture brings along."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .pictures import Pixels
from .progress import log


def is_finite(x: Tensor) -> bool:
    """Whether no value is NaN or infinite.

    A sum sees that thirty times as fast as a look at every value: both stay in it. Finite values that overflow it are
    looked at one by one.
    """
    wide = torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else None
    return bool(torch.isfinite(x.sum(dtype=wide))) or bool(torch.isfinite(x).all())


def cleaned(x: Tensor, name: str) -> Tensor:
    """A tensor with 0 in place of NaN and infinity; a warning names it. The same tensor where all values are finite."""
    if is_finite(x):
        return x
    _tell(name, x.numel() - int(torch.isfinite(x).sum()))
    return x.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)


def cleaned_pixels(pixels: Pixels, name: str) -> Pixels:
    """As `cleaned`."""
    with np.errstate(all="ignore"):
        if np.isfinite(pixels.sum()) or np.isfinite(pixels).all():
            return pixels
    _tell(name, int(pixels.size - np.isfinite(pixels).sum()))
    return np.nan_to_num(pixels, nan=0.0, posinf=0.0, neginf=0.0)


def _tell(name: str, count: int) -> None:
    log.warning("%s: %d values are NaN or infinite; they are replaced by 0", name, count)
