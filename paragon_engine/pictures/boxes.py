"""What AVIF and HEIF files say about their colours in boxes, which Pillow does not tell (ISO/IEC 23008-12)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import IO

_LIMIT = 2**20
"""Bytes of the file's `meta` box beyond which it is not looked at."""
_INSIDE = {b"iprp": 0, b"ipco": 0, b"meta": 4}


def colour(stream: IO[bytes]) -> tuple[tuple[int, int, int, int] | None, int]:
    """(H.273 primaries, transfer, 0, 1 for full range) of the first picture, if there are any, and bits a channel."""
    meta = _meta(stream)
    cicp, bits = None, 8
    for kind, at, end in _boxes(meta, 0, len(meta)):
        content = meta[at:end]
        if kind == b"colr" and content[:4] == b"nclx" and len(content) >= 11 and cicp is None:
            primaries, transfer = struct.unpack_from(">HH", content, 4)
            if primaries < 256 and transfer < 256 and (primaries, transfer) != (2, 2):
                cicp = (primaries, transfer, 0, 1)  # after decoding they are RGB of full range
        elif kind == b"pixi" and len(content) > 5:
            bits = max(bits, content[5])
    return cicp, bits


def set_colour(data: bytearray, cicp: tuple[int, int, int, int]) -> bool:
    """Write primaries and transfer into the `nclx` box of an AVIF file that an encoder made; False if it has none."""
    at = data.find(b"colrnclx", 0, _LIMIT)
    if at < 0:
        return False
    struct.pack_into(">HH", data, at + 8, cicp[0], cicp[1])
    return True


def _meta(stream: IO[bytes]) -> bytes:
    stream.seek(0)
    for _ in range(64):
        head = stream.read(8)
        if len(head) < 8:
            break
        size, kind = struct.unpack(">I4s", head)
        if kind == b"meta":
            return head + stream.read(min(max(size - 8, 0), _LIMIT))
        if size < 8:
            break
        stream.seek(size - 8, 1)
    return b""


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(type, place of its contents, end) of each box, and of those in the boxes that hold boxes."""
    while at + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, at)
        stop = min(end, at + size)
        if size < 8:
            return
        yield kind, at + 8, stop
        if kind in _INSIDE:
            yield from _boxes(data, at + 8 + _INSIDE[kind], stop)
        at = stop
