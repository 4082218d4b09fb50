"""What a layout is: how to recognise its state dict, and how its hyper-parameters follow from keys and shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from ..errors import StateMismatchError
from ..files.budget import index
from ..networks.base import SRNetwork

Generation = Literal["ParagonSR", "ParagonSR2"]
Hyper = dict[str, Any]

BLOCK = "body.0.blocks.0."
"""Prefix of the first block's keys, the same in every layout but the ATD pro."""


class State(Mapping[str, Tensor]):
    """A state dict as detection sees it: lookups by key, by prefix and by shape, with no surprises on odd input."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors

    def __getitem__(self, key: str) -> Tensor:
        return self._tensors[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def has(self, *keys: str) -> bool:
        """All these keys are present."""
        return all(key in self._tensors for key in keys)

    def any_with(self, part: str) -> bool:
        """Some key contains this text."""
        return any(part in key for key in self._tensors)

    def shape(self, key: str) -> tuple[int, ...]:
        """Shape of a tensor; () where the key is missing."""
        tensor = self._tensors.get(key)
        return () if tensor is None else tuple(tensor.shape)

    def size(self, key: str, axis: int = 0) -> int:
        """One dimension of a tensor; 0 where there is none."""
        shape = self.shape(key)
        return shape[axis] if axis < len(shape) else 0

    def count(self, prefix: str, suffix: str = "") -> int:
        """1 + the largest integer that follows ``prefix`` in any key that ends in ``suffix``; 0 if there is none.

        Raises:
            StateMismatchError: it is larger than the number of tensors.
        """
        largest = -1
        for key in self._tensors:
            if key.startswith(prefix) and key.endswith(suffix):
                number = index(key[len(prefix) :].split(".", 1)[0])
                largest = max(largest, -1 if number is None else number)
        if largest >= len(self):
            raise StateMismatchError(f"the numbers behind {prefix!r} do not count up from 0; the file is damaged")
        return largest + 1

    def features(self) -> int:
        """F, the feature width."""
        return self.size("conv_in.weight")

    def groups_and_blocks(self) -> tuple[int, int]:
        """(G, B), assuming equal groups."""
        return self.count("body."), self.count("body.0.blocks.")

    def shuffle_scale(self, key: str) -> int:
        """Scale of a pixel shuffle fed by convolution ``key`` from F channels: sqrt(rows / F), rounded."""
        return max(1, round(math.sqrt(self.size(key) / max(1, self.features()))))


@dataclass(frozen=True)
class Variant:
    """One official size of a layout."""

    name: str
    """Factory name without its prefix: "nano", "realtime", ..."""
    shape: Mapping[str, Any]
    """Those hyper-parameters that identify it; all are visible in the state dict."""
    alpha: float | None = None
    """The factory's default pre-filter strength, where it is not the layout's."""
    window_size: int | None = None
    """The factory's default attention window, where it is not the layout's."""
    use_norm: bool | None = None
    """Whether the factory builds parameter-free norms, where it is not the layout's default."""


@dataclass(frozen=True)
class Unknown:
    """A hyper-parameter that some state dicts of a layout do not determine."""

    name: Literal["scale", "alpha", "window_size", "use_norm", "attention"]
    default: Any
    """The layout's default."""
    choices: Sequence[Any] | None = None
    """Values in use, where they are few."""
    maximum: float | None = 1.0
    """Largest meaningful alpha; the network does not clamp it where this is None."""
    applies: Callable[[Hyper], bool] = field(default=lambda hyper: True)
    """Whether a checkpoint with these proven hyper-parameters has this one at all."""


@dataclass(frozen=True)
class Layout:
    """One on-disk layout of the family."""

    id: str
    """Name used everywhere: "v2-release", ..."""
    generation: Generation
    dates: str
    """When checkpoints of this layout were written."""
    network: type[SRNetwork]
    matches: Callable[[State], bool]
    """True if a state dict is of this layout. Consulted in the order of `paragon_arch.layouts.LAYOUTS`."""
    read: Callable[[State], Hyper]
    """The constructor arguments that keys and shapes prove, ``fused`` included where the layout has it."""
    variants: tuple[Variant, ...] = ()
    unknowns: tuple[Unknown, ...] = ()
    """What `read` leaves open. `alpha` and `window_size` are constructor arguments of the same name."""

    def variant(self, hyper: Hyper) -> Variant | None:
        """The official variant with these hyper-parameters, or None for a custom size."""
        for variant in self.variants:
            if all(hyper.get(key) == value for key, value in variant.shape.items()):
                return variant
        return None

    def default(self, unknown: Unknown, hyper: Hyper) -> Any:
        """The default of an unknown for this checkpoint: the variant's where it has one, else the layout's."""
        variant = self.variant(hyper)
        own = getattr(variant, unknown.name, None)
        return unknown.default if own is None else own
