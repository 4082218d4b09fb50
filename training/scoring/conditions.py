"""What is done to the low-resolution picture before a method gets it."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from paragon_arch.errors import InvalidOptionError

from ..data.codecs import compress
from ..data.degrade import blur
from ..data.imresize import imresize
from ..data.pictures import Pixels

NOISE = 5.0
"""Standard deviation of the noise in 8-bit steps, drawn anew for each channel."""
BLUR = 0.6
"""Standard deviation of the blur before the reduction, in low-resolution pixels."""


def _reduced(reference: Pixels, scale: int) -> Pixels:
    return imresize(reference, Fraction(1, scale))


def _jpeg(quality: int) -> Callable[[Pixels, int], Pixels]:
    return lambda reference, scale: compress(_reduced(reference, scale), "JPEG", quality)


def _noise(reference: Pixels, scale: int) -> Pixels:
    low = _reduced(reference, scale)
    noise = np.random.default_rng(0).normal(0.0, NOISE, low.shape)
    noisy = np.clip(np.rint(low + noise), 0, 255).astype(np.uint8)
    return compress(noisy, "JPEG", 85)


def _blur(reference: Pixels, scale: int) -> Pixels:
    return compress(_reduced(blur(reference, BLUR * scale, BLUR * scale), scale), "JPEG", 90)


CONDITIONS: dict[str, Callable[[Pixels, int], Pixels]] = {
    "clean": _reduced,
    "jpeg75": _jpeg(75),
    "jpeg50": _jpeg(50),
    "noise": _noise,
    "blur": _blur,
}
"""From the reference and the scale to the low-resolution picture: MATLAB's antialiased bicubic, then Pillow's JPEG
(4:2:0) of that quality; noise of sigma 5 and JPEG 85; a blur before the reduction and JPEG 90."""


def degraded(reference: Pixels, scale: int, condition: str) -> Pixels:
    """The low-resolution picture of a reference whose sides are multiples of the scale.

    Raises:
        InvalidOptionError: no such condition.
    """
    if condition not in CONDITIONS:
        raise InvalidOptionError(f"condition {condition!r} is unknown; known: {', '.join(CONDITIONS)}")
    return CONDITIONS[condition](reference, scale)
