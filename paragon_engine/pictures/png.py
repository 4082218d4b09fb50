"""Writing PNG files with 16 bits a channel, which Pillow writes for plain gray alone (PNG, third edition)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .picture import PictureInfo
from .png_chunks import SIGNATURE, ancillary, chunk

_COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}
_ROWS = 64
"""Rows that are filtered at once."""


def write_png16(path: Path, data: NDArray[np.uint16], info: PictureInfo, *, level: int) -> None:
    """Write ``(H, W, C)`` words, C = 1 (gray), 2 (gray, alpha), 3 or 4.

    Raises:
        OSError: writing failed.
    """
    height, width, channels = data.shape
    with path.open("wb") as stream:
        header = struct.pack(">IIBBBBB", width, height, 16, _COLOUR_TYPE[channels], 0, 0, 0)
        stream.write(SIGNATURE + chunk(b"IHDR", header))
        for part in ancillary(info):
            stream.write(part)
        for content in _pixels(data, level):
            stream.write(chunk(b"IDAT", content))
        stream.write(chunk(b"IEND", b""))


def _pixels(data: NDArray[np.uint16], level: int) -> Iterator[bytes]:
    """Contents of IDAT chunks, a few rows each, so that a large picture is never in memory twice."""
    packer = zlib.compressobj(level)
    height, width, channels = data.shape
    step = 2 * channels
    above = np.zeros((1, width * step), np.uint8)
    for top in range(0, height, _ROWS):
        rows = data[top : top + _ROWS].astype(">u2").view(np.uint8).reshape(-1, width * step)
        content = packer.compress(_filtered(rows, np.concatenate([above, rows[:-1]]), step))
        above = rows[-1:]
        if content:
            yield content
    yield packer.flush()


def _filtered(rows: NDArray[np.uint8], above: NDArray[np.uint8], step: int) -> bytes:
    """Rows with the filter for each that leaves the smallest sum of absolute differences, its number in front."""
    left = np.pad(rows, ((0, 0), (step, 0)))[:, :-step]
    corner = np.pad(above, ((0, 0), (step, 0)))[:, :-step]
    average = ((left.astype(np.uint16) + above) // 2).astype(np.uint8)
    candidates = np.stack([rows, rows - left, rows - above, rows - average, rows - _paeth(left, above, corner)])
    cost = np.abs(candidates.view(np.int8).astype(np.int16)).sum(axis=2, dtype=np.int64)
    best = cost.argmin(axis=0)
    chosen = np.take_along_axis(candidates, best[None, :, None], axis=0)[0]
    return np.concatenate([best[:, None].astype(np.uint8), chosen], axis=1).tobytes()


def _paeth(left: NDArray[np.uint8], above: NDArray[np.uint8], corner: NDArray[np.uint8]) -> NDArray[np.uint8]:
    a, b, c = (item.astype(np.int16) for item in (left, above, corner))
    to_a, to_b, to_c = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    return np.where((to_a <= to_b) & (to_a <= to_c), left, np.where(to_b <= to_c, above, corner))
