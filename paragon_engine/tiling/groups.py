"""Which stages of a program run together, tile by tile, and which maps must be kept in between."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from paragon_arch.networks.stages import Grid, Map, Program, Span, Stage, Value, Whole


@dataclass
class Group:
    """Consecutive stages that a tile passes through before the next tile starts."""

    stages: list[Stage]
    size: tuple[int, int]
    """Height and width of the maps that it reads in crops."""
    grid: Grid
    margins: list[int] = field(default_factory=list[int])
    """Pixels around the tile that the result of each stage must still be right for."""
    keeps: set[Map] = field(default_factory=set[Map])
    """Results that later groups (or the caller) need."""
    drops: set[Map] = field(default_factory=set[Map])
    """Maps that nobody needs after this group."""

    @property
    def halo(self) -> int:
        """Pixels around a tile that it reads."""
        return max((margin + stage.halo for margin, stage in zip(self.margins, self.stages, strict=True)), default=0)

    @property
    def align(self) -> int:
        """Tiles start at multiples of this."""
        return math.lcm(self.grid.window, *(stage.align for stage in self.stages))

    @property
    def frame(self) -> tuple[int, int]:
        """Height and width of the frame."""
        height, width = (-(-length // self.grid.window) * self.grid.window for length in self.size)
        return height, width

    def loads(self) -> set[Map]:
        """Maps it reads that it does not make."""
        return {source for stage in self.stages for source in stage.maps()} - {stage.writes for stage in self.stages}


def group_stages(program: Program, limit: int) -> list[Group]:
    """Form groups whose halo is at most ``limit`` pixels where a single stage does not need more."""
    groups: list[Group] = []
    for stage in program.stages:
        if groups and _fits(groups[-1], stage, limit):
            group = groups[-1]
            group.grid = group.grid if stage.pointwise else stage.grid
            group.stages.append(stage)
        else:
            groups.append(Group([stage], _size(stage), stage.grid))
        groups[-1].margins = margins(groups[-1].stages)
    _decide_lives(program, groups)
    return groups


def _size(stage: Stage) -> tuple[int, int]:
    source = next(operand for operand in stage.reads if isinstance(operand, Map))
    return source.height, source.width


def _fits(group: Group, stage: Stage, limit: int) -> bool:
    made = {earlier.writes for earlier in group.stages}
    needs_whole = any(
        operand in made if isinstance(operand, Value) else isinstance(operand, Whole) and operand.source in made
        for operand in stage.reads
    )
    if needs_whole or _size(stage) != group.size:
        return False
    if not stage.pointwise and stage.grid != group.grid and not all(earlier.pointwise for earlier in group.stages):
        return False
    if stage.halo and stage.grid.window > 1:  # it hands back the tile without halo
        return all(earlier.pointwise for earlier in group.stages) and stage.halo <= limit
    together = [*group.stages, stage]
    reach = max(margin + each.halo for margin, each in zip(margins(together), together, strict=True))
    return reach <= max(limit, group.halo)


def margins(stages: Sequence[Stage]) -> list[int]:
    """For the result of each stage: pixels around a tile for which later ones of the stages need it."""
    need: dict[Map | Value, int] = {}
    result: list[int] = []
    for stage in reversed(stages):
        margin = need.get(stage.writes, 0)
        result.append(margin)
        for operand in stage.reads:
            if isinstance(operand, Map):
                need[operand] = max(need.get(operand, 0), margin + stage.halo)
    return result[::-1]


def _decide_lives(program: Program, groups: list[Group]) -> None:
    """Fill in what every group keeps and drops."""
    needed: set[Map] = {program.output}
    for group in reversed(groups):
        loads = group.loads()
        made = {stage.writes for stage in group.stages if isinstance(stage.writes, Map)}
        group.keeps = made & needed
        group.drops = loads - needed - {program.image}
        needed = (needed | loads) - made


Rectangle = tuple[int, int, int, int]
"""First and last row, first and last column (exclusive), in a group's frame."""


def cut(rectangle: Rectangle, tile: int, align: int) -> Iterator[Rectangle]:
    """Tiles of nearly equal size, at most ``tile`` (or ``align``) on a side, row by row."""
    top, bottom, left, right = rectangle
    for first, last in _pieces(top, bottom, tile, align):
        for start, stop in _pieces(left, right, tile, align):
            yield first, last, start, stop


def _pieces(start: int, stop: int, tile: int, align: int) -> Iterator[tuple[int, int]]:
    largest = max(align, tile // align * align)
    count = -(-(stop - start) // largest)
    step = -(-(stop - start) // (count * align)) * align
    for first in range(start, stop, step):
        yield first, min(stop, first + step)


def span(first: int, last: int, reach: int, length: int, grid: Grid) -> Span:
    """One axis of a tile with ``reach`` pixels around it, clipped to the frame."""
    frame = -(-length // grid.window) * grid.window
    return Span(max(0, first - reach), min(frame, last + reach), first, last, length, grid)
