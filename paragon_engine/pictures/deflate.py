"""Deflating a picture's rows on all cores (RFC 1950 and 1951).

The rows are cut into blocks. Each is made and deflated by itself in a thread, numpy and zlib letting the others go on
meanwhile, and what they give is one valid stream when it is joined.

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

BLOCK = 2**20
"""Bytes of a block, about: large enough that a search for repeats loses nothing at its ends."""
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

Content = Callable[[int, int], bytes]
"""Gives the bytes to be deflated of the rows from one to before another; several threads call it."""


@dataclass(frozen=True)
class _Packed:
    """A block, deflated."""

    data: bytes
    check: int
    """Adler-32 of what was deflated."""
    length: int
    """Bytes that were deflated."""


def threads() -> int:
    """How many blocks are worked on at once: the cores that this process may use, unless OMP_NUM_THREADS says less."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(cores, int(wanted) if wanted.isdecimal() else cores, 16))


def deflated(content: Content, height: int, row: int, level: int) -> Iterator[bytes]:
    """The zlib stream of all rows, in parts, of which a few are in memory at a time.

    It is the same on any number of cores.

    Args:
        content: of the rows.
        height: number of rows.
        row: bytes of a row, about.
        level: effort, 0 (none) to 9.
    """
    yield b"\x78\x01" if level < 6 else b"\x78\x9c"
    check = 1
    for block in _blocks(content, height, max(1, BLOCK // row), level):
        check = _joined(check, block)
        yield block.data
    yield struct.pack(">I", check)


def _blocks(content: Content, height: int, rows: int, level: int) -> Generator[_Packed, None, None]:
    """All blocks in their order, made in threads that run ahead a little."""
    with ThreadPoolExecutor(threads(), "deflate") as pool:
        coming: deque[Future[_Packed]] = deque()
        try:
            for top in range(0, height, rows):
                bottom = min(top + rows, height)
                coming.append(pool.submit(_packed, content, top, bottom, level, last=bottom == height))
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


def _packed(content: Content, top: int, bottom: int, level: int, *, last: bool) -> _Packed:
    """Make and deflate rows."""
    data = content(top, bottom)
    packer = _packer(data, level)
    ending = zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH
    return _Packed(packer.compress(data) + packer.flush(ending), zlib.adler32(data), len(data))


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
