"""Running a program of stages over an image of any size, tile by tile, with the result of the whole image.

Nothing here knows an architecture: a `Program` says what to compute, this module cuts it into tiles, keeps the maps
that later stages need, adds up the statistics, and shrinks the tiles where memory runs out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from paragon_arch.networks.stages import Map, Operand, Program, Region, Span, Stage, Value, Whole

from ..devices import release_cached
from ..progress import Progress, log
from .buffers import Buffer, Store
from .groups import Group, Rectangle, cut, group_stages, span
from .memory import AllocationCounter, is_out_of_memory

MIN_TILE = 16
"""Running out of memory does not shrink tiles below this."""
HALO_SHARE = 16
"""Stages run together while their halo is at most this fraction of a tile: what costs more, recomputing a halo or
writing and reading a map, is about even there."""

OnRegion = Callable[[int, int, int, int], None]
"""Called with the rows and columns (top, bottom, left, right) of the result that have just been finished."""


@dataclass(frozen=True)
class _Reader:
    """`Reader` of a buffer."""

    buffer: Buffer
    like: Tensor

    def crop(self, top: int, bottom: int, left: int, right: int) -> Tensor:
        return self.buffer.crop(top, bottom, left, right, self.like)


@dataclass(frozen=True)
class _Local:
    """The result of a stage for one tile, and which rows and columns of the frame it covers."""

    data: Tensor
    top: int
    left: int

    def crop(self, region: Region) -> Tensor:
        rows, columns = region.rows, region.columns
        return self.data[
            ..., rows.start - self.top : rows.stop - self.top, columns.start - self.left : columns.stop - self.left
        ]


class Streamer:
    """One run of a program.

    Args:
        program: for the size of the image.
        store: makes the maps in between.
        like: an empty tensor of the device and the type that the stages work in.
        tile: side of a tile, in pixels of the image.
        progress: advanced by tiles; may cancel between the stages of one.
        on_region: see `OnRegion`.
    """

    def __init__(
        self,
        program: Program,
        *,
        store: Store,
        like: Tensor,
        tile: int,
        progress: Progress | None = None,
        on_region: OnRegion | None = None,
    ) -> None:
        self.tile = tile
        self._program, self._store, self._like = program, store, like
        self._progress, self._on_region = progress or Progress(), on_region
        self._maps: dict[Map, Buffer] = {}
        self._values: dict[Value, Any] = {}
        self._sums: dict[Value, Tensor] = {}

    def run(self, image: Tensor, out: Tensor) -> None:
        """Run all stages.

        Args:
            image: ``(1, C, H, W)`` on any device.
            out: ``(1, C, H*scale, W*scale)`` on any device and of any floating type, filled.

        Raises:
            MemoryError: not even the smallest tile fits.
            CancelledError: progress was cancelled.
        """
        self._maps = {self._program.image: Buffer(image), self._program.output: Buffer(out)}
        groups = group_stages(self._program, max(1, self.tile // HALO_SHARE))
        weights = [group.size[0] * group.size[1] * len(group.stages) for group in groups]
        self._progress.start(sum(weights))
        try:
            for group, weight in zip(groups, weights, strict=True):
                self._run_group(group, weight)
        finally:
            for feature_map in set(self._maps) - {self._program.image, self._program.output}:
                self._store.release(self._maps.pop(feature_map))

    def rehearse(self, image: Tensor, out: Tensor) -> tuple[int, int]:
        """Run one tile of every group on the meta device.

        Returns:
            Bytes that the greediest tile needs, and most bytes of a tile and the maps between the groups together. The
            store's ``peak`` then says how many bytes those maps need by themselves.
        """
        self._maps = {self._program.image: Buffer(image), self._program.output: Buffer(out)}
        need = together = 0
        for group in group_stages(self._program, max(1, self.tile // HALO_SHARE)):
            pieces = list(cut((0, group.frame[0], 0, group.frame[1]), self._side(group), group.align))
            with AllocationCounter() as counter:
                results = self.compute(group, pieces[len(pieces) // 2])
            need = max(need, counter.peak)
            for stage, data in results:
                self._buffer(group, stage, data)
                if isinstance(stage.writes, Value):
                    self._sums[stage.writes] = torch.ones(data.shape, dtype=torch.float64)
            together = max(together, counter.peak + self._store.used)
            del results
            self._settle(group)
        return need, together

    def _run_group(self, group: Group, weight: float) -> None:
        height, width = group.frame
        pending: deque[Rectangle] = deque([(0, height, 0, width)])
        while pending:
            self._progress.raise_if_cancelled()
            rectangle = pending.popleft()
            pieces = list(cut(rectangle, self._side(group), group.align))
            if len(pieces) > 1:
                pending.extendleft(reversed(pieces))
                continue
            if not self._attempt(group, rectangle):
                self._shrink(group, rectangle)
                pending.appendleft(rectangle)
                continue
            top, bottom, left, right = rectangle
            self._progress.advance(weight * (bottom - top) * (right - left) / (height * width))
        self._settle(group)

    def _side(self, group: Group) -> int:
        """Side of a tile in the group's own pixels."""
        return max(1, round(self.tile * group.size[0] / self._program.image.height))

    def _attempt(self, group: Group, rectangle: Rectangle) -> bool:
        """Compute a tile and take its results in, all or none; False if memory ran out."""
        try:
            taken = [self._placed(group, stage, data) for stage, data in self.compute(group, rectangle)]
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return False
        for stage, data, buffer in taken:  # nothing here needs memory
            if isinstance(stage.writes, Value):
                before = self._sums.get(stage.writes)
                self._sums[stage.writes] = data if before is None else stage.merge(before, data)
            elif buffer is not None:
                self._write(group, stage, buffer, data, rectangle)
        return True

    def _placed(self, group: Group, stage: Stage, data: Tensor) -> tuple[Stage, Tensor, Buffer | None]:
        """A tile's result beside the buffer that it belongs to, where writing it takes no more memory."""
        buffer = self._buffer(group, stage, data)
        return stage, data.cpu().double() if buffer is None else data.to(buffer.data), buffer

    def compute(self, group: Group, rectangle: Rectangle) -> list[tuple[Stage, Tensor]]:
        """What the group gives for one tile: results to keep, without halo, and parts of sums."""
        local: dict[Map, _Local] = {}
        results: list[tuple[Stage, Tensor]] = []
        last = {source: index for index, stage in enumerate(group.stages) for source in stage.maps()}
        for index, (stage, margin) in enumerate(zip(group.stages, group.margins, strict=True)):
            self._progress.raise_if_cancelled()
            region = _region(group, rectangle, margin + stage.halo)
            arguments = [self._operand(operand, region, local) for operand in stage.reads]
            if isinstance(stage.writes, Value):
                results.append((stage, stage.apply(*(_valid(region, argument) for argument in arguments))))
                continue
            data = stage.apply(region, *arguments) if stage.located else stage.apply(*arguments)
            del arguments
            rows, columns = region.rows, region.columns
            whole = data.shape[-2:] == (
                _scaled(rows.stop, stage) - _scaled(rows.start, stage),
                _scaled(columns.stop, stage) - _scaled(columns.start, stage),
            )
            top, left = (rows.start, columns.start) if whole else (rows.first, columns.first)
            if stage.writes in group.keeps:
                results.append((stage, _trimmed(data, stage, region, top, left)))
            local[stage.writes] = _Local(data, top, left)
            for source in [source for source in local if last.get(source, -1) <= index]:
                del local[source]
        return results

    def _operand(self, operand: Operand, region: Region, local: dict[Map, _Local]) -> Any:
        if isinstance(operand, Value):
            return self._values[operand]
        if isinstance(operand, Whole):
            return _Reader(self._maps[operand.source], self._like)
        if operand in local:
            return local[operand].crop(region)
        return self._maps[operand].read(region.rows, region.columns, self._like)

    def _buffer(self, group: Group, stage: Stage, data: Tensor) -> Buffer | None:
        """The buffer of a stage's result; made, or taken over from a map that ends here, with the first tile."""
        target = stage.writes
        if isinstance(target, Value):
            return None
        if target not in self._maps:
            heir = self._reusable(group, target, data.shape[1])
            self._maps[target] = self._store.new(data.shape[1], target.height, target.width) if heir is None else heir
        return self._maps[target]

    def _reusable(self, group: Group, target: Map, channels: int) -> Buffer | None:
        """A buffer that the tiles of this group read only where they write."""
        free = {operand.source for stage in group.stages for operand in stage.reads if isinstance(operand, Whole)}
        taken = {id(self._maps[kept]) for kept in group.keeps if kept in self._maps}
        for source in group.drops - free:
            buffer = self._maps[source]
            fits = buffer.data.shape[1:] == (channels, target.height, target.width)
            if fits and not group.halo and id(buffer) not in taken:
                return buffer
        return None

    def _write(self, group: Group, stage: Stage, buffer: Buffer, data: Tensor, rectangle: Rectangle) -> None:
        region = _region(group, rectangle, 0)
        if stage.ratio != 1:
            target = stage.writes
            assert isinstance(target, Map)
            region = Region(_result(region.rows, stage, target.height), _result(region.columns, stage, target.width))
        buffer.write(region.rows, region.columns, data)
        if stage.writes is self._program.output and self._on_region is not None:
            rows, columns = region.rows, region.columns
            self._on_region(rows.first, rows.last, columns.first, columns.last)

    def _settle(self, group: Group) -> None:
        """Make the values of the group and give back the maps that it was the last to need."""
        for stage in group.stages:
            if isinstance(stage.writes, Value) and stage.settle is not None:
                total = self._sums.pop(stage.writes)
                self._values[stage.writes] = stage.settle(total, group.size[0] * group.size[1])
        kept = {id(self._maps[target]) for target in group.keeps}
        for source in group.drops:
            buffer = self._maps.pop(source)
            if id(buffer) not in kept:
                self._store.release(buffer)

    def _shrink(self, group: Group, rectangle: Rectangle) -> None:
        """Choose a smaller tile after one that did not fit."""
        release_cached(self._like.device)
        top, bottom, left, right = rectangle
        failed = max(bottom - top, right - left)
        if failed <= max(MIN_TILE, group.align) and self.tile <= MIN_TILE:
            raise MemoryError(f"out of memory on {self._like.device}, even with tiles of {failed} pixels")
        level = group.size[0] / self._program.image.height
        self.tile = max(1, int(max(MIN_TILE, failed // 2) / level))
        log.warning("out of memory on %s: going on with tiles of %d pixels", self._like.device, self.tile)


def _region(group: Group, rectangle: Rectangle, reach: int) -> Region:
    top, bottom, left, right = rectangle
    return Region(
        span(top, bottom, reach, group.size[0], group.grid), span(left, right, reach, group.size[1], group.grid)
    )


def _scaled(position: int, stage: Stage) -> int:
    return int(position * stage.ratio)


def _result(axis: Span, stage: Stage, length: int) -> Span:
    """Where the result of a tile lies in a map of another size."""
    first, last = _scaled(axis.first, stage), _scaled(axis.last, stage)
    return Span(first, last, first, last, length, axis.grid)


def _trimmed(data: Tensor, stage: Stage, region: Region, top: int, left: int) -> Tensor:
    """The part of a result that the tile is responsible for."""
    rows, columns, offset_y, offset_x = region.rows, region.columns, _scaled(top, stage), _scaled(left, stage)
    return data[
        ...,
        _scaled(rows.first, stage) - offset_y : _scaled(rows.last, stage) - offset_y,
        _scaled(columns.first, stage) - offset_x : _scaled(columns.last, stage) - offset_x,
    ]


def _valid(region: Region, argument: Any) -> Any:
    """The pixels of a crop that a reduction counts: the tile's own, without the frame's padding."""
    if not isinstance(argument, Tensor) or argument.shape[-2:] != (
        region.rows.stop - region.rows.start,
        region.columns.stop - region.columns.start,
    ):
        return argument
    for axis, dimension in ((region.rows, 2), (region.columns, 3)):
        mask = axis.valid()
        if mask is not None:
            argument = argument.index_select(dimension, mask.nonzero().view(-1).to(argument.device))
    return argument
