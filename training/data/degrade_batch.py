"""The degradations of `training.data.degrade` for whole batches on any device.

Each patch draws its own strengths; kernels, detours and the place of JPEG's grid are drawn once for a batch, so that
every step runs the same operations without asking the device anything. WebP and video are not among them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from paragon_arch.errors import InvalidOptionError

from ..config import DegradeConfig
from .jpeg import BLOCK, jpeg

REACH = 6
"""Taps of a blur on each side of its middle."""


class BatchDegradation:
    """The pipeline of a recipe for batches.

    Raises:
        InvalidOptionError: the recipe asks for WebP or video.
    """

    def __init__(self, config: DegradeConfig) -> None:
        for name in ("webp", "video"):
            if getattr(config, name) > 0:
                raise InvalidOptionError(
                    f"degrade.{name} cannot be used with data.bank: there are no such codecs there"
                )
        self.config = config

    def __call__(self, high: Tensor, scale: int, host: torch.Generator, device: torch.Generator) -> Tensor:
        """Low-resolution pictures.

        Args:
            high: ``(N, 3, H, W)``, whole numbers in 0..255.
            scale: reduction factor.
            host: a CPU generator, for what the batch shares.
            device: a generator on the device of ``high``, for what each patch draws.

        Returns:
            ``(N, 3, H / scale, W / scale)``, whole numbers in 0..255.
        """
        config, size = self.config, (high.shape[-2] // scale, high.shape[-1] // scale)
        plain = _whole(reduced(high, size, "bicubic"))
        draw = _Draw(high, device)
        x = high
        if config.blur > 0:
            x = draw.choose(
                config.blur, blurred(x, draw.between(config.blur_sigma), draw.between(config.blur_sigma)), x
            )
        if config.chain > 0 and float(torch.rand((), generator=host)) < config.chain:
            low, top = config.chain_factor
            factor = low + (top - low) * float(torch.rand((), generator=host))
            x = reduced(x, (max(1, round(size[0] * factor)), max(1, round(size[1] * factor))), self._kernel(host))
        x = _whole(reduced(x, size, self._kernel(host)))
        if config.noise > 0:
            x = draw.choose(config.noise, self._noisy(x, draw), x)
        if config.sharpen > 0:
            soft = blurred(x, *[draw.between((0.6, 1.6))] * 2)
            x = draw.choose(config.sharpen, _whole(x + draw.between(config.sharpen_amount) * (x - soft)), x)
        x = self._compressed(x, host, draw)
        return draw.choose(config.clean, plain, x) if config.clean > 0 else x

    def _kernel(self, host: torch.Generator) -> str:
        return self.config.kernels[int(torch.randint(len(self.config.kernels), (), generator=host))]

    def _noisy(self, x: Tensor, draw: _Draw) -> Tensor:
        noise = draw.normal(x.shape)
        noise = torch.where(draw.share(self.config.grey_noise), noise[:, :1], noise)
        noise = noise * draw.between(self.config.noise_sigma)
        signal = (x.mean(dim=1, keepdim=True) / 255).sqrt()
        return _whole(x + torch.where(draw.share(0.5), noise * signal, noise))

    def _compressed(self, x: Tensor, host: torch.Generator, draw: _Draw) -> Tensor:
        config = self.config
        if config.jpeg <= 0:
            return x
        once = self._jpeg(x, host, draw)
        if config.jpeg_twice > 0:
            once = draw.choose(config.jpeg_twice, self._jpeg(once, host, draw), once)
        return draw.choose(config.jpeg, once, x)

    def _jpeg(self, x: Tensor, host: torch.Generator, draw: _Draw) -> Tensor:
        config, reach = self.config, 2 * BLOCK
        shift = config.jpeg_shift and min(x.shape[-2:]) > reach
        top, left = (int(torch.randint(reach, (), generator=host)) if shift else 0 for _ in range(2))
        low, high = config.jpeg_quality
        quality = draw.between((low, high + 1)).floor().clamp(max=high).flatten()
        shifted = F.pad(x, (left, 0, top, 0), mode="reflect")
        return jpeg(shifted, quality, halved=draw.share(config.jpeg_420).flatten())[..., top:, left:]


class _Draw:
    """Random values, one for each patch, as ``(N, 1, 1, 1)``."""

    def __init__(self, images: Tensor, generator: torch.Generator) -> None:
        self.number, self.device, self.generator = len(images), images.device, generator

    def between(self, bounds: tuple[float, float]) -> Tensor:
        values = torch.rand(self.number, 1, 1, 1, generator=self.generator, device=self.device)
        return bounds[0] + (bounds[1] - bounds[0]) * values

    def share(self, probability: float) -> Tensor:
        return self.between((0.0, 1.0)) < probability

    def choose(self, probability: float, changed: Tensor, unchanged: Tensor) -> Tensor:
        return torch.where(self.share(probability), changed, unchanged)

    def normal(self, shape: torch.Size) -> Tensor:
        return torch.randn(shape, generator=self.generator, device=self.device)


def _whole(images: Tensor) -> Tensor:
    return images.round().clamp(0, 255)


def reduced(images: Tensor, size: tuple[int, int], kernel: str) -> Tensor:
    """Resize with an antialiased kernel; Lanczos and box are not in torch: bicubic and area stand in for them."""
    if tuple(images.shape[-2:]) == size:
        return images
    if kernel == "box":
        return F.interpolate(images, size=size, mode="area")
    mode = "bilinear" if kernel == "bilinear" else "bicubic"
    return F.interpolate(images, size=size, mode=mode, antialias=True, align_corners=False)


def blurred(images: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Gaussian blur of each image with its own standard deviations ``(N, 1, 1, 1)``, borders repeated, rounded."""
    number, channels, height, width = images.shape
    offsets = torch.arange(-REACH, REACH + 1, device=images.device, dtype=images.dtype)
    padded = F.pad(images, (REACH, REACH, REACH, REACH), mode="replicate")
    result = padded.reshape(1, number * channels, height + 2 * REACH, width + 2 * REACH)
    for sigma, shape in ((across, (1, -1)), (down, (-1, 1))):
        taps = torch.exp(-(offsets / sigma.view(-1, 1).clamp_min(1e-3)).square() / 2)
        taps = (taps / taps.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)
        result = F.conv2d(result, taps.view(number * channels, 1, *shape), groups=number * channels)
    return _whole(result.reshape(number, channels, height, width))
