"""Adversarial losses on maps of logits, and gradient penalties.

"r3gan" is what the family calls so: a relativistic average hinge loss with penalties on real and generated pictures
(after Jolicoeur-Martineau 2018, Mescheder et al. 2018 and Huang et al. 2024).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def critic_loss(kind: str, real: Tensor, fake: Tensor) -> Tensor:
    """Loss of the critic from its logits on real and on generated pictures."""
    if kind == "r3gan":
        return 0.5 * (F.relu(1 - (real - fake.mean().detach())).mean() + F.relu(1 + fake - real.mean().detach()).mean())
    if kind == "hinge":
        return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())
    if kind == "vanilla":
        return 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())
    if kind == "lsgan":
        return 0.5 * ((real - 1).square().mean() + fake.square().mean())
    return 0.5 * (fake.mean() - real.mean())  # wgan


def generator_loss(kind: str, real: Tensor, fake: Tensor) -> Tensor:
    """Loss of the generator from the critic's logits; only ``r3gan`` looks at those of real pictures."""
    if kind == "r3gan":
        return 0.5 * (F.relu(1 + real - fake.mean()).mean() + F.relu(1 - (fake - real.mean())).mean())
    if kind == "vanilla":
        return F.softplus(-fake).mean()
    if kind == "lsgan":
        return (fake - 1).square().mean()
    return -fake.mean()  # hinge, wgan


def gradient_penalty(critic: nn.Module, images: Tensor) -> Tensor:
    """Mean over images of ``|d sum(logits) / d image|²``, in float32 and differentiable."""
    with torch.autocast(images.device.type, enabled=False):
        images = images.detach().float().requires_grad_()
        (gradient,) = torch.autograd.grad(critic(images).sum(), images, create_graph=True)
        return gradient.square().sum(dim=(1, 2, 3)).mean()
