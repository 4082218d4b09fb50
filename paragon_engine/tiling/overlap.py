"""Running a network over an image in overlapping tiles: the classic mode, beside which `exact` is the default.

Neighbouring tiles overlap. Half of the overlap on either side of a seam is context: where it covers the network's
receptive field, the result equals the untiled one. Where a network sees further than that (or uses statistics of the
whole image), the seam is feathered over the inner half of the overlap instead, and the result is an approximation.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Literal

import torch
from torch import Tensor

from paragon_arch.errors import InvalidOptionError

from ..devices import computing, release_cached
from ..progress import Progress, log
from ..upscaler import Upscaler
from .memory import is_out_of_memory

TileSize = int | Literal["auto"] | None
"""Side of a tile in input pixels, its context included; 0 or None for the whole image at once."""

AUTO_TILE = 512
"""Tile that "auto" takes where the whole image does not fit."""
MIN_TILE = 32
"""Running out of memory does not shrink tiles below this."""
MAX_OVERLAP = 128
"""Largest overlap chosen without being asked; a wider receptive field is feathered."""
UNLIMITED_OVERLAP = 64
"""Overlap where the receptive field has no limit."""


@dataclass(frozen=True)
class Span:
    """One tile along one axis, in input pixels."""

    start: int
    stop: int
    """The network sees start..stop."""
    first: int
    last: int
    """Its result counts from first to last, half of which is given to the neighbour within `ramp` of an inner seam."""
    ramp_in: int
    ramp_out: int
    """Length of the feathered zone at either end; 0 at the image's edge and where the seam is cut hard."""

    def weights(self, scale: int) -> Tensor:
        """Weight of each output pixel from first to last; the weights of all tiles sum to one everywhere."""
        weight = torch.ones((self.last - self.first) * scale)
        for length, end in ((self.ramp_in, False), (self.ramp_out, True)):
            count = length * scale
            if count:
                rise = (torch.arange(count) + 0.5) / count
                weight[-count if end else 0 : None if end else count] *= rise.flip(0) if end else rise
        return weight


