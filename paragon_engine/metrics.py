"""PSNR and SSIM on luma, as papers on super-resolution report them.

Luma is Matlab's ``rgb2ycbcr`` (ITU-R BT.601, studio range 16..235) of 8-bit RGB, kept as floating point. SSIM is that
of Wang et al. 2004: an 11x11 Gaussian window with sigma 1.5, valid positions only, K = (0.01, 0.03), population
(not sample) covariance. Both take 255 as the peak.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from paragon_arch.errors import InvalidOptionError

Pixels = npt.NDArray[np.uint8]
"""``(H, W, 3)`` RGB, 8 bits."""
Plane = npt.NDArray[np.float64]

WINDOW = 11


def luma(image: Pixels) -> Plane:
    """``(H, W)`` luma in 16..235."""
    return image.astype(np.float64) @ (np.array([65.481, 128.553, 24.966]) / 255) + 16


def crop_border(image: Pixels, border: int) -> Pixels:
    """The image without ``border`` pixels on each side."""
    return image[border : image.shape[0] - border, border : image.shape[1] - border]


def psnr_y(image: Pixels, reference: Pixels, *, border: int = 0) -> float:
    """Peak signal-to-noise ratio of luma in dB, infinite for equal images.

    Raises:
        InvalidOptionError: the sizes differ, or nothing is left inside the border.
    """
    a, b = _planes(image, reference, border, smallest=1)
    return _decibels(float(np.square(a - b).mean()))


def psnr_y_frame(image: Pixels, reference: Pixels, *, width: int) -> float:
    """As `psnr_y`, over the outermost ``width`` pixels alone: where padding goes wrong.

    Raises:
        InvalidOptionError: the sizes differ, or the frame covers the whole image.
    """
    a, b = _planes(image, reference, 0, smallest=2 * width + 1)
    error = np.square(a - b)
    inside = error[width:-width, width:-width]
    return _decibels(float((error.sum() - inside.sum()) / (error.size - inside.size)))


def ssim_y(image: Pixels, reference: Pixels, *, border: int = 0) -> float:
    """Structural similarity of luma, 1 for equal images.

    Raises:
        InvalidOptionError: the sizes differ, or less than one 11x11 window is left inside the border.
    """
    a, b = _planes(image, reference, border, smallest=WINDOW)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_a, mean_b = _blur(a), _blur(b)
    var_a, var_b = _blur(a * a) - mean_a**2, _blur(b * b) - mean_b**2
    covariance = _blur(a * b) - mean_a * mean_b
    score = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return float((score / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean())


def _decibels(error: float) -> float:
    return math.inf if error <= 0 else 10 * math.log10(255**2 / error)


def _planes(image: Pixels, reference: Pixels, border: int, *, smallest: int) -> tuple[Plane, Plane]:
    if image.shape != reference.shape:
        raise InvalidOptionError(f"images of {image.shape[:2]} and {reference.shape[:2]} pixels cannot be compared")
    if min(image.shape[:2]) - 2 * border < smallest:
        raise InvalidOptionError(f"an image of {image.shape[:2]} pixels is too small for border = {border}")
    return luma(crop_border(image, border)), luma(crop_border(reference, border))


def _blur(plane: Plane) -> Plane:
    """Gaussian window, valid positions only: smaller by `WINDOW` - 1 along each side."""
    x = np.arange(WINDOW) - WINDOW // 2
    taps = np.exp(-(x**2) / (2 * 1.5**2))
    taps /= taps.sum()
    for axis in (0, 1):
        length = plane.shape[axis] - WINDOW + 1
        plane = sum(tap * plane.take(range(i, i + length), axis=axis) for i, tap in enumerate(taps))  # pyright: ignore
    return plane
