"""Pictures to calibrate and to measure on: which, and which parts of them. Nothing here is random."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from paragon_arch.errors import ImageError

from ..pictures import EXTENSIONS, read_image, to_bytes

Bytes = npt.NDArray[np.uint8]
Batch = npt.NDArray[np.float32]

REDUCED = 2
"""Pictures are reduced by a whole factor to this many times the side of a crop, or little more."""
EVERY = 4
"""Every so many pictures, one is kept for measuring."""


@dataclass(frozen=True)
class Pair:
    """A ground truth and the input that was made from it."""

    name: str
    high: Bytes
    """``(H*s, W*s, 3)`` RGB, 8 bits."""
    low: Batch
    """``(1, C, H, W)`` in 0..1: Pillow's antialiased bicubic reduction, rounded to 8 bits."""


def list_pictures(source: str | os.PathLike[str] | Sequence[Path]) -> list[Path]:
    """The pictures of a folder and its sub-folders, sorted; or those that were named.

    Raises:
        ImageError: there are none.
    """
    if not isinstance(source, str | os.PathLike):
        found = sorted(Path(path) for path in source)
    elif Path(source).is_file():
        found = [Path(source)]
    elif not Path(source).is_dir():
        raise ImageError(f"{source}: no such file or folder")
    else:
        found = sorted(path for path in Path(source).rglob("*") if path.suffix.lower() in EXTENSIONS)
    if not found:
        raise ImageError(f"{source if isinstance(source, str | os.PathLike) else 'the list'}: no pictures there")
    return found


def split(paths: Sequence[Path], holdout: Path | None) -> tuple[list[Path], list[Path]]:
    """Pictures to calibrate on, and others to measure on.

    Raises:
        ImageError: none is left for one of both.
    """
    if holdout is not None:
        measured = list_pictures(holdout)
        held = {path.resolve() for path in measured}
        seen = [path for path in paths if path.resolve() not in held]
        if not seen:
            raise ImageError(f"{holdout}: holds out all pictures there are: no pictures are left to calibrate on")
        return seen, measured
    if len(paths) < 2:
        raise ImageError(f"{paths[0]}: a single picture cannot be calibrated and measured on: give more, or a holdout")
    step = min(EVERY, len(paths))
    return [path for i, path in enumerate(paths) if i % step != step - 1], list(paths[step - 1 :: step])


def spread(paths: Sequence[Path], count: int) -> list[Path]:
    """At most ``count`` of the paths, evenly spread."""
    return [paths[i * len(paths) // count] for i in range(count)] if len(paths) > count else list(paths)


def fingerprint(paths: Sequence[Path]) -> str:
    """A hash of the contents of files, whatever their names."""
    digests = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def pairs(paths: Sequence[Path], *, scale: int, channels: int, side: int) -> list[Pair]:
    """The middle of each picture, ``side`` input pixels along each side or less; tiny pictures are left out.

    Raises:
        ImageError: one cannot be read, or all are tiny.
    """
    made = [
        _pair(path.name, _cut(_read(path, side * scale), side * scale, 0.5, 0.5), scale, channels) for path in paths
    ]
    return _useful(made, paths)


def crops(paths: Sequence[Path], *, scale: int, channels: int, side: int, count: int) -> list[Pair]:
    """``count`` crops in all, the same number from each picture or one more, at places that a fixed rule decides.

    Raises:
        ImageError: one cannot be read, or all are tiny.
    """
    chosen, made = spread(paths, count), list[Pair]()
    for index, path in enumerate(chosen):
        image = _read(path, side * scale)
        for repeat in range(index, count, len(chosen)):
            # a Kronecker sequence: fills the square evenly for any number of crops
            down, right = (repeat * 0.7548776662) % 1, (repeat * 0.5698402909) % 1
            made.append(_pair(path.name, _cut(image, side * scale, down, right), scale, channels))
    return _useful(made, paths)


def _useful(made: list[Pair], paths: Sequence[Path]) -> list[Pair]:
    kept = [pair for pair in made if min(pair.low.shape[2:]) >= 16]
    if not kept:
        raise ImageError(f"{paths[0].parent}: all pictures are smaller than 16 input pixels")
    return kept


def _read(path: Path, side: int) -> Bytes:
    """The picture, reduced to about twice the crop where it is larger: large photographs are blurred at full size."""
    image = to_bytes(read_image(path).pixels)
    image = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
    factor = min(image.shape[:2]) // (REDUCED * side)
    if factor < 2:
        return image
    size = (image.shape[1] // factor, image.shape[0] // factor)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def _cut(image: Bytes, side: int, down: float, right: float) -> Bytes:
    height, width = (min(length, side) for length in image.shape[:2])
    top, left = int(down * (image.shape[0] - height)), int(right * (image.shape[1] - width))
    return image[top : top + height, left : left + width]


def _pair(name: str, high: Bytes, scale: int, channels: int) -> Pair:
    height, width = (length // scale for length in high.shape[:2])
    high = np.ascontiguousarray(high[: height * scale, : width * scale])
    if channels == 1:
        high = np.repeat(np.asarray(Image.fromarray(high).convert("L"))[..., None], 3, axis=2)
    size = (max(1, width), max(1, height))
    low: Bytes = np.zeros((1, 1, 3), np.uint8)  # of a picture that is smaller than one input pixel
    if high.size:
        low = np.asarray(Image.fromarray(high).resize(size, Image.Resampling.BICUBIC))
    return Pair(name, high, _batch(low[..., :channels]))


def _batch(image: Bytes) -> Batch:
    """``(H, W, C)`` 8-bit to ``(1, C, H, W)`` in 0..1."""
    values: Batch = image.astype(np.float32)
    values /= 255
    return np.ascontiguousarray(np.moveaxis(values, 2, 0)[None])


def to_image(output: Batch) -> Bytes:
    """``(1, C, H, W)`` in 0..1 as 8-bit RGB."""
    image = to_bytes(output[0].transpose(1, 2, 0))
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
