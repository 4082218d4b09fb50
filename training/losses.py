"""Pixel losses: mean over everything, on RGB in 0..1."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from paragon_arch.errors import InvalidOptionError

Loss = Callable[[Tensor, Tensor], Tensor]


def l1(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error."""
    return (output - target).abs().mean()


def charbonnier(output: Tensor, target: Tensor, eps: float = 1e-3) -> Tensor:
    """Mean of ``sqrt(d² + eps²)``, an L1 that is smooth at zero (Charbonnier et al. 1994)."""
    return ((output - target).square() + eps * eps).sqrt().mean()


LOSSES: dict[str, Loss] = {"l1": l1, "charbonnier": charbonnier}


def find_loss(name: str) -> Loss:
    """Look a loss up by its name in a recipe.

    Raises:
        InvalidOptionError: there is none of that name.
    """
    if name not in LOSSES:
        raise InvalidOptionError(f"optim.loss = {name!r} is unknown; known: {', '.join(LOSSES)}")
    return LOSSES[name]
