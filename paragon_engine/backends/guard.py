"""Half precision that cannot spoil a picture: what comes back as NaN or infinity is computed again, more precisely."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from paragon_arch.errors import ParagonError
from paragon_arch.networks.base import Traits

from ..progress import log
from .base import Precision, Runner


class Guarded:
    """A runner that climbs a ladder of precisions, one tile at a time.

    Args:
        make: makes the runner of a precision; called when that precision is first needed.
        ladder: precisions to try in this order.
    """

    def __init__(self, make: Callable[[Precision], Runner], ladder: Sequence[Precision]) -> None:
        self._make, self._ladder = make, tuple(ladder)
        self._runners: dict[Precision, Runner] = {}
        self.redone = 0
        """Tiles that had to be computed again so far."""

    def __call__(self, x: Tensor) -> Tensor:
        """Run one tile.

        Raises:
            ParagonError: not even the last precision gives finite numbers.
        """
        for index, precision in enumerate(self._ladder):
            result = self._runner(precision)(x)
            if bool(torch.isfinite(result).all()):
                return result
            if index + 1 < len(self._ladder):
                self.redone += 1
                size = "x".join(map(str, x.shape[2:]))
                log.warning("a tile of %s overflowed in %s: redone in %s", size, precision, self._ladder[index + 1])
        raise ParagonError(f"the model returns NaN or infinity even in {self._ladder[-1]}: the model or picture is bad")

    def _runner(self, precision: Precision) -> Runner:
        if precision not in self._runners:
            self._runners[precision] = self._make(precision)
        return self._runners[precision]


def ladder(first: Precision, traits: Traits, supported: Sequence[Precision]) -> tuple[Precision, ...]:
    """The precisions to try, starting with ``first``: BF16 has the range of FP32, where its mantissa suffices."""
    steps: dict[Precision, tuple[Precision, ...]] = {"fp16": ("bf16", "fp32"), "bf16": ("fp32",), "fp32": ()}
    return (first, *[p for p in steps[first] if p in supported and (p != "bf16" or traits.bfloat16)])
