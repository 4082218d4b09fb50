"""Pictures to prove things on: the user's photographs, or generated ones where there are none."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from paragon_arch.dead_leaves import dead_leaves
from paragon_arch.errors import ImageError

from ..onnx_export import SIZES
from ..pictures import EXTENSIONS, read_image

GENERATED = ((192, 11), (192, 12), (256, 13))
"""(side, seed) of the pictures that are used where the user gives none."""
ODD_SIZES = (*SIZES, (1, 101, 97), (1, 128, 64))
"""(batch, height, width) of inputs: primes, below a window, very wide, very narrow; no export is traced at them."""
SMALLEST = 32
"""Smaller pictures have nothing to measure."""


@dataclass(frozen=True)
class Photo:
    """One picture."""

    name: str
    pixels: Tensor
    """``(1, 3, H, W)`` RGB, float32 in 0..1."""


@dataclass(frozen=True)
class PictureSet:
    """Pictures, and what identifies them."""

    photos: tuple[Photo, ...]
    sha256: str
    """Of the pixels, names left out."""
    description: str
    """For reports: "4 photographs"."""


def picture_files(paths: Sequence[Path]) -> list[Path]:
    """All pictures among files and folders (sub-folders included), each folder's sorted by name.

    Raises:
        ImageError: a path is missing, or there is no picture.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(item for item in path.rglob("*") if item.suffix.lower() in EXTENSIONS and item.is_file())
        elif path.is_file():
            found.append(path)
        else:
            raise ImageError(f"{path}: no such file or folder")
    if not found:
        raise ImageError(f"{', '.join(map(str, paths))}: no pictures there ({', '.join(sorted(EXTENSIONS))})")
    return found


def photographs(paths: Sequence[Path] = (), *, limit: int = 8, crop: int = 512) -> PictureSet:
    """Pictures of files and folders, or generated ones where no path is given.

    Args:
        paths: files and folders.
        limit: of a larger set, this many pictures are taken at equal distances.
        crop: larger pictures are cut to this side at the centre.

    Raises:
        ImageError: a path is missing, there is no picture, or one cannot be read.
    """
    if not paths:
        photos = tuple(Photo(f"generated {seed}", dead_leaves(side, seed)) for side, seed in GENERATED)
        return PictureSet(photos, _digest(photos), f"{len(photos)} generated pictures (dead leaves)")
    files = picture_files(paths)
    chosen = files if len(files) <= limit else [files[round(i * (len(files) - 1) / (limit - 1))] for i in range(limit)]
    photos = tuple(Photo(path.stem, centre(load(path), crop)) for path in chosen)
    photos = tuple(photo for photo in photos if min(photo.pixels.shape[2:]) >= SMALLEST)
    if not photos:
        raise ImageError(f"{paths[0]}: the pictures are smaller than {SMALLEST} pixels")
    return PictureSet(photos, _digest(photos), f"{len(photos)} photographs")


def load(path: Path) -> Tensor:
    """A picture as ``(1, 3, H, W)`` in 0..1; gray becomes RGB, transparency is dropped."""
    pixels = read_image(path).pixels
    picture: Tensor = torch.from_numpy(np.ascontiguousarray(pixels))  # pyright: ignore[reportUnknownMemberType]
    return picture.permute(2, 0, 1)[None].expand(-1, 3, -1, -1).contiguous()


def centre(x: Tensor, side: int) -> Tensor:
    """The central part of at most ``side`` x ``side`` pixels."""
    top, left = (max(0, (length - side) // 2) for length in x.shape[2:])
    return x[:, :, top : top + side, left : left + side].contiguous()


def reduced(photo: Tensor, scale: int) -> tuple[Tensor, Tensor]:
    """A low-resolution input and its ground truth, from a photograph.

    Args:
        photo: ``(1, C, H, W)``.
        scale: the ground truth is cut to a multiple of it, and reduced by an antialiased bicubic filter.

    Returns:
        The input, rounded to 8 bits, and the ground truth.
    """
    height, width = (length - length % scale for length in photo.shape[2:])
    truth = photo[:, :, :height, :width]
    size = (height // scale, width // scale)
    small = F.interpolate(truth, size=size, mode="bicubic", antialias=True, align_corners=False)
    return (small.clamp(0, 1) * 255).round() / 255, truth


def odd_inputs(pictures: PictureSet, *, least: int = 1, channels: int = 3) -> list[Tensor]:
    """Inputs of `ODD_SIZES`, none below ``least``, cut out of the pictures, which are mirrored where too small."""
    inputs: list[Tensor] = []
    for index, (batch, height, width) in enumerate(ODD_SIZES):
        size = max(height, least), max(width, least)
        parts = [_cut(pictures.photos[(index + n) % len(pictures.photos)].pixels, *size) for n in range(batch)]
        inputs.append(fit_channels(torch.cat(parts), channels))
    return inputs


def resized_inputs(pictures: PictureSet, size: tuple[int, int], *, channels: int = 3) -> list[Tensor]:
    """One input of a fixed size from each picture."""
    return [fit_channels(_cut(photo.pixels, *size), channels) for photo in pictures.photos]


def fit_channels(x: Tensor, channels: int) -> Tensor:
    """RGB as it is, or its mean as often as a network wants."""
    return x if channels == x.shape[1] else x.mean(dim=1, keepdim=True).expand(-1, channels, -1, -1).contiguous()


def _cut(x: Tensor, height: int, width: int) -> Tensor:
    for axis, length in ((2, height), (3, width)):
        while x.shape[axis] < length:
            x = torch.cat((x, x.flip(axis)), dim=axis)
    return x[:, :, :height, :width].contiguous()


def _digest(photos: Sequence[Photo]) -> str:
    digest = hashlib.sha256()
    for photo in photos:
        digest.update(repr(tuple(photo.pixels.shape)).encode())
        digest.update(photo.pixels.contiguous().numpy().tobytes())
    return digest.hexdigest()
