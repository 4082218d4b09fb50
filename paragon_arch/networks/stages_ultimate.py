"""Stages of the ultimate layout."""

from __future__ import annotations

from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor

from .stages import Map, Moments, Program, Reader, Region, Value, Whole
from .stages_release import add_dual_tail
from .v2_ultimate import ParagonSR2Ultimate, Router, UltimateBlock

EPS = 1e-6
"""Of `ImageNorm`, in both of its roots."""


def ultimate_program(network: ParagonSR2Ultimate, height: int, width: int) -> Program:
    """Stages of `ParagonSR2Ultimate`."""
    program = Program(height, width)
    x = program.map(network.conv_in, program.image, halo=1)
    for group in network.body.children():
        for block in group.get_submodule("blocks").children():
            assert isinstance(block, UltimateBlock)
            x = add_ultimate_block(program, block, x)
    add_dual_tail(program, network, x, lambda x: network.final_norm(network.conv_mid(x)))
    return program


def add_ultimate_block(program: Program, block: UltimateBlock, x: Map) -> Map:
    """Gated convolution, routed windows, routed tokens."""
    x = program.map(lambda x: x + block.scale1(block.gated_conv(x)), x, halo=1)
    if block.windowed:
        x = add_routed_windows(program, block, x)
    if block.tokenised:
        x = add_routed_tokens(program, block, x)
    return x


def strength_of(x: Tensor, moments: Moments) -> Tensor:
    """The second result of `ImageNorm`."""
    return torch.sqrt(moments.normalise(x, EPS).square().mean(dim=1, keepdim=True) + EPS)


def pooled(x: Tensor, size: int) -> Tensor:
    """Averages of whole squares; a remainder smaller than a square gives nothing."""
    if min(x.shape[-2:]) < size:
        return x.new_zeros(*x.shape[:2], x.shape[2] // size, x.shape[3] // size)
    return F.avg_pool2d(x, size)


def add_strengths(program: Program, x: Map, moments: Value, region: int) -> Map:
    """Mean strength of each square region."""
    return program.map(
        lambda x, m: pooled(strength_of(x, m), region), x, moments, ratio=Fraction(1, region), align=region
    )


def add_routed_windows(program: Program, block: UltimateBlock, x: Map) -> Map:
    """Window attention, weighted for each region."""
    moments = program.moments(x)
    strengths = add_strengths(program, x, moments, block.router2.region)
    norm, attention = block.norm2, block.window_attn

    def apply(region: Region, x: Tensor, m: Moments, reader: Reader) -> Tensor:
        normed = norm.weight * m.normalise(x, EPS) + norm.bias
        attended = attention.on_grid(region.inside(normed))
        return x + block.scale2(attended * routing(block.router2, region, reader, strengths))

    return program.windows(apply, x, moments, Whole(strengths), window=attention.window, shift=attention.shift)


def add_routed_tokens(program: Program, block: UltimateBlock, x: Map) -> Map:
    """Token attention at half the size, weighted for each pixel."""
    moments, norm = program.moments(x), block.norm3
    strengths = add_strengths(program, x, moments, block.router3.region)

    def attend(x: Tensor, m: Moments) -> Tensor:
        half = pooled(norm.weight * m.normalise(x, EPS) + norm.bias, 2)
        return block.token_ca(half) if half.numel() else half

    coarse = program.map(attend, x, moments, ratio=Fraction(1, 2), align=2)

    def apply(region: Region, x: Tensor, attended: Reader, reader: Reader) -> Tensor:
        fine = enlarged(region, attended, coarse)
        return x + block.scale3(fine * routing(block.router3, region, reader, strengths))

    return program.located(apply, x, Whole(coarse), Whole(strengths))


def nearest(places: Tensor, length: int, coarse: int) -> Tensor:
    """Positions on a coarse axis that nearest interpolation to ``length`` takes for ``places``."""
    ramp = torch.arange(coarse, dtype=torch.float32).view(1, 1, -1)
    return F.interpolate(ramp, size=length, mode="nearest").view(-1).long()[places]


def linear(places: Tensor, length: int, coarse: int) -> tuple[Tensor, Tensor, Tensor]:
    """The two positions on a coarse axis that linear interpolation mixes for ``places``, and the second's weight."""
    source = ((places + 0.5) * (coarse / length) - 0.5).clamp(min=0)
    low = source.floor().long()
    return low, (low + 1).clamp(max=coarse - 1), source - low


def routing(router: Router, region: Region, reader: Reader, strengths: Map) -> Tensor:
    """The router's factor for each pixel of the region."""
    rows = nearest(region.rows.positions(), region.rows.length, strengths.height)
    columns = nearest(region.columns.positions(), region.columns.length, strengths.width)
    mean = picked(reader, rows, columns)
    return torch.sigmoid(router.weight * mean + router.bias)


def picked(reader: Reader, rows: Tensor, columns: Tensor) -> Tensor:
    """The pixels of the map at the crossings of rows and columns."""
    top, left = int(rows.min()), int(columns.min())
    part = reader.crop(top, int(rows.max()) + 1, left, int(columns.max()) + 1)
    return part.index_select(2, (rows - top).to(part.device)).index_select(3, (columns - left).to(part.device))


def enlarged(region: Region, reader: Reader, coarse: Map) -> Tensor:
    """Bilinear interpolation of a coarse map to the pixels of the region."""
    top, bottom, down = linear(region.rows.positions(), region.rows.length, coarse.height)
    left, right, across = linear(region.columns.positions(), region.columns.length, coarse.width)
    upper, lower = (mixed(reader, rows, left, right, across) for rows in (top, bottom))
    return torch.lerp(upper, lower, down.to(upper)[:, None])


def mixed(reader: Reader, rows: Tensor, left: Tensor, right: Tensor, weight: Tensor) -> Tensor:
    """Rows of a map, interpolated along the columns."""
    first, second = picked(reader, rows, left), picked(reader, rows, right)
    return torch.lerp(first, second, weight.to(first))
