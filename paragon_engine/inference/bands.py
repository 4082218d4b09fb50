"""Wide residual branches a few rows at a time, so that what is wide never leaves the processor's cache."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .chains import Residual
from .modules import InPlaceResidual, NormedProduct
from .reach import radius_of

BAND_BYTES = 6 << 20
"""Size of a branch's widest map within one band, halo not counted: a few of these fit into a cache."""
LEAST_ROWS = 8
"""Rows of a band for each row of halo on either side: at most a quarter is computed twice."""


class BandedResidual(InPlaceResidual):
    """``x + inner(x)`` in bands of rows.

    Each band brings as many rows of its neighbours as ``inner`` looks at, and drops what comes of them. A band at the
    image's border starts there, so zero padding is where it was. On accelerators, on batches and on small images the
    whole goes at once.

    Args:
        inner: ends with a convolution; only its first module may look at the whole image, a `NormedProduct`.
        reach: rows above and below that one row of the result depends on.
    """

    meta_as = "cpu"
    """Type of the device that a run on the meta device stands for."""

    def __init__(self, inner: nn.Sequential, reach: int) -> None:
        super().__init__(inner)
        self.reach = reach
        self.width = max(layer.out_channels for layer in inner.modules() if isinstance(layer, nn.Conv2d))

    def forward(self, x: Tensor) -> Tensor:
        rows = self._rows(x)
        return self.inner(x).add_(x) if rows is None else self._in_bands(x, self._settled(x), rows)

    def given(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """The same for a part of an image, with the head's norm as `norm_as_affine` gives it for the whole."""
        head = self.inner[0]
        assert isinstance(head, NormedProduct)
        branch, rows = self._behind(head.given(scale, shift)), self._rows(x)
        return branch(x).add_(x) if rows is None else self._in_bands(x, branch, rows)

    def _rows(self, x: Tensor) -> int | None:
        """Rows of a band, or None where all goes at once."""
        batch, _, height, columns = x.shape
        rows = max(LEAST_ROWS * max(1, self.reach), BAND_BYTES // (self.width * columns * x.element_size()))
        device = self.meta_as if x.device.type == "meta" else x.device.type
        return None if device != "cpu" or batch != 1 or 2 * rows > height else rows

    def _in_bands(self, x: Tensor, run: Callable[[Tensor], Tensor], rows: int) -> Tensor:
        out, height = torch.empty_like(x), x.shape[2]
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            first, last = max(0, top - self.reach), min(height, bottom + self.reach)
            branch = run(x[:, :, first:last])[:, :, top - first : bottom - first]
            torch.add(x[:, :, top:bottom], branch, out=out[:, :, top:bottom])
        return out

    def _settled(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """The branch, with the moments of the whole image where it normalises over that."""
        head = self.inner[0]
        return self._behind(head.settled(x)) if isinstance(head, NormedProduct) else self.inner

    def _behind(self, head: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """The branch with another head."""
        rest = self.inner[1:]
        return lambda part: rest(head(part))


def bandable(inner: nn.Sequential) -> int | None:
    """The reach of a residual branch that is worth banding, else None."""
    convs = [layer for layer in inner.modules() if isinstance(layer, nn.Conv2d)]
    if len(convs) < 2 or not isinstance(inner[-1], nn.Conv2d):
        return None
    if any(isinstance(module, (Residual, InPlaceResidual)) for module in inner.modules()):
        return None
    head = inner[0]
    return radius_of(nn.Sequential(head.rest, inner[1:]) if isinstance(head, NormedProduct) else inner)
