"""Multi-scale structural similarity (Wang, Simoncelli and Bovik 2003)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from paragon_arch.errors import InvalidOptionError

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the scales, finest first."""
WINDOW, SIGMA = 11, 1.5
LUMA = (0.299, 0.587, 0.114)


def _blur(x: Tensor) -> Tensor:
    """Gaussian window, valid positions only."""
    offsets = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    taps = torch.exp(-offsets.square() / (2 * SIGMA**2))
    taps = taps / taps.sum()
    return F.conv2d(F.conv2d(x, taps.reshape(1, 1, 1, -1)), taps.reshape(1, 1, -1, 1))


def contrast_structure(a: Tensor, b: Tensor) -> Tensor:
    """Mean contrast-structure term of each image, ``(N, 1, H, W)`` in 0..1 to ``(N,)``, negative ones set to 0."""
    mean_a, mean_b = _blur(a), _blur(b)
    var_a, var_b = _blur(a * a) - mean_a.square(), _blur(b * b) - mean_b.square()
    covariance = _blur(a * b) - mean_a * mean_b
    c2 = 0.03**2
    return F.relu((2 * covariance + c2) / (var_a + var_b + c2)).mean(dim=(1, 2, 3))


def ms_ssim_loss(output: Tensor, target: Tensor) -> Tensor:
    """``1 - MS-SSIM`` on luma of the clamped images, contrast-structure terms only, as the family was trained.

    Raises:
        InvalidOptionError: images too small for five scales of an 11x11 window.
    """
    smallest = WINDOW * 2 ** (len(WEIGHTS) - 1)
    if min(output.shape[-2:]) < smallest:
        raise InvalidOptionError(f"the loss ms-ssim needs data.patch >= {smallest}")
    weight = torch.tensor(LUMA, dtype=output.dtype, device=output.device).reshape(1, 3, 1, 1)
    a, b = ((image.clamp(0, 1) * weight).sum(dim=1, keepdim=True) for image in (output, target))
    result = torch.ones(len(a), dtype=a.dtype, device=a.device)
    for exponent in WEIGHTS:
        # the gradient of x**0.04 is infinite at 0
        result = result * contrast_structure(a, b).clamp_min(1e-6) ** exponent
        a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return 1 - result.mean().clamp(0, 1)
