"""Wide residual branches a few rows at a time, so that what is wide never leaves the processor's cache."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from paragon_arch.networks.layers import RMSNorm

from .chains import HalvesProduct, Product, TwoContexts
from .modules import InPlaceGELU, NormedProduct, RationalMish, UnitRMS

BAND_BYTES = 6 << 20
"""Size of a branch's widest map within one band, halo not counted: a few of these fit into a cache."""
LEAST_ROWS = 8
"""Rows of a band for each row of halo on either side: at most a quarter is computed twice."""

_BY_PIXEL = (
    nn.Identity,
    nn.LeakyReLU,
    nn.ReLU,
    nn.Hardswish,
    nn.Mish,
    nn.GELU,
    InPlaceGELU,
    RationalMish,
    HalvesProduct,
    UnitRMS,
    RMSNorm,
)


class BandedResidual(nn.Module):
    """``x + inner(x)`` in bands of rows.

    Each band brings as many rows of its neighbours as ``inner`` looks at, and drops what comes of them. A band at the
    image's border starts there, so zero padding is where it was. On accelerators, on batches and on small images the
    whole goes at once.

    Args:
        inner: ends with a convolution; only its first module may look at the whole image, a `NormedProduct`.
        reach: rows above and below that one row of the result depends on.
    """

    def __init__(self, inner: nn.Sequential, reach: int) -> None:
        super().__init__()
        self.inner, self.reach = inner, reach
        self.width = max(layer.out_channels for layer in inner.modules() if isinstance(layer, nn.Conv2d))

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, columns = x.shape
        rows = max(LEAST_ROWS * max(1, self.reach), BAND_BYTES // (self.width * columns * x.element_size()))
        if x.device.type != "cpu" or batch != 1 or 2 * rows > height:
            return self.inner(x).add_(x)
        run, out = self._settled(x), torch.empty_like(x)
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            first, last = max(0, top - self.reach), min(height, bottom + self.reach)
            branch = run(x[:, :, first:last])[:, :, top - first : bottom - first]
            torch.add(x[:, :, top:bottom], branch, out=out[:, :, top:bottom])
        return out

    def _settled(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """The branch, with the moments of the whole image where it normalises over that."""
        head = self.inner[0]
        if not isinstance(head, NormedProduct):
            return self.inner
        product, rest = head.settled(x), self.inner[1:]
        return lambda part: rest(product(part))


def reach_of(module: nn.Module) -> int | None:
    """Rows that one row of a module's result depends on, above and below; None if unknown or the whole image."""
    if isinstance(module, nn.Conv2d):
        return module.dilation[0] * (module.kernel_size[0] // 2) if module.stride == (1, 1) else None
    if isinstance(module, _BY_PIXEL):
        return 0
    if isinstance(module, nn.Sequential):
        found = [reach_of(step) for step in module]
        return sum(known) if len(known := [r for r in found if r is not None]) == len(found) else None
    if isinstance(module, (TwoContexts, Product, NormedProduct)):
        return _widest(module)
    return None


def _widest(module: TwoContexts | Product | NormedProduct) -> int | None:
    """Reach of two paths side by side; 1x1 convolutions that `NormedProduct` applies first add none."""
    if isinstance(module, NormedProduct):
        return reach_of(module.rest)
    paths = (module.plain, module.dilated) if isinstance(module, TwoContexts) else (module.left, module.right)
    first, second = reach_of(paths[0]), reach_of(paths[1])
    return None if first is None or second is None else max(first, second)


def bandable(inner: nn.Sequential) -> int | None:
    """The reach of a residual branch that is worth banding, else None."""
    convs = [layer for layer in inner.modules() if isinstance(layer, nn.Conv2d)]
    if len(convs) < 2 or not isinstance(inner[-1], nn.Conv2d):
        return None
    if any(isinstance(step, NormedProduct) for step in inner[1:]):
        return None
    return reach_of(inner)
