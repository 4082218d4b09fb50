"""A network as a list of stages, each of which needs only a small neighbourhood of every pixel.

A `Program` is built for one image size. Its stages turn feature maps (`Map`) into feature maps, or sum something up
over a whole map and settle it into a `Value` (the statistics of a norm, a gate). Whoever runs a program
(`paragon_engine.tiling.streaming`) may cut every stage into tiles of any size: as long as it feeds each tile with the
stage's halo, on the stage's grid, the result is that of the whole image.

Crops are clipped to the image, never padded, so that a convolution's own zero padding acts at the image's border and
nowhere else; what it does at an inner border of a crop lies in the halo and is thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import torch
from torch import Tensor

_BLOCK = 1 << 16
"""Values that are summed at a time on a CPU."""
WITH_DOUBLES = ("cpu", "cuda")
"""Devices that all have float64: Apple's, Intel's Arc and DirectML's have none."""


@dataclass(frozen=True, eq=False)
class Map:
    """A feature map of a program, ``(1, C, height, width)``."""

    height: int
    width: int


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor that was settled from a whole map, e.g. the mean and the reciprocal deviation of a norm."""


@dataclass(frozen=True, eq=False)
class Whole:
    """Marks a map that a stage reads freely, by a `Reader`, instead of a crop at the tile's place."""

    source: Map


class Reader(Protocol):
    """Access to any part of a map."""

    def crop(self, top: int, bottom: int, left: int, right: int) -> Tensor:
        """Rows top..bottom and columns left..right on the working device."""
        ...


Operand = Map | Value | Whole


@dataclass(frozen=True)
class Grid:
    """The frame a stage works in: the map zero-padded to multiples of ``window``, then rolled by ``-shift``.

    The default is the map itself.
    """

    window: int = 1
    shift: int = 0


