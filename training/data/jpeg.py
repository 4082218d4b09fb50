"""JPEG as tensor operations, for batches on any device: what Pillow's encoder and decoder do to pixels.

Baseline tables of the standard's annex K, libjpeg's scaling by quality, colour at full or half the resolution, chroma
enlarged by libjpeg's "fancy" (triangle) filter. Not differentiable: coefficients are rounded.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 8
LUMA = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56),
    *(14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
"""Quantisation of luma at quality 50, row by row."""
CHROMA = (
    *(17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99),
    *(47, 66, 99, 99, 99, 99, 99, 99, *(99,) * 32),
)
"""Quantisation of chroma at quality 50, row by row."""
TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


def jpeg(images: Tensor, quality: Tensor, *, halved: Tensor) -> Tensor:
    """Compress and decompress a batch; the grid of blocks begins in the corner.

    Args:
        images: ``(N, 3, H, W)`` RGB in 0..255; sides need not be multiples of a block.
        quality: ``(N,)``, libjpeg's 1 to 100.
        halved: ``(N,)`` bool: colour at half the resolution (4:2:0), else at all of it (4:4:4).

    Returns:
        ``(N, 3, H, W)``, whole numbers in 0..255.
    """
    height, width = images.shape[-2:]
    step = 2 * BLOCK
    padded = F.pad(images.round(), (0, -width % step, 0, -height % step), mode="replicate")
    ycc = _mix(padded, TO_YCC).round()  # chroma around 0, luma in 0..255
    scaled = _scaled(quality).view(-1, 1, 1, 1)
    luma = _quantised(ycc[:, :1] - 128, LUMA, scaled) + 128
    chroma = _quantised(ycc[:, 1:], CHROMA, scaled)
    half = _quantised(F.avg_pool2d(ycc[:, 1:], 2).round(), CHROMA, scaled)
    half = F.interpolate(half, scale_factor=2, mode="bilinear", align_corners=False).round()
    chroma = torch.where(halved.view(-1, 1, 1, 1), half, chroma)
    result = _mix(torch.cat((luma.clamp(0, 255), chroma.clamp(-128, 127)), dim=1), TO_RGB)
    return result.round().clamp(0, 255)[..., :height, :width]


def _mix(images: Tensor, matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    weight = torch.tensor(matrix, dtype=images.dtype, device=images.device)
    return torch.einsum("oc,nchw->nohw", weight, images)


def _scaled(quality: Tensor) -> Tensor:
    """Libjpeg's factor of the tables, in percent."""
    quality = quality.float().clamp(1, 100)
    return torch.where(quality < 50, (5000 / quality).floor(), 200 - 2 * quality)


def _quantised(planes: Tensor, table: tuple[int, ...], scaled: Tensor) -> Tensor:
    """``(N, C, H, W)`` around 0 through the rounded cosine transform of its blocks and back, rounded."""
    number, channels, height, width = planes.shape
    steps = torch.tensor(table, dtype=torch.float32, device=planes.device).view(1, 1, BLOCK, BLOCK)
    steps = ((steps * scaled + 50) / 100).floor().clamp(1, 255)[:, :, None, None]  # (N, 1, 1, 1, 8, 8)
    basis = cosines(planes.device)
    blocks = planes.view(number, channels, height // BLOCK, BLOCK, width // BLOCK, BLOCK).transpose(3, 4)
    levels = (basis @ blocks @ basis.T / steps).round()
    blocks = basis.T @ (levels * steps) @ basis
    return blocks.transpose(3, 4).reshape(number, channels, height, width).round()


@lru_cache
def cosines(device: torch.device) -> Tensor:
    """``(8, 8)`` orthonormal cosine basis, a row for each frequency."""
    k, n = torch.arange(BLOCK).view(-1, 1), torch.arange(BLOCK).view(1, -1)
    basis = torch.cos((2 * n + 1) * k * math.pi / (2 * BLOCK)) * math.sqrt(2 / BLOCK)
    basis[0] /= math.sqrt(2)
    return basis.float().to(device)
