"""Writing TIFF files: 8 or 16 bits a channel, compressed, with EXIF; Pillow's writer cannot do the three together.

The file begins with the picture's EXIF data, byte for byte, and its first directory is a longer copy of theirs: what
points into the data by its offset, makers' notes above all, stays right.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import iptc
from .deflate import deflated
from .exif import STRUCTURE
from .ifd import BYTE, LONG, RATIONAL, SHORT, UNDEFINED, Block, Value, build, with_values
from .picture import PictureInfo

_GRAY, _RGB = 1, 2
_DEFLATE, _DIFFERENCES, _INCH, _UNASSOCIATED = 8, 2, 2, 2


def write_tiff(path: Path, data: np.ndarray[Any, np.dtype[Any]], info: PictureInfo, *, level: int) -> None:
    """Write ``(H, W, C)`` bytes or words, C = 1 (gray), 2 (gray, alpha), 3 or 4, as one deflated strip.

    Raises:
        OSError: writing failed.
        OverflowError: more than the 4 GB that a TIFF holds.
    """
    block = Block(info.exif if info.exif is not None else build("<", {}))
    order = block.order

    def content(top: int, bottom: int) -> bytes:
        return _differences(data[top:bottom], order)

    strip = b"".join(deflated(content, len(data), data[:1].nbytes, level))
    block, head, directory = _with_structure(block, data, info, len(strip))
    if len(head) + len(strip) >= 2**32:
        raise OverflowError("more than 4 GB do not fit into a TIFF; write PNG")
    result = bytearray(head)
    struct.pack_into(block.order + "I", result, 4, directory)
    with path.open("wb") as stream:
        stream.write(result)
        stream.write(strip)


def _with_structure(
    block: Block, data: np.ndarray[Any, np.dtype[Any]], info: PictureInfo, size: int
) -> tuple[Block, bytes, int]:
    """The file up to its strip, and the place of its directory, which says how long the part before the strip is."""
    values = _values(block.order, data, info, size)
    head, _ = with_values(block, block.first, values)
    values[273] = _numbers(block.order, LONG, (len(head),))
    head, directory = with_values(block, block.first, values)
    return block, head, directory


def _values(order: str, data: np.ndarray[Any, np.dtype[Any]], info: PictureInfo, size: int) -> dict[int, Value]:
    height, width, channels = data.shape
    tags: dict[int, tuple[int, Sequence[int]]] = {
        256: (LONG, (width,)),
        257: (LONG, (height,)),
        258: (SHORT, (data.dtype.itemsize * 8,) * channels),
        259: (SHORT, (_DEFLATE,)),
        262: (SHORT, (_GRAY if channels < 3 else _RGB,)),
        273: (LONG, (0,)),
        277: (SHORT, (channels,)),
        278: (LONG, (height,)),
        279: (LONG, (size,)),
        284: (SHORT, (1,)),
        317: (SHORT, (_DIFFERENCES,)),
    }
    if channels in (2, 4):
        tags[338] = (SHORT, (_UNASSOCIATED,))
    values = {tag: _numbers(order, kind, numbers) for tag, (kind, numbers) in tags.items()}
    assert values.keys() - {338} <= STRUCTURE
    for tag, kind, content in (
        (34675, UNDEFINED, info.icc_profile),
        (700, BYTE, info.xmp),
        (34377, BYTE, info.iptc and info.iptc.removeprefix(iptc.PREFIX)),
    ):
        if content:
            values[tag] = Value(kind, len(content), content)
    if info.dpi is not None:
        for tag, dots in zip((282, 283), info.dpi, strict=True):
            values[tag] = Value(RATIONAL, 1, struct.pack(order + "II", round(dots * 1000), 1000))
        values[296] = _numbers(order, SHORT, (_INCH,))
    return values


def _numbers(order: str, kind: int, numbers: Sequence[int]) -> Value:
    letter = "H" if kind == SHORT else "I"
    return Value(kind, len(numbers), struct.pack(f"{order}{len(numbers)}{letter}", *numbers))


def _differences(data: np.ndarray[Any, np.dtype[Any]], order: str) -> bytes:
    """Each value less its left neighbour's, in the file's byte order: TIFF's horizontal predictor."""
    kind = f"{order}u2" if data.dtype.itemsize == 2 else "u1"
    result = np.array(data, dtype=kind)
    np.subtract(result[:, 1:], data[:, :-1], out=result[:, 1:])
    return result.tobytes()