@dataclass(frozen=True)
class Span:
    """A tile along one axis of a frame."""

    start: int
    stop: int
    """The crop, with its halo."""
    first: int
    last: int
    """The pixels that the tile is responsible for."""
    length: int
    """Pixels of the map."""
    grid: Grid

    @property
    def padded(self) -> int:
        """Length of the frame."""
        return -(-self.length // self.grid.window) * self.grid.window

    def segments(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Where start..stop lies in the map: (offset from ``start``, position in the map, count), without padding."""
        wrap = self.padded - self.grid.shift
        for low, high, offset in ((start, min(stop, wrap), 0), (max(start, wrap), stop, self.padded)):
            position = low + self.grid.shift - offset
            count = min(high - low, self.length - position)
            if count > 0:
                yield low - start, position, count

    def positions(self) -> Tensor:
        """Position in the map of each pixel of the crop, ``(stop - start,)`` int64; padding gets the last one."""
        place = (torch.arange(self.start, self.stop) + self.grid.shift) % self.padded
        return place.clamp(max=self.length - 1)

    def valid(self) -> Tensor | None:
        """Which pixels of the crop are in the map, ``(stop - start,)`` bool; None if all are."""
        segments = list(self.segments(self.start, self.stop))
        if sum(count for _, _, count in segments) == self.stop - self.start:
            return None
        mask = torch.zeros(self.stop - self.start, dtype=torch.bool)
        for offset, _, count in segments:
            mask[offset : offset + count] = True
        return mask


@dataclass(frozen=True)
class Region:
    """A tile of a frame, handed to stages that ask where they are."""

    rows: Span
    columns: Span

    def inside(self, x: Tensor) -> Tensor:
        """``x`` (1, C, h, w) of the crop with zeros where the frame is padding."""
        for mask, shape in ((self.rows.valid(), (-1, 1)), (self.columns.valid(), (-1,))):
            if mask is not None:
                x = x * mask.to(x.device, x.dtype).view(shape)
        return x

    def own(self, x: Tensor) -> Tensor:
        """The part of ``x`` (1, C, h, w) of the crop that the tile is responsible for, halo cut off."""
        rows, columns = self.rows, self.columns
        return x[
            ...,
            rows.first - rows.start : rows.last - rows.start,
            columns.first - columns.start : columns.last - columns.start,
        ]


Apply = Callable[[Tensor], Tensor] | Callable[[Tensor, Any], Tensor] | Callable[[Tensor, Any, Any], Tensor]
"""What a stage does to the crops and values that it reads; a map comes first."""


@dataclass(frozen=True, eq=False)
class Stage:
    """One step of a program."""

    apply: Callable[..., Tensor]
    """From a crop ``(1, C, h, w)`` of every operand to the result for the crop, or for the tile without its halo. A
    reduction returns what is to be added up, without halo."""
    reads: tuple[Operand, ...]
    writes: Map | Value
    halo: int = 0
    """Pixels around a tile that its result depends on."""
    grid: Grid = Grid()
    align: int = 1
    """Tiles start at multiples of this (and of the grid's window)."""
    ratio: Fraction = Fraction(1)
    """Pixels of the result per pixel of the operands, along each side."""
    located: bool = False
    """`apply` takes the `Region` first."""
    merge: Callable[[Tensor, Tensor], Tensor] = torch.add
    """Combines the results of two tiles of a reduction."""
    settle: Callable[[Tensor, int], Any] | None = None
    """Makes the `Value` from the combined result and the number of pixels."""

    @property
    def pointwise(self) -> bool:
        """The stage is the same in every frame."""
        return not self.halo and self.align == 1 and self.ratio == 1 and not self.located and self.grid == Grid()

    def maps(self) -> Iterator[Map]:
        """The maps it reads, in crops or freely."""
        for operand in self.reads:
            if isinstance(operand, Map | Whole):
                yield operand if isinstance(operand, Map) else operand.source


class Program:
    """Stages for an image ``(1, C, height, width)``, in the order they are to run; the last one's map is the result."""

    def __init__(self, height: int, width: int, *, channels_last: bool = False) -> None:
        self.image = Map(height, width)
        self.stages: list[Stage] = []
        self.channels_last = channels_last
        """The stages like their maps pixel by pixel in memory."""

    @property
    def output(self) -> Map:
        """The map that the last stage writes."""
        last = self.stages[-1].writes
        assert isinstance(last, Map)
        return last

    def map(
        self,
        apply: Apply,
        *reads: Operand,
        halo: int = 0,
        ratio: Fraction | int = 1,
        align: int = 1,
    ) -> Map:
        """Add a stage in the frame of the image. The operands' crops (or values) are ``apply``'s arguments."""
        ratio = Fraction(ratio)
        source = next(operand for operand in reads if isinstance(operand, Map))
        result = Map(int(source.height * ratio), int(source.width * ratio))
        self.stages.append(Stage(apply, reads, result, halo=halo, ratio=ratio, align=align))
        return result

    def located(self, apply: Callable[..., Tensor], *reads: Operand, halo: int = 0) -> Map:
        """Add a stage in the frame of the image. ``apply`` takes the `Region` first."""
        source = next(operand for operand in reads if isinstance(operand, Map))
        result = Map(source.height, source.width)
        self.stages.append(Stage(apply, reads, result, halo=halo, located=True))
        return result

    def windows(self, apply: Callable[..., Tensor], *reads: Operand, window: int, shift: int, halo: int = 0) -> Map:
        """Add a stage in the frame of shifted windows. ``apply`` takes the `Region` first; a crop is whole windows."""
        source = next(operand for operand in reads if isinstance(operand, Map))
        result = Map(source.height, source.width)
        self.stages.append(Stage(apply, reads, result, halo=halo, grid=Grid(window, shift), located=True))
        return result

    def reduce(
        self,
        apply: Callable[..., Tensor],
        *reads: Operand,
        settle: Callable[[Tensor, int], Any],
        merge: Callable[[Tensor, Tensor], Tensor] = torch.add,
    ) -> Value:
        """Add a reduction over all pixels of the operands."""
        result = Value()
        self.stages.append(Stage(apply, reads, result, merge=merge, settle=settle))
        return result

    def channel_means(self, x: Map, then: Callable[[Tensor], Tensor]) -> Value:
        """``then`` of the mean of each channel, given as ``(1, C, 1, 1)`` in float64 (convert it as needed)."""
        return self.reduce(channel_sums, x, settle=lambda total, pixels: then(total / pixels))

    def moments(self, x: Map) -> Value:
        """`Moments` over channels, height and width."""
        return self.reduce(power_sums, x, settle=Moments.settle)


def channel_sums(x: Tensor) -> Tensor:
    """Sum of each channel, ``(1, C, 1, 1)`` float64."""
    if x.device.type not in ("cpu", "meta"):
        return _row_sums(x).sum(dim=2).view(1, -1, 1, 1)
    total = x.new_zeros(x.shape[1], dtype=torch.float64)
    for rows in _in_blocks(x):
        total += rows.double().sum(dim=(0, 2, 3))
    return total.view(1, -1, 1, 1)


def _row_sums(x: Tensor) -> Tensor:
    """Sums along the rows of ``(1, C, h, w)``: ``(1, C, h)`` float64, on the CPU where the device has none."""
    if x.device.type in WITH_DOUBLES:
        return x.sum(dim=3, dtype=torch.float64)
    return x.sum(dim=3, dtype=torch.float32).cpu().double()


def _in_blocks(x: Tensor) -> Iterator[Tensor]:
    """Rows that fit into the cache together; without contents there is nothing to sum."""
    rows = max(1, _BLOCK // (x.shape[1] * x.shape[3]))
    return (x[:, :, top : top + rows] for top in range(0, 0 if x.device.type == "meta" else x.shape[2], rows))


def power_sums(x: Tensor) -> Tensor:
    """Sum of the values, sum of their squares, and their number, ``(3,)`` float64."""
    wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    if x.device.type not in ("cpu", "meta"):
        total, squares = _row_sums(wide).sum(), _row_sums(wide.square()).sum()
    else:  # in pieces that stay in the cache, because the library's kernels would convert all of it first
        total, squares = torch.zeros(2, dtype=torch.float64, device=x.device)
        for rows in _in_blocks(wide):
            block = (rows.permute(0, 2, 3, 1) if rows.stride(1) == 1 else rows).double().reshape(-1)
            total, squares = total + block.sum(), squares + torch.dot(block, block)
    return torch.stack((total, squares, torch.full_like(total, x.numel())))


@dataclass(frozen=True)
class Moments:
    """Mean and biased variance over a whole map."""

    mean: float
    variance: float

    @staticmethod
    def settle(total: Tensor, _pixels: int) -> Moments:
        """From the `power_sums` of all tiles."""
        count = float(total[2])
        mean = float(total[0]) / count
        return Moments(mean, max(float(total[1]) / count - mean * mean, 0.0))

    def normalise(self, x: Tensor, eps: float, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """``(x - mean) / sqrt(variance + eps) * weight + bias``, in float32 at least."""
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        gain = (self.variance + eps) ** -0.5
        if weight is None or bias is None:
            return ((wide - self.mean) * gain).to(x.dtype)
        slope = (weight * gain).to(wide.dtype).view(1, -1, 1, 1)
        return torch.addcmul((bias - self.mean * gain * weight).to(wide.dtype).view(1, -1, 1, 1), wide, slope).to(
            x.dtype
        )
