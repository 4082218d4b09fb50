"""The pixels of a PNG: rows of bytes, filtered (PNG, third edition)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .deflate import deflated

Bytes = NDArray[np.uint8]

_BAND = 2**17
"""Bytes that are filtered at once: they and what the filters make of them stay in the cache."""


@dataclass(frozen=True)
class PngImage:
    """What is to be written."""

    width: int
    height: int
    channels: int
    """1 (gray), 2 (gray, alpha), 3 or 4."""
    bits: int
    """8 or 16."""
    rows: Callable[[int, int], NDArray[Any]]
    """Gives the rows from one to before another, ``(h, W, C)`` of 8 or 16 bits; is called by several threads."""

    @property
    def step(self) -> int:
        """Bytes of a pixel."""
        return self.channels * self.bits // 8


def compressed(image: PngImage, level: int) -> Iterator[bytes]:
    """The contents of the IDAT chunks, a few rows each.

    Args:
        image: what it shows.
        level: effort, 0 (none) to 9.
    """
    row = image.width * image.step

    def content(top: int, bottom: int) -> bytes:
        above = _bytes(image.rows(top - 1, top)) if top else np.zeros((1, row), np.uint8)
        return b"".join(_filtered(_bytes(image.rows(top, bottom)), above, image.step))

    return deflated(content, image.height, row, level)


def _bytes(values: NDArray[Any]) -> Bytes:
    """``(h, W, C)`` as rows of bytes, the higher one of a word first."""
    kind = ">u2" if values.dtype.itemsize == 2 else "u1"
    return np.ascontiguousarray(values, dtype=kind).view(np.uint8).reshape(len(values), -1)


def _filtered(rows: Bytes, above: Bytes, step: int) -> Iterator[bytes]:
    """Rows with the filter for each that promises the smallest differences, its number in front.

    Args:
        rows: ``(h, bytes)``.
        above: ``(1, bytes)``: the row above the first.
        step: bytes of a pixel.
    """
    count = max(1, _BAND // rows.shape[1])
    padded = np.zeros((count + 1, step + rows.shape[1]), np.uint8)  # a row above, a pixel to the left
    padded[0, step:] = above
    for top in range(0, len(rows), count):
        band = rows[top : top + count]
        padded[1 : len(band) + 1, step:] = band
        field = padded[: len(band) + 1]
        best = _choose(field, step)
        out = np.empty((len(band), 1 + rows.shape[1]), np.uint8)
        out[:, 0] = best
        for number in np.unique(best):
            mine = best == number
            made: Bytes = _FILTERS[int(number)](*_neighbours(field, step))
            if mine.all():
                out[:, 1:] = made
            else:
                out[mine, 1:] = made[mine]
        padded[0] = padded[len(band)]
        yield out.tobytes()


def _neighbours(field: Bytes, step: int) -> tuple[Bytes, Bytes, Bytes, Bytes]:
    """Of each byte: itself, the one of the pixel to the left, above, and above to the left."""
    return field[1:, step:], field[1:, :-step], field[:-1, step:], field[:-1, :-step]


def _choose(field: Bytes, step: int) -> Bytes:
    """The filter of each row: the smallest sum of absolute differences.

    Where an eighth of the columns gives (nearly) all rows the same one, as in photographs, that is believed.
    """
    width = field.shape[1] - step
    length = max(256, width // 32) // step * step
    if width > 8 * length:
        costs = sum(_costs(field[:, start : start + length + step], step) for start in range(0, width, 8 * length))
        best = np.asarray(costs).argmin(axis=0)
        if np.bincount(best).max() >= 0.9 * len(best):
            return best.astype(np.uint8)
    return _costs(field, step).argmin(axis=0).astype(np.uint8)


def _costs(field: Bytes, step: int) -> NDArray[np.int64]:
    """``(filters, rows)``: sums of absolute differences."""
    around = _neighbours(field, step)
    made = (apply(*around) for apply in _FILTERS)
    return np.stack([np.minimum(x, np.negative(x)).sum(axis=1, dtype=np.int64) for x in made])


def _average(x: Bytes, left: Bytes, above: Bytes, corner: Bytes) -> Bytes:
    return cast("Bytes", x - ((left & above) + ((left ^ above) >> 1)))


def _paeth(x: Bytes, left: Bytes, above: Bytes, corner: Bytes) -> Bytes:
    """The neighbour nearest to left + above - corner, without leaving eight bits.

    Where the corner lies between the other two, its distance from that is the difference of their distances, else it is
    the sum, and the corner is never the nearest.
    """
    to_left, to_above = _apart(above, corner), _apart(left, corner)
    chosen = above ^ ((left ^ above) & _mask(to_left <= to_above))
    between = (left >= corner) != (above >= corner)
    between &= _apart(to_left, to_above) < np.minimum(to_left, to_above)
    chosen ^= (chosen ^ corner) & _mask(between)
    return x - chosen


def _apart(a: Bytes, b: Bytes) -> Bytes:
    return np.maximum(a, b) - np.minimum(a, b)


def _mask(condition: NDArray[np.bool_]) -> Bytes:
    """255 where it holds, else 0."""
    result: Bytes = np.zeros(condition.shape, np.uint8)
    return np.subtract(result, condition.view(np.uint8), out=result)


_FILTERS: tuple[Callable[[Bytes, Bytes, Bytes, Bytes], Bytes], ...] = (
    lambda x, left, above, corner: x,
    lambda x, left, above, corner: x - left,
    lambda x, left, above, corner: x - above,
    _average,
    _paeth,
)
"""By their numbers in the file; each takes what `_neighbours` gives."""
