"""What a picture is in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]
Levels = np.ndarray[Any, np.dtype[Any]]
"""Values of 8 or 16 bits."""
BAND = 64
"""Rows that are converted at once."""


@dataclass(frozen=True)
class PictureInfo:
    """What a picture file carries besides its pixels."""

    path: Path | None = None
    """Where it was read from."""
    format: str = ""
    """Pillow's name of the file format; "" if it was not read from a file."""
    bits: int = 8
    """Bits per channel in the file, 8 or 16."""
    size: tuple[int, int] | None = None
    """(width, height) in the file, upright: what its metadata speak of."""
    gray: bool = False
    """It has one colour channel."""
    icc_profile: bytes | None = None
    """Profile that describes the colours, if it fits the number of channels."""
    cicp: tuple[int, int, int, int] | None = None
    """Colours by number (ITU-T H.273): primaries, transfer, matrix, full range."""
    srgb_intent: int | None = None
    """Rendering intent of a PNG that says it is sRGB."""
    gamma: float | None = None
    """Encoding exponent of a PNG: 0.45455 is usual, 1 is linear light."""
    chromaticities: tuple[float, ...] | None = None
    """x, y of white, red, green and blue of a PNG."""
    light: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    """Mastering display and light level of an HDR PNG: contents of `mDCV` and `cLLI`."""
    exif: bytes | None = None
    """EXIF data from the TIFF header on, without what is no longer true of an enlarged copy (`exif.cleaned`)."""
    xmp: bytes | None = None
    """XMP packet, as UTF-8, without what is no longer true (`xmp.cleaned`)."""
    iptc: bytes | None = None
    """Photoshop's image resources, which hold IPTC data, as in a JPEG's APP13 segment."""
    dpi: tuple[float, float] | None = None
    """Pixels per inch for printing."""
    text: Mapping[str, str] = field(default_factory=dict[str, str])
    """Text of a PNG: captions, or how a picture was generated."""
    comments: tuple[bytes, ...] = ()
    """Comments of a JPEG."""
    jpeg_steps: tuple[int, ...] = ()
    """Quantisation steps of a JPEG's brightness: how much its pixels were compressed."""


@dataclass(frozen=True)
class Picture:
    """A still picture in memory."""

    pixels: Pixels
    """``(H, W, C)`` float32 in 0..1; C is 3 (RGB) or 1 (grayscale). Not premultiplied."""
    alpha: Pixels | None = None
    """``(H, W)`` float32 in 0..1, 1 is opaque; None if the file has no transparency."""
    info: PictureInfo = field(default_factory=PictureInfo)
    """Everything else."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def is_gray(self) -> bool:
        """There is only one colour channel."""
        return self.pixels.shape[2] == 1


def has_transparency(picture: Picture) -> bool:
    """Some pixel is not opaque."""
    return picture.alpha is not None and bool(picture.alpha.min() < 1)


def in_bands(rows: Callable[[int, int], Levels], height: int) -> Levels:
    """All rows of a picture, made a few at a time, so that what making them takes never has the picture's size.

    Args:
        rows: gives the rows from one to before another, ``(h, W, C)``.
        height: number of all rows.
    """
    first = rows(0, min(BAND, height))
    if height <= BAND:
        return first
    result = np.empty((height, *first.shape[1:]), first.dtype)
    result[:BAND] = first
    for top in range(BAND, height, BAND):
        result[top : top + BAND] = rows(top, min(top + BAND, height))
    return result


def to_bytes(values: Pixels) -> NDArray[np.uint8]:
    """0..1 to 0..255, rounded to nearest and clipped."""
    return _levels(values, 255).astype(np.uint8)


def to_words(values: Pixels) -> NDArray[np.uint16]:
    """0..1 to 0..65535, rounded to nearest and clipped."""
    return _levels(values, 65535).astype(np.uint16)


def _levels(values: Pixels, top: int) -> Pixels:
    """0..1 to 0.5..top + 0.5, with one copy."""
    result = values.clip(0, 1)
    result *= top
    result += 0.5
    return result
