"""The pixels of a PNG, filtered and deflated on all cores (PNG, third edition; RFC 1950 and 1951).

The picture is cut into blocks of rows. Each is converted, filtered and deflated by itself in a thread, numpy and zlib
letting the others go on meanwhile, and what they give is one valid stream when it is joined.

Pictures of the world hold no repeats that are worth a search, which is nine tenths of deflate's time: their blocks are
deflated without one (``Z_RLE``). Text and drawings are searched; a sample of each block decides.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

BLOCK = 2**20
"""Bytes of a block, about: large enough that a search for repeats loses nothing at its ends."""
_BAND = 2**17
"""Bytes that are filtered at once: they and what the filters make of them stay in the cache."""
_PIECES, _PIECE = 4, 2**15
"""Pieces of a block that are deflated both ways, and bytes of one."""
_HASTY = 3
"""Level at which they are searched: nearly always it finds whether there is something to be found."""
WORTH = 0.97
"""A block is searched for repeats where that makes it smaller than this."""
FLAT = 0.25
"""A block that shrinks to this is searched: that is quick there, and the sample says little."""
THOROUGH = 7
"""From this level on every block is searched."""
_MODULUS = 65521
"""Of Adler-32."""


@dataclass(frozen=True)
class _Packed:
    """A block, deflated."""

    data: bytes
    check: int
    """Adler-32 of what was deflated."""
    length: int
    """Bytes that were deflated."""


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


def threads() -> int:
    """How many blocks are worked on at once: the cores that this process may use, unless OMP_NUM_THREADS says less."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(cores, int(wanted) if wanted.isdecimal() else cores, 16))


def deflated(image: PngImage, level: int) -> Iterator[bytes]:
    """The zlib stream of all rows, in parts, of which a few are in memory at a time: the contents of IDAT chunks.

    Args:
        image: what it shows.
        level: effort, 0 (none) to 9.
    """
    yield b"\x78\x01" if level < 6 else b"\x78\x9c"
    check = 1
    for block in _blocks(image, level):
        check = _joined(check, block)
        yield block.data
    yield struct.pack(">I", check)


def _blocks(image: PngImage, level: int) -> Generator[_Packed, None, None]:
    """All blocks in their order, made in threads that run ahead a little."""
    rows = max(1, BLOCK // (image.width * image.step))
    with ThreadPoolExecutor(threads(), "png") as pool:
        coming: deque[Future[_Packed]] = deque()
        try:
            for top in range(0, image.height, rows):
                coming.append(pool.submit(_packed, image, top, min(top + rows, image.height), level))
                if len(coming) > 2 * threads():
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _joined(check: int, block: _Packed) -> int:
    """Adler-32 of what came before and a block, from those of both."""
    low, high = check & 0xFFFF, check >> 16
    joined = (low + (block.check & 0xFFFF) - 1) % _MODULUS
    return ((high + (block.check >> 16) + block.length * (low - 1)) % _MODULUS) << 16 | joined


def _packed(image: PngImage, top: int, bottom: int, level: int) -> _Packed:
    """Convert, filter and deflate rows."""
    above = _bytes(image.rows(top - 1, top)) if top else np.zeros((1, image.width * image.step), np.uint8)
    content = b"".join(_filtered(_bytes(image.rows(top, bottom)), above, image.step))
    packer = _packer(content, level)
    ending = zlib.Z_FINISH if bottom == image.height else zlib.Z_SYNC_FLUSH
    return _Packed(packer.compress(content) + packer.flush(ending), zlib.adler32(content), len(content))


def _bytes(values: NDArray[Any]) -> Bytes:
    """``(h, W, C)`` as rows of bytes, the higher one of a word first."""
    kind = ">u2" if values.dtype.itemsize == 2 else "u1"
    return np.ascontiguousarray(values, dtype=kind).view(np.uint8).reshape(len(values), -1)


def _packer(content: bytes, level: int) -> Any:
    """A raw deflater that suits the content."""
    if level == 0:
        return zlib.compressobj(0, zlib.DEFLATED, -15)

    def plain() -> Any:
        return zlib.compressobj(1, zlib.DEFLATED, -15, 9, zlib.Z_RLE)

    def search(effort: int) -> Any:
        return zlib.compressobj(effort, zlib.DEFLATED, -15, 9, zlib.Z_FILTERED)

    if level >= THOROUGH:
        return search(level)
    stride = max(_PIECE, len(content) // _PIECES)
    sample = b"".join(content[start : start + _PIECE] for start in range(0, len(content), stride))
    found, packed = (len(p.compress(sample) + p.flush()) for p in (search(min(level, _HASTY)), plain()))
    return search(level) if found < WORTH * packed or packed < FLAT * len(sample) else plain()


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
            made = _FILTERS[number](*_neighbours(field, step))
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
    return x - ((left & above) + ((left ^ above) >> 1))


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
    return np.negative(condition.view(np.uint8))


_FILTERS: tuple[Callable[[Bytes, Bytes, Bytes, Bytes], Bytes], ...] = (
    lambda x, left, above, corner: x,
    lambda x, left, above, corner: x - left,
    lambda x, left, above, corner: x - above,
    _average,
    _paeth,
)
"""By their numbers in the file; each takes what `_neighbours` gives."""
