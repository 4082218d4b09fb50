"""Losses on spectra."""

from __future__ import annotations

import torch
from torch import Tensor

FOCAL_GAIN = 50.0
"""Factor of the focal frequency loss in the family's recipes."""


def fft_loss(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of real and imaginary parts of the un-normalised spectra."""
    difference = torch.fft.rfft2(output - target)  # pyright: ignore[reportUnknownVariableType]
    return torch.view_as_real(difference).abs().mean()  # pyright: ignore[reportUnknownArgumentType]


def focal_frequency_loss(output: Tensor, target: Tensor) -> Tensor:
    """Focal frequency loss (Jiang et al. 2021), alpha 1, on spectra averaged over the batch, times 50.

    Each frequency's squared error is weighted by its own size, relative to the largest of its channel.
    """
    spectrum = torch.fft.fft2((output - target).mean(dim=0, keepdim=True), norm="ortho")  # pyright: ignore
    distance = torch.view_as_real(spectrum).square().sum(dim=-1)  # pyright: ignore[reportUnknownArgumentType]
    weight = distance.detach().sqrt()
    weight = weight / weight.amax(dim=(-2, -1), keepdim=True).clamp_min(1e-12)
    return FOCAL_GAIN * (weight * distance).mean()
