"""The linear end of a network with a convolution of its own for the inside, each border and each corner of the image.

Inside, a row of the output reads the same rows of the input wherever it lies in its group of ``scale`` rows, if groups
begin where the published convolutions cross from one input pixel to the next: a kernel of 4 x 4 does what one of 5 x 5
does on the grid of the input. The borders, where the published chain pads with zeros on several levels, are a linear
function of a few rows of the input, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .tails import affine_map, convolution, sliced

Place = Literal["first", "inside", "last"]
"""Along one side of the image."""
PLACES: tuple[Place, ...] = ("first", "inside", "last")


@dataclass(frozen=True)
class Grid:
    """Groups of ``scale`` rows (or columns) of the output, moved against the input's pixels.

    Attributes:
        scale: output pixels per input pixel.
        first: rows of the first group that are inside of the image; the last group has the others.
    """

    scale: int
    first: int

    def start(self, place: Place, length: int) -> int:
        """The first row of a group, in the output for ``length`` rows of input."""
        groups = {"first": 0, "inside": length // 2 + 1, "last": length}
        return self.first + self.scale * (groups[place] - 1)

    def present(self, place: Place) -> slice:
        """What of a group is inside of the image."""
        outside = self.scale - self.first
        return {"first": slice(outside, None), "inside": slice(None), "last": slice(None, outside)}[place]


class BorderedEnd(nn.Module):
    """``detail(x) + base(image)`` of two linear chains, exact to the last border pixel.

    Nothing is computed twice and nothing but the result is copied: it is put together from nine pieces. Made by
    `bordered_end`.

    Args:
        detail: from features ``(N, F, H, W)`` to ``(N, C, H*scale, W*scale)``.
        base: the same from the image, or None.
        grid: that both can be computed on.
        channels: of features and image.
        test: side of an input in which the first border does not see the last one.

    Attributes:
        least: sides of smaller inputs make the chains themselves run. A graph has not got them: it fails there.
    """

    def __init__(
        self, detail: nn.Sequential, base: nn.Sequential | None, grid: Grid, channels: tuple[int, int], test: int
    ) -> None:
        super().__init__()
        self.detail, self.base, self.grid = detail, base, grid
        chains = [(detail, channels[0])] if base is None else [(detail, channels[0]), (base, channels[1])]
        self.inside = nn.ModuleList()
        self.borders = nn.ModuleDict()
        self.least = 2
        for rows in PLACES:
            for columns in PLACES:
                parts = [_piece(chain, count, test, grid, rows, columns) for chain, count in chains]
                if rows == columns == "inside":
                    self.inside.extend(_cut(weight, bias, rows, columns) for weight, bias in parts)
                    continue
                weight = torch.cat([weight for weight, _ in parts], dim=1)
                bias = torch.stack([bias for _, bias in parts]).sum(0)
                layer = _cut(weight, bias, rows, columns)
                self.borders[f"{rows} {columns}"] = layer
                seen = zip((rows, columns), layer.kernel_size, strict=True)
                self.least = max(self.least, *(size for place, size in seen if place != "inside"))

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        """Features ``(N, F, H, W)`` and image ``(N, I, H, W)`` to ``(N, C, H*scale, W*scale)``."""
        if min(x.shape[2:]) < self.least:
            return self.detail(x) if self.base is None else self.detail(x) + self.base(image)
        maps = [x] if self.base is None else [x, image]
        rows = [torch.cat([self._made(maps, row, column) for column in PLACES], dim=3) for row in PLACES]
        return torch.cat(rows, dim=2)

    def _made(self, maps: list[Tensor], rows: Place, columns: Place) -> Tensor:
        """One of the nine pieces of the output."""
        if rows == columns == "inside":
            parts = [layer(part) for layer, part in zip(self.inside, maps, strict=True)]
            return F.pixel_shuffle(parts[0] if len(parts) == 1 else parts[0] + parts[1], self.grid.scale)
        layer = self.borders[f"{rows} {columns}"]
        assert isinstance(layer, nn.Conv2d)
        height, width = layer.kernel_size
        maps = [_strip(_strip(part, 2, rows, height), 3, columns, width) for part in maps]
        groups = F.pixel_shuffle(layer(torch.cat(maps, dim=1)), self.grid.scale)
        return groups[:, :, self.grid.present(rows), self.grid.present(columns)]


def _strip(x: Tensor, axis: int, place: Place, width: int) -> Tensor:
    if place == "inside":
        return x
    return sliced(x, axis, None, width) if place == "first" else sliced(x, axis, -width, None)


def _piece(
    chain: nn.Sequential, channels: int, side: int, grid: Grid, rows: Place, columns: Place
) -> tuple[Tensor, Tensor]:
    """Kernels ``[C*s*s, channels, side, side]`` and bias of the group at a place, for a square input."""
    top, left = (grid.start(place, side) + grid.scale for place in (rows, columns))

    def group(x: Tensor) -> Tensor:
        whole = F.pad(chain(x), [grid.scale] * 4)  # groups at the borders reach out of the image
        return whole[:, :, top : top + grid.scale, left : left + grid.scale].flatten(1)

    return affine_map(group, torch.zeros(1, channels, side, side).to(next(chain.parameters())))


def _cut(weight: Tensor, bias: Tensor, rows: Place, columns: Place) -> nn.Conv2d:
    """The convolution of a place, from kernels over a whole input, with as much of them as is not zero."""
    padding: list[int] = []
    for axis, place in ((2, rows), (3, columns)):
        side = weight.shape[axis]
        used = weight.abs().movedim(axis, 0).flatten(1).sum(1).nonzero()
        start, stop = (int(used[0]), int(used[-1]) + 1) if len(used) else (side // 2, side // 2 + 1)
        padding.append(0)
        if place == "inside":  # as much before as behind, so that there is one group less than input pixels
            padding[-1] = max(side // 2 - start, stop - side // 2 - 2, 0)
            start, stop = side // 2 - padding[-1], side // 2 + padding[-1] + 2
        else:
            start, stop = (0, stop) if place == "first" else (start, side)
        weight = weight.narrow(axis, start, stop - start)
    layer = convolution(weight, bias)
    layer.padding = (padding[0], padding[1])
    return layer


def bordered_end(
    detail: nn.Sequential, base: nn.Sequential | None, *, channels: tuple[int, int], scale: int, edge: int, reach: int
) -> BorderedEnd | None:
    """The end of a network by borders, on the grid with the smallest kernel; None if there is no such grid.

    Args:
        detail, base, channels: see `BorderedEnd`.
        scale: output pixels per input pixel.
        edge: rows of the output, from the border, for which the chains are not what they are inside.
        reach: input pixels around a pixel that an output pixel depends on.
    """
    grids = [Grid(scale, first) for first in range(edge, scale - edge + 1)]
    ends = [BorderedEnd(detail, base, grid, channels, 4 * reach + 2) for grid in grids]
    return min(ends, key=lambda end: sum(kernel.numel() for kernel in end.inside.parameters()), default=None)
