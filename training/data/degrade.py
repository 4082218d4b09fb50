"""What makes low-resolution pictures look like those that people have: blur, noise and lossy compression.

All functions take and return ``(H, W, 3)`` 8-bit RGB and draw from the generator they are given.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from ..config import DegradeConfig
from .codecs import GRID, compress, compress_jpeg, compress_video
from .pictures import Pixels, resize

KERNELS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
}
"""Antialiased reducing kernels of Pillow, by their names in recipes."""


class Degradation:
    """The pipeline of a recipe: blur, reduction, noise, sharpening, video, JPEG once or twice, WebP.

    Raises:
        InvalidOptionError: video is asked for, and PyAV or one of the codecs is not there.
    """

    def __init__(self, config: DegradeConfig) -> None:
        self.config = config
        if config.video > 0:
            for codec in config.video_codecs:
                compress_video(np.zeros((32, 32, 3), np.uint8), codec, config.video_crf[1])

    def __call__(self, high: Pixels, scale: int, rng: np.random.Generator) -> Pixels:
        """The low-resolution picture of a high-resolution one."""
        config, size = self.config, (high.shape[0] // scale, high.shape[1] // scale)
        if rng.random() < config.clean:
            return resize(high, size, Image.Resampling.BICUBIC)
        if rng.random() < config.blur:
            across, down = rng.uniform(*config.blur_sigma, size=2)
            high = blur(high, float(across), float(down))
        if rng.random() < config.chain:
            factor = float(rng.uniform(*config.chain_factor))
            high = resize(high, (max(1, round(size[0] * factor)), max(1, round(size[1] * factor))), self._kernel(rng))
        low = resize(high, size, self._kernel(rng))
        if rng.random() < config.noise:
            low = add_noise(low, float(rng.uniform(*config.noise_sigma)), rng.random() < config.grey_noise, rng)
        if rng.random() < config.sharpen:
            low = sharpen(low, float(rng.uniform(*config.sharpen_amount)), float(rng.uniform(0.6, 1.6)))
        return self._compress(low, rng)

    def _kernel(self, rng: np.random.Generator) -> Image.Resampling:
        return KERNELS[self.config.kernels[int(rng.integers(len(self.config.kernels)))]]

    def _compress(self, low: Pixels, rng: np.random.Generator) -> Pixels:
        config = self.config
        if rng.random() < config.video:
            codec = config.video_codecs[int(rng.integers(len(config.video_codecs)))]
            low = compress_video(low, codec, _between(config.video_crf, rng))
        if rng.random() < config.jpeg:
            for _ in range(2 if rng.random() < config.jpeg_twice else 1):
                low = self._jpeg(low, rng)
        if rng.random() < config.webp:
            low = compress(low, "WEBP", _between(config.webp_quality, rng))
        return low

    def _jpeg(self, low: Pixels, rng: np.random.Generator) -> Pixels:
        quality, halved = _between(self.config.jpeg_quality, rng), bool(rng.random() < self.config.jpeg_420)
        rows, columns = rng.integers(2 * GRID if halved else GRID, size=2)
        offset = (int(rows), int(columns)) if self.config.jpeg_shift and min(low.shape[:2]) > 2 * GRID else (0, 0)
        return compress_jpeg(low, quality, halved=halved, offset=offset)


def _between(bounds: tuple[int, int], rng: np.random.Generator) -> int:
    return int(rng.integers(bounds[0], bounds[1] + 1))


def blur(image: Pixels, across: float, down: float) -> Pixels:
    """Gaussian blur with a standard deviation along each axis, borders repeated."""
    result = image.astype(np.float32)
    for axis, sigma in ((1, across), (0, down)):
        reach = max(1, round(3 * sigma))
        taps = np.exp(-np.square(np.arange(-reach, reach + 1) / max(sigma, 1e-3)) / 2)
        taps /= taps.sum()
        padding = [(reach, reach) if axis == i else (0, 0) for i in range(3)]
        padded = np.pad(result, padding, mode="edge")
        length = result.shape[axis]
        result = np.sum([t * padded.take(range(i, i + length), axis=axis) for i, t in enumerate(taps)], axis=0)
    return _rounded(result)


def add_noise(image: Pixels, sigma: float, grey: bool, rng: np.random.Generator) -> Pixels:
    """Gaussian noise, or as often noise whose variance grows with brightness, ``sigma`` 8-bit steps at full white."""
    shape = (*image.shape[:2], 1 if grey else 3)
    noise = rng.normal(0.0, sigma, size=shape)
    if rng.random() < 0.5:
        noise = noise * np.sqrt(image.mean(axis=2, keepdims=True) / 255)
    return _rounded(image + noise)


def sharpen(image: Pixels, amount: float, sigma: float) -> Pixels:
    """Unsharp mask: adds ``amount`` times what a Gaussian blur of ``sigma`` pixels takes away, halos included."""
    wide = image.astype(np.float32)
    return _rounded(wide + amount * (wide - blur(image, sigma, sigma)))


def _rounded(values: Any) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