def spans(length: int, tile: int, overlap: int, *, radius: int | None, align: int = 1) -> list[Span]:
    """Cut an axis into tiles of equal steps.

    Args:
        length: pixels of the axis.
        tile: most pixels of a tile.
        overlap: pixels that neighbours share; half a tile at most is used, in whole steps of ``align``.
        radius: receptive field; None if unlimited.
        align: every tile starts at a multiple of this, and ends at one unless it ends the axis.
    """
    if length <= tile:
        return [Span(0, length, 0, length, 0, 0)]
    overlap = min(overlap, tile // 2) // align * align
    largest = max(align, (tile - overlap) // align * align)
    count = -(-(length - overlap) // largest)
    step = -(-(length - overlap) // (count * align)) * align
    half = overlap // 2
    context = radius if radius is not None and radius <= half else overlap // 4
    reach = min(half - context, step // 2)  # the seam is feathered this far to either side
    starts = range(0, length - overlap, step)
    result: list[Span] = []
    for start in starts:
        stop = length if start == starts[-1] else start + step + overlap
        first = start + half - reach if start else 0
        last = length if stop == length else start + step + half + reach
        result.append(Span(start, stop, first, last, 2 * reach if start else 0, 0 if stop == length else 2 * reach))
    return result


def default_overlap(upscaler: Upscaler) -> int:
    """Overlap in input pixels that makes tiling exact, if that is affordable; `MAX_OVERLAP` at most."""
    radius = upscaler.receptive_field()
    return UNLIMITED_OVERLAP if radius is None else min(2 * radius, MAX_OVERLAP)


def is_exact(upscaler: Upscaler, overlap: int) -> bool:
    """Whether tiles with this overlap give the same result as the untiled network."""
    radius = upscaler.receptive_field()
    return radius is not None and overlap // 2 >= radius


def upscale_overlapping(
    upscaler: Upscaler,
    x: Tensor,
    *,
    tile: int,
    overlap: int | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Run a model over a batch, in tiles if asked to or needed.

    A tile for which memory runs out is cut into smaller ones, and so are all that follow; none is ever skipped.

    Args:
        upscaler: the model; it may be on another device than ``x``.
        x: ``(N, C, H, W)``, 0..1.
        tile: side of a tile in input pixels.
        overlap: input pixels shared by neighbours; None for the one that makes tiling exact, up to `MAX_OVERLAP`.
        progress: advanced by tiles; may cancel.

    Returns:
        ``(N, C, H*scale, W*scale)`` in 0..1, float32 on the device of ``x``.

    Raises:
        InvalidOptionError: a negative overlap.
        NonFiniteError: a result is NaN or infinite in the last precision, too.
        MemoryError: not even the smallest tile fits.
        CancelledError: progress was cancelled.
    """
    if overlap is not None and overlap < 0:
        raise InvalidOptionError(f"overlap {overlap} is negative: give 0 or more pixels")
    worker = _Tiler(upscaler, tile, default_overlap(upscaler) if overlap is None else overlap)
    with computing(upscaler.device):
        return worker.run(x, progress or Progress())


class _Tiler:
    """Keeps the tile size that has proved to fit."""

    def __init__(self, upscaler: Upscaler, tile: int, overlap: int) -> None:
        self._upscaler, self._tile, self._overlap = upscaler, tile, overlap
        self._align = upscaler.subject.multiple_of
        self._told = False

    def run(self, x: Tensor, progress: Progress) -> Tensor:
        """Upscale ``x``, which may itself be a tile for which memory ran out."""
        rows, columns = (self._spans(length) for length in x.shape[-2:])
        if len(rows) * len(columns) > 1:
            self._tell()
        progress.start(len(rows) * len(columns))
        scale = self._upscaler.scale
        shape = (len(x), self._upscaler.channels[1], x.shape[-2] * scale, x.shape[-1] * scale)
        out = torch.zeros(shape, dtype=torch.float32, device=x.device)
        for row, column in product(rows, columns):
            progress.raise_if_cancelled()
            part = x[..., row.start : row.stop, column.start : column.stop]
            result = self._attempt(part)
            if result is None:
                result = self.run(part, progress.part())
            else:
                progress.advance()
            _paste(out, result, row, column, scale)
        return out

    def _spans(self, length: int) -> list[Span]:
        return spans(length, self._tile, self._overlap, radius=self._upscaler.receptive_field(), align=self._align)

    def _attempt(self, part: Tensor) -> Tensor | None:
        """Result of one tile, in float32 on its own device; None if it must be cut smaller."""
        if max(part.shape[-2:]) > self._tile + self._align:
            return None
        try:
            return self._upscaler(part)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        # outside the handler, so that the failed run's tensors are gone
        self._shrink(part)
        return None

    def _shrink(self, part: Tensor) -> None:
        release_cached(self._upscaler.device)
        failed = min(self._tile, max(part.shape[-2:]))
        if failed <= MIN_TILE:
            raise MemoryError(f"out of memory on {self._upscaler.device}, even with tiles of {failed} pixels")
        smaller = max(MIN_TILE, failed // 2)
        log.warning("out of memory on %s: going on with tiles of %d pixels", self._upscaler.device, smaller)
        self._tile = smaller

    def _tell(self) -> None:
        """Say once whether the tiles change the result."""
        if self._told:
            return
        self._told = True
        if is_exact(self._upscaler, min(self._overlap, self._tile // 2)):
            log.info("tiles of %d, overlap %d: equal to the untiled result", self._tile, self._overlap)
            return
        radius = self._upscaler.receptive_field()
        reach = "the whole image" if radius is None else f"{radius} pixels around each"
        log.info("tiles of %d, overlap %d: approximate, the model sees %s", self._tile, self._overlap, reach)


def _paste(out: Tensor, result: Tensor, row: Span, column: Span, scale: int) -> None:
    """Add the part of a tile's result that counts, with its weights."""
    (top, bottom), (left, right) = (
        ((span.first - span.start) * scale, (span.last - span.start) * scale) for span in (row, column)
    )
    part = result[..., top:bottom, left:right]
    for span, axis in ((row, (-1, 1)), (column, (1, -1))):
        if span.ramp_in or span.ramp_out:
            part = part * span.weights(scale).to(part.device).view(axis)
    out[..., row.first * scale : row.last * scale, column.first * scale : column.last * scale] += part
