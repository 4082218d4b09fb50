"""Colour losses: HSLuv (hue, saturation, lightness) and consistency of brightness and chroma.

Conversions start from sRGB ``(N, 3, H, W)`` in 0..1 and are differentiable everywhere, greys included.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

XYZ = ((0.4123908, 0.3575843, 0.1804808), (0.2126390, 0.7151687, 0.0721923), (0.0193308, 0.1191948, 0.9505321))
"""Linear sRGB to XYZ (D65)."""
RGB = ((3.2409699, -1.5373832, -0.4986108), (-0.9692436, 1.8759675, 0.0415551), (0.0556301, -0.2039770, 1.0569715))
"""XYZ to linear sRGB."""
LMS = ((0.4122215, 0.5363325, 0.0514460), (0.2119035, 0.6806995, 0.1073970), (0.0883025, 0.2817188, 0.6299787))
OKLAB = ((0.2104543, 0.7936178, -0.0040720), (1.9779985, -2.4285922, 0.4505937), (0.0259040, 0.7827718, -0.8086758))
"""Linear sRGB to cone responses, and their cube roots to Oklab (Ottosson 2020)."""
EPSILON, KAPPA = 216 / 24389, 24389 / 27
WHITE_U, WHITE_V = 0.19783001, 0.46831999
GREY = 0.1
"""Saturation below which, and distance of lightness from black and white within which, hue is not compared."""


def _mix(image: Tensor, matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    return torch.einsum("ij,njhw->nihw", torch.tensor(matrix, dtype=image.dtype, device=image.device), image)


def linear(image: Tensor) -> Tensor:
    """Linear light of sRGB, values first clamped to 0..1."""
    image = image.clamp(0, 1)
    return torch.where(image <= 0.04045, image / 12.92, ((image.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4)


def _cube_root(x: Tensor) -> Tensor:
    return x.clamp_min(1e-8) ** (1 / 3)


def lightness(y: Tensor) -> Tensor:
    """CIE L* in 0..100 of relative luminance in 0..1."""
    return torch.where(y > EPSILON, 116 * _cube_root(y) - 16, KAPPA * y)


def _largest_chroma(light: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Largest chroma that sRGB holds at this lightness (0..100) and hue: the nearest of six straight bounds."""
    cubed = ((light + 16) / 116) ** 3
    sub = torch.where(cubed > EPSILON, cubed, light / KAPPA)
    lengths: list[Tensor] = []
    for m1, m2, m3 in RGB:
        for t in (0, 1):
            top1 = (284517 * m1 - 94839 * m3) * sub
            top2 = (838422 * m3 + 769860 * m2 + 731718 * m1) * light * sub - 769860 * t * light
            bottom = (632260 * m3 - 126452 * m2) * sub + 126452 * t
            denominator = sin * bottom - cos * top1
            length = top2 / torch.where(denominator.abs() < 1e-6, torch.full_like(denominator, 1e-6), denominator)
            lengths.append(torch.where(length > 0, length, torch.full_like(length, 1e3)))
    return torch.stack(lengths).amin(dim=0).clamp_min(1e-3)


def hsluv(image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue, saturation and lightness (Boronine), each ``(N, H, W)`` in 0..1; the hue of grey is 0."""
    x, y, z = _mix(linear(image), XYZ).unbind(1)
    light = lightness(y)
    total = (x + 15 * y + 3 * z).clamp_min(1e-6)
    u, v = 13 * light * (4 * x / total - WHITE_U), 13 * light * (9 * y / total - WHITE_V)
    grey = u.square() + v.square() < 1e-4
    u, v = torch.where(grey, torch.ones_like(u), u), torch.where(grey, torch.zeros_like(v), v)
    chroma = torch.sqrt(u.square() + v.square())
    hue = torch.atan2(v, u) / (2 * math.pi) % 1
    saturation = chroma / _largest_chroma(light.clamp(1e-3, 99.9), u / chroma, v / chroma)
    return hue, torch.where(grey, torch.zeros_like(u), saturation).clamp(0, 1), light / 100


def hsluv_loss(output: Tensor, target: Tensor) -> Tensor:
    """A third each of: circular hue difference x 2, saturation weighted away from black and white, lightness.

    Hue is compared only where both images have one: not in greys, blacks and whites.
    """
    hue_a, sat_a, light_a = hsluv(output)
    hue_b, sat_b, light_b = hsluv(target)
    lively = torch.minimum(sat_a, sat_b) > GREY
    inside = (torch.minimum(light_a, light_b) > GREY) & (torch.maximum(light_a, light_b) < 1 - GREY)
    turn = (hue_a - hue_b).abs()
    hue = 2 * torch.minimum(turn, 1 - turn) * (lively & inside)
    weight = torch.minimum(torch.minimum(light_a, 1 - light_a), torch.minimum(light_b, 1 - light_b)).clamp_min(0)
    saturation = weight.detach() * (sat_a - sat_b).abs()
    return (hue.mean() + saturation.mean() + (light_a - light_b).abs().mean()) / 3


def _blur(image: Tensor, size: int = 21, sigma: float = 3.0) -> Tensor:
    """Gaussian blur, borders reflected; images smaller than the window keep their size by repeating borders."""
    offsets = torch.arange(size, dtype=image.dtype, device=image.device) - size // 2
    taps = torch.exp(-offsets.square() / (2 * sigma**2))
    taps = (taps / taps.sum()).expand(image.shape[1], 1, 1, size)
    mode = "reflect" if min(image.shape[-2:]) > size // 2 else "replicate"
    half = size // 2
    image = F.conv2d(F.pad(image, (half, half, 0, 0), mode=mode), taps, groups=image.shape[1])
    return F.conv2d(F.pad(image, (0, 0, half, half), mode=mode), taps.transpose(2, 3), groups=image.shape[1])


def oklab_chroma(image: Tensor) -> Tensor:
    """The a and b channels of Oklab, ``(N, 2, H, W)``."""
    return _mix(_cube_root(_mix(linear(image), LMS)), OKLAB)[:, 1:]


def _clipped_huber(output: Tensor, target: Tensor, similarity_weight: float = 0.012) -> Tensor:
    """Huber loss plus the cosine distance of the channels' vectors, clipped at 1."""
    distance = 1 - F.cosine_similarity(output, target, dim=1, eps=1e-4).mean()
    return (F.huber_loss(output, target, reduction="none") + similarity_weight * distance).clamp(max=1).mean()


def consistency_loss(output: Tensor, target: Tensor) -> Tensor:
    """Brightness and chroma of the blurred images: CIE L* and Oklab chroma, clipped Huber plus cosine distance.

    The originals multiplied the target's brightness by 0.9, which darkens; a loss for stable brightness must not.
    """
    output, target = _blur(output), _blur(target)
    light_a, light_b = (lightness(_mix(linear(image), XYZ)[:, 1:2]) / 100 for image in (output, target))
    chroma_a, chroma_b = oklab_chroma(output), oklab_chroma(target)
    direction = 1 - F.cosine_similarity(output, target, dim=1, eps=1e-4).mean()
    return _clipped_huber(light_a, light_b) + _clipped_huber(chroma_a, chroma_b) + 0.5 * direction
