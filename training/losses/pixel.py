"""Losses that compare pixel by pixel: ``(N, 3, H, W)`` RGB in 0..1, mean over everything."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def l1(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error."""
    return (output - target).abs().mean()


def mse(output: Tensor, target: Tensor) -> Tensor:
    """Mean squared error."""
    return (output - target).square().mean()


def charbonnier(output: Tensor, target: Tensor, eps: float = 1e-3) -> Tensor:
    """Mean of ``sqrt(d² + eps²)``, an L1 that is smooth at zero (Charbonnier et al. 1994)."""
    return ((output - target).square() + eps * eps).sqrt().mean()


def bounded_charbonnier(output: Tensor, target: Tensor, bound: float = 0.05) -> Tensor:
    """Charbonnier loss of each picture, of which only the logarithm counts beyond ``bound``; mean over the pictures.

    For networks that can explode: one exploded picture does not drown the others, and since the logarithm of a
    polynomial is tame, its own gradient stays useful.
    """
    losses = torch.stack([charbonnier(*pair) for pair in zip(output, target, strict=True)])
    return torch.where(losses < bound, losses, bound * (1 + (losses.clamp_min(bound) / bound).log())).mean()


def huber(output: Tensor, target: Tensor) -> Tensor:
    """Huber loss with delta 1, half the squared error in this range of values."""
    return F.huber_loss(output, target)


def total_variation(output: Tensor, target: Tensor) -> Tensor:
    """Mean of ``sqrt(dx² + dy² + 1e-6)`` of the output alone; differences are 0 at the last row and column."""
    dx = F.pad(output[..., :, 1:] - output[..., :, :-1], (0, 1, 0, 0))
    dy = F.pad(output[..., 1:, :] - output[..., :-1, :], (0, 0, 0, 1))
    return torch.sqrt(dx.square() + dy.square() + 1e-6).mean()
