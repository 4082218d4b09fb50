"""Training pairs: patches of high-resolution pictures and their antialiased bicubic reduction.

One resampler makes every low-resolution picture of this project, in training and in evaluation alike: Pillow's
BICUBIC on 8-bit RGB (Keys kernel a = -0.5, widened by the scale, so it is antialiased; result rounded to 8 bits).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from paragon_arch.dead_leaves import dead_leaves
from paragon_arch.errors import ImageError

from ..config import DataConfig

Pixels = npt.NDArray[np.uint8]
"""``(H, W, 3)`` RGB, 8 bits."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")


def downscale(image: Pixels, scale: int) -> Pixels:
    """Reduce by an integer factor; height and width must be multiples of it."""
    height, width = image.shape[:2]
    return resize(image, (height // scale, width // scale), Image.Resampling.BICUBIC)


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


def synthetic_image(side: int, seed: int) -> Pixels:
    """A square picture of dead leaves, which stands in for a photograph in tests and in the smoke recipe."""
    return to_pixels(dead_leaves(side, seed))[0]


def list_images(folder: Path) -> list[Path]:
    """All pictures under a folder, sorted.

    Raises:
        ImageError: there are none.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ImageError(f"{folder}: no pictures there; see training/README.md for how to fetch photographs")
    return paths


class PairSampler:
    """Random training batches from decoded pictures.

    A batch is a function of the seed and the step alone, so a resumed run sees what an uninterrupted one would.

    Args:
        images: pictures in memory; those smaller than a patch are left out.
        config: how patches are cut.
        scale: reduction factor.
        seed: of all random choices.
    """

    def __init__(self, images: list[Pixels], config: DataConfig, *, scale: int, seed: int) -> None:
        self.config, self.scale, self.seed = config, scale, seed
        self.images: list[Pixels] = [image for image in images if min(image.shape[:2]) >= config.patch]
        if not self.images:
            raise ImageError(f"no picture has both sides >= data.patch = {config.patch}")
        weight = np.array([min(image.shape[0] * image.shape[1], 4e6) ** 0.5 for image in self.images])
        self.weight = weight / weight.sum()

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Low- and high-resolution batch ``(B, 3, h, w)`` and ``(B, 3, scale*h, scale*w)``, float32 in 0..1."""
        rng = np.random.default_rng((self.seed, step))
        high = [self.patch(rng) for _ in range(self.config.batch)]
        low = [downscale(patch, self.scale) for patch in high]
        return to_tensor(np.stack(low)), to_tensor(np.stack(high))

    def patch(self, rng: np.random.Generator) -> Pixels:
        """One high-resolution patch: the liveliest of some candidates, turned and flipped at random."""
        candidates = [self.crop(rng) for _ in range(self.config.candidates)]
        best = max(candidates, key=edge_strength)
        best = np.rot90(best, int(rng.integers(4)))
        return np.ascontiguousarray(best[:, ::-1] if rng.integers(2) else best)

    def crop(self, rng: np.random.Generator) -> Pixels:
        """A random place of a random picture, reduced by a random factor."""
        image = self.images[rng.choice(len(self.images), p=self.weight)]
        height, width = len(image), len(image[0])
        low, high = self.config.shrink
        side = min(round(self.config.patch / float(rng.uniform(low, high))), height, width)
        top, left = (int(rng.integers(length - side + 1)) for length in (height, width))
        crop = np.ascontiguousarray(image[top : top + side, left : left + side])
        patch = self.config.patch
        return crop if side == patch else resize(crop, (patch, patch), Image.Resampling.LANCZOS)


def edge_strength(image: Pixels) -> float:
    """Mean absolute difference of neighbouring green samples, in 8-bit steps."""
    green = image[..., 1].astype(np.int16)
    return float(np.abs(np.diff(green, axis=0)).mean() + np.abs(np.diff(green, axis=1)).mean())


def to_tensor(images: Pixels) -> Tensor:
    """``(N, H, W, 3)`` 8-bit to ``(N, 3, H, W)`` float32 in 0..1, channels last in memory."""
    return torch.tensor(images).permute(0, 3, 1, 2).float().div(255)


def to_pixels(images: Tensor) -> Pixels:
    """``(N, 3, H, W)`` in 0..1, clipped, to ``(N, H, W, 3)`` 8-bit."""
    return images.clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).numpy()
