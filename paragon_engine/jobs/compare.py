"""Pictures that show what the upscaling did: before and after side by side, with a magnified part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ..pictures import Picture, Pixels, to_bytes, write_image
from ..pictures.colour import conversion_of
from ..pictures.icc import described
from ..pictures.resample import Size, resized

PREVIEW = 900
"""Longest side of each whole picture."""
CROP = 220
"""Longest side of the magnified part, in output pixels."""
_GAP = 12
_ZOOM = 2
_FRAME = np.array([1.0, 0.25, 0.1], np.float32)
_CHECKS = (0.75, 0.9)


def write_comparison(before: Picture, after: Picture, path: Path, *, overwrite: bool = False) -> None:
    """Write one picture: the input, enlarged bicubically, beside the result, and below both the same part magnified.

    The part is where the result has most detail, and framed in the whole pictures.

    Raises:
        OutputExistsError, OutputError: as `write_image`.
    """
    write_image(Picture(comparison(before, after)), path, overwrite=overwrite)


def comparison(before: Picture, after: Picture) -> Pixels:
    """What `write_comparison` writes: (H, W, 3) sRGB in 0..1."""
    old, new = enlarged(before, after.size), shown(after)
    left, top, side = detailed_part(new, CROP)
    width = PREVIEW if max(after.size) > PREVIEW else max(after.size)
    factor = min(1.0, width / max(after.size))
    whole: Size = max(1, round(after.size[0] * factor)), max(1, round(after.size[1] * factor))
    columns: list[Pixels] = []
    for picture, title in ((old, "bicubic"), (new, "upscaled")):
        small = resized(picture, whole).clip(0, 1)
        _outline(small, [round(value * factor) for value in (left, top, left + side[0], top + side[1])])
        part = picture[top : top + side[1], left : left + side[0]]
        part = part.repeat(_ZOOM, axis=0).repeat(_ZOOM, axis=1)
        columns.append(_column(title, [small, part]))
    return np.concatenate([columns[0], np.ones((columns[0].shape[0], _GAP, 3), np.float32), columns[1]], axis=1)


def shown(picture: Picture) -> Pixels:
    """A picture as a screen shows it: sRGB in 0..1, three channels, transparency over a chequered ground."""
    conversion = conversion_of(described(picture.info))
    pixels = picture.pixels if conversion is None else conversion.to_srgb(picture.pixels).clip(0, 1)
    if pixels.shape[2] == 1:
        pixels = pixels.repeat(3, axis=2)
    if picture.alpha is None:
        return pixels
    height, width = picture.alpha.shape
    squares = np.indices((height, width)) // 8
    ground = np.array(_CHECKS, np.float32)[squares.sum(axis=0) % 2][..., None]
    return (pixels * picture.alpha[..., None] + ground * (1 - picture.alpha[..., None])).astype(np.float32)


def enlarged(picture: Picture, size: Size) -> Pixels:
    """A picture as a screen shows it, enlarged bicubically to (width, height)."""
    image = Image.fromarray(to_bytes(shown(picture))).resize(size, Image.Resampling.BICUBIC)
    return np.true_divide(np.asarray(image), 255, dtype=np.float32)


def detailed_part(pixels: Pixels, side: int) -> tuple[int, int, Size]:
    """(left, top, (width, height)) of the part with most detail, on a grid of half a part."""
    height, width = pixels.shape[:2]
    size = min(side, width), min(side, height)
    luma = pixels.mean(axis=2)
    detail = np.zeros_like(luma)
    detail[:, 1:] += np.abs(np.diff(luma, axis=1))
    detail[1:] += np.abs(np.diff(luma, axis=0))
    total = np.pad(detail.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    best, place = -1.0, (0, 0)
    for top in _starts(height, size[1]):
        for left in _starts(width, size[0]):
            bottom, right = top + size[1], left + size[0]
            here = float(total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left])
            if here > best:
                best, place = here, (left, top)
    return *place, size


def _starts(length: int, part: int) -> list[int]:
    """Where parts of a length begin, half a part apart; the last one ends where the whole does."""
    return sorted({*range(0, length - part + 1, max(1, part // 2)), length - part})


def _outline(pixels: Pixels, box: list[int]) -> None:
    """Draw a frame of two pixels."""
    left, top, right, bottom = box
    for rows, columns in (
        (slice(top, top + 2), slice(left, right)),
        (slice(max(0, bottom - 2), bottom), slice(left, right)),
        (slice(top, bottom), slice(left, left + 2)),
        (slice(top, bottom), slice(max(0, right - 2), right)),
    ):
        pixels[rows, columns] = _FRAME


def _column(title: str, parts: list[Pixels]) -> Pixels:
    """A title and pictures, one below the other, on white."""
    width = max(part.shape[1] for part in parts)
    label = Image.new("RGB", (width, 24), "white")
    ImageDraw.Draw(label).text((2, 4), title, fill="black")
    rows = [np.true_divide(np.asarray(label), 255, dtype=np.float32)]
    for part in parts:
        rows.append(np.pad(part, ((0, _GAP), (0, width - part.shape[1]), (0, 0)), constant_values=1))
    return np.concatenate(rows, axis=0)
