"""What other programs' blends were made of.

A program that interpolates two loaded models hands on bare weights: alpha and window size, which no weight shows, are
lost (chaiNNer's Interpolate Models does so). As long as the two models are there, weights that lie exactly between
theirs can be recognised, and get the values on which both agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any, Protocol, cast
from weakref import WeakSet

import torch
from torch import Tensor, nn

from .inspection import Inspection

_TOLERANCE = 2e-3
"""Largest difference from the line between two models, relative to their distance: half precision rounds."""
_NEAR = 1e-6
"""Share of the line at each end that counts as the model there: sums round."""


class Loaded(Protocol):
    """A loaded model."""

    report: Inspection

    @property
    def model(self) -> nn.Module:
        """The network."""
        ...


class Lineage:
    """The loaded models that are still in use somewhere."""

    def __init__(self) -> None:
        self._models: WeakSet[Any] = WeakSet()

    def add(self, model: Loaded) -> None:
        """Remember a model as long as others do."""
        self._models.add(model)

    def values(self, state: Mapping[str, Tensor]) -> dict[str, Any]:
        """What the two models between which weights lie agree on, by option; {} where there are no two such models."""
        found = [(model, own) for model in tuple(self._models) if _alike(own := model.model.state_dict(), state)]
        for (first, a), (second, b) in combinations(found, 2):
            if _between(state, a, b):
                one, other = first.report.values, second.report.values
                return {name: item.value for name, item in one.items() if other[name].value == item.value}
        return {}


def _alike(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> bool:
    return own.keys() == state.keys() and all(own[key].shape == tensor.shape for key, tensor in state.items())


@torch.no_grad()
def _between(state: Mapping[str, Tensor], a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    """Whether weights lie on the line from one model to the other, at a place that is neither of both."""
    floating = [key for key, tensor in state.items() if tensor.is_floating_point() and a[key].is_floating_point()]
    start, end, place = (_joined(tensors[key] for key in floating) for tensors in (a, b, state))
    line = end - start
    length = cast("Tensor", line.norm())
    if not bool(length > 0):
        return False
    weight = float(torch.dot(place - start, line) / length.square())
    if not _NEAR < weight < 1 - _NEAR:
        return False
    return bool(cast("Tensor", (place - start - weight * line).norm()) <= _TOLERANCE * length)


def _joined(tensors: Iterable[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().to("cpu", torch.float64).flatten() for tensor in tensors])
