"""Pictures on disk and in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from paragon_arch.dead_leaves import dead_leaves
from paragon_arch.errors import ImageError

Pixels = npt.NDArray[np.uint8]
"""``(H, W, 3)`` RGB, 8 bits."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
SYNTHETIC_SIDE = 256
"""Side of a synthetic picture in pixels."""


def resize(image: Pixels, size: tuple[int, int], kernel: Image.Resampling) -> Pixels:
    """Resize to ``(height, width)`` with one of Pillow's kernels."""
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), kernel))


def read_image(path: Path) -> Pixels:
    """Decode a picture to RGB.

    Raises:
        ImageError: it cannot be read.
    """
    try:
        image = Image.open(path)
        with image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise ImageError(f"{path}: cannot be read as a picture ({error})") from error


def image_size(path: Path) -> tuple[int, int]:
    """Height and width, from the header.

    Raises:
        ImageError: it cannot be read.
    """
    try:
        image = Image.open(path)
        with image:
            return image.height, image.width
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise ImageError(f"{path}: cannot be read as a picture ({error})") from error


def synthetic_image(side: int, seed: int) -> Pixels:
    """A square picture of dead leaves, which stands in for a photograph in tests and in the smoke recipe."""
    leaves = dead_leaves(side, seed)[0].clamp(0, 1).mul(255).round().byte()
    return leaves.permute(1, 2, 0).contiguous().numpy()


def list_images(folder: Path) -> list[Path]:
    """All pictures under a folder, sorted.

    Raises:
        ImageError: there are none.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ImageError(f"{folder}: no pictures there; see training/README.md for how to fetch photographs")
    return paths


def partners(paths: Sequence[Path], folder: Path, low_folder: Path) -> list[Path]:
    """The low-resolution picture of each high-resolution one: the same relative name, whatever the suffix.

    Raises:
        ImageError: one is missing.
    """
    known = {path.relative_to(low_folder).with_suffix(""): path for path in list_images(low_folder)}
    found: list[Path] = []
    for path in paths:
        name = path.relative_to(folder).with_suffix("")
        if name not in known:
            raise ImageError(f"{path}: {low_folder} has no picture of this name")
        found.append(known[name])
    return found


class Store:
    """Pictures by index, decoded when they are first wanted and kept while there is room.

    Args:
        sources: files, or seeds of synthetic pictures.
        memory: bytes of decoded pictures to keep.
    """

    def __init__(self, sources: Sequence[Path | int], *, memory: int) -> None:
        self.sources, self.room = list(sources), memory
        self.sizes = [(SYNTHETIC_SIDE, SYNTHETIC_SIDE) if isinstance(s, int) else image_size(s) for s in sources]
        self.kept: dict[int, Pixels] = {}

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: int) -> Pixels:
        if index in self.kept:
            return self.kept[index]
        source = self.sources[index]
        image = synthetic_image(SYNTHETIC_SIDE, source) if isinstance(source, int) else read_image(source)
        if image.nbytes <= self.room:
            self.room -= image.nbytes
            self.kept[index] = image
        return image
