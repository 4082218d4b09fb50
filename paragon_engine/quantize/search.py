"""Which layers can be quantised: the fewest that cannot are found, and the loss of each one alone is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..progress import Progress, log
from .graph import Layer

Loss = Callable[[Mapping[Layer, str]], float]
"""Mean loss in dB of the graph with these precisions, on the pictures of the search."""


@dataclass(frozen=True)
class Found:
    """Precisions of all layers."""

    plan: dict[Layer, str]
    loss_db: float
    """Of the whole plan, on the pictures of the search."""


def single_losses(layers: Sequence[Layer], loss: Loss, precision: str, progress: Progress) -> dict[Layer, float]:
    """The loss of each layer quantised alone."""
    losses: dict[Layer, float] = {}
    for layer in layers:
        losses[layer] = loss({layer: precision})
        progress.advance()
    return losses


def search(
    losses: Mapping[Layer, float], loss: Loss, *, precision: str, fallback: Mapping[Layer, str], target: float
) -> Found:
    """Quantise as much as the target allows.

    The layers that lose most for their work are taken out first, as many as a bisection finds necessary; each of them
    is then put back if the target still holds, those that lose least for their work first.

    Args:
        losses: of each layer alone.
        loss: of a plan.
        precision: what layers get unless they are taken out.
        fallback: what each layer gets that is taken out.
        target: largest loss in dB.
    """
    order = sorted(losses, key=lambda layer: _price(losses[layer], layer), reverse=True)

    def plan(out: Sequence[Layer]) -> dict[Layer, str]:
        return {layer: fallback[layer] if layer in out else precision for layer in losses}

    low, high = 0, len(order)
    best = Found(plan(order), 0.0)
    while low < high:
        middle = (low + high) // 2
        found = Found(plan(order[:middle]), loss(plan(order[:middle])))
        log.info("%d of %d layers in higher precision: loss %.3f dB", middle, len(order), found.loss_db)
        if found.loss_db <= target:
            best, high = found, middle
        else:
            low = middle + 1
    if low == len(order):
        best = Found(plan(order), loss(plan(order)))
    return _put_back(best, order[:low], losses, loss, precision, target)


def _price(loss: float, layer: Layer) -> float:
    """Loss for the work that it would make cheaper."""
    return max(loss, 1e-6) / layer.work


def _put_back(
    best: Found, out: Sequence[Layer], losses: Mapping[Layer, float], loss: Loss, precision: str, target: float
) -> Found:
    for layer in sorted(out, key=lambda layer: _price(losses[layer], layer)):
        if losses[layer] > target:
            continue
        trial = {**best.plan, layer: precision}
        found = loss(trial)
        if found <= target:
            best = Found(trial, found)
    return best
