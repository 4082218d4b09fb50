"""Blocks that several generations share. Section numbers are those of docs/layouts.md."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .windows import attend_in_windows, pad_to_multiple, parts, roll


def conv(channels_in: int, channels_out: int, kernel: int = 3) -> nn.Conv2d:
    """A convolution with bias that keeps the size by zero padding."""
    return nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2)


def depthwise(channels: int, kernel: int | tuple[int, int] = 3, dilation: int = 1) -> nn.Conv2d:
    """A depthwise convolution with bias that keeps the size by zero padding."""
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = (height // 2 * dilation, width // 2 * dilation)
    return nn.Conv2d(channels, channels, (height, width), padding=padding, dilation=dilation, groups=channels)


def lrelu(x: Tensor) -> Tensor:
    """Leaky ReLU with the slope 0.1 that all generators use."""
    return F.leaky_relu(x, 0.1)


class LayerScale(nn.Module):
    """``gamma * x`` per channel (Touvron et al. 2021), initial value 1e-5.

    ``flat`` stores gamma as ``[c]``, the form of all layouts up to v2-magic-hr; later ones use ``[1, c, 1, 1]``.
    """

    def __init__(self, channels: int, *, flat: bool = False, init: float = 1e-5) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((channels,) if flat else (1, channels, 1, 1), init))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma.view(1, -1, 1, 1)


class InceptionContext(nn.Module):
    """Inception-style depthwise context: most channels pass, three small slices get square, row and column filters.

    Args:
        channels: number of channels c.
        branch: channels g of each filtered slice.
        square: side of the square kernel.
        band: length of the row and column kernels.
    """

    def __init__(self, channels: int, *, branch: int, square: int, band: int) -> None:
        super().__init__()
        self.split = [channels - 3 * branch, branch, branch, branch]
        self.radius = max(square, band) // 2
        self.dwconv_hw = depthwise(branch, square)
        self.dwconv_w = depthwise(branch, (1, band))
        self.dwconv_h = depthwise(branch, (band, 1))

    def forward(self, x: Tensor) -> Tensor:
        same, square, row, column = torch.split(x, self.split, dim=1)
        return torch.cat((same, self.dwconv_hw(square), self.dwconv_w(row), self.dwconv_h(column)), dim=1)


class GlobalGroupNorm(nn.GroupNorm):
    """GroupNorm with one group: mean and variance over channels, height and width of each sample."""

    def __init__(self, channels: int, *, affine: bool = True) -> None:
        super().__init__(1, channels, eps=1e-5, affine=affine)


class RMSNorm(nn.Module):
    """Root-mean-square norm over the channels of each pixel; three historical forms.

    ============  =====================  ==========================  ===================
    form          keys                   shape                       denominator
    ============  =====================  ==========================  ===================
    ``offset``    scale, offset          [c, 1, 1]                   rms(x) + 1e-6
    ``bias``      scale, bias            [c, 1, 1]                   sqrt(mean(x²) + 1e-6)
    ``plain``     scale                  [c]                         rms(x) + 1e-6
    ============  =====================  ==========================  ===================
    """

    def __init__(self, channels: int, form: str) -> None:
        super().__init__()
        shape = (channels,) if form == "plain" else (channels, 1, 1)
        self.form = form
        self.scale = nn.Parameter(torch.ones(shape))
        if form == "bias":
            self.bias = nn.Parameter(torch.zeros(shape))
        elif form == "offset":
            self.offset = nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x  # x² overflows FP16 at 256
        if self.form == "bias":
            unit = wide * torch.rsqrt(wide.square().mean(dim=1, keepdim=True) + 1e-6)
        else:
            unit = wide / (wide.square().mean(dim=1, keepdim=True).sqrt() + 1e-6)
        unit = unit.to(x.dtype) * self.scale.view(1, -1, 1, 1)
        if self.form == "bias":
            return unit + self.bias
        if self.form == "offset":
            return unit + self.offset
        return unit


class WindowAttention(nn.Module):
    """Multi-head self-attention inside windows on the image grid, as `WA` in section 3.7.

    Works on ``(N, C, H, W)`` of any size: zero-pads bottom and right to multiples of ``window``; padded positions
    take part with the qkv biases, a shift wraps around the padded image, and there is no mask and no position bias.
    """

    def __init__(self, channels: int, *, window: int, shift: int, heads: int = 4) -> None:
        super().__init__()
        self.window, self.shift, self.heads = window, shift, heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2], x.shape[3]
        x = roll(pad_to_multiple(x.permute(0, 2, 3, 1), self.window), -self.shift)
        x = roll(self._attend(x), self.shift)
        return x[:, :height, :width].permute(0, 3, 1, 2)

    def on_grid(self, x: Tensor) -> Tensor:
        """Attention on ``(N, C, H, W)`` that is already padded and shifted: whole windows from its top-left corner."""
        return self._attend(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def _attend(self, x: Tensor) -> Tensor:
        q, k, v = parts(self.qkv(x), 3, dim=-1)
        return self.proj(attend_in_windows(q, k, v, window=self.window, heads=self.heads))


class HRBlock(nn.Module):
    """Residual block at the output resolution: ``x + conv2(lrelu(conv1(x)))``.

    With ``norm`` a parameter-free GroupNorm of one group precedes both convolutions.
    """

    radius = 2

    def __init__(self, channels: int, *, norm: bool) -> None:
        super().__init__()
        self.norm = GlobalGroupNorm(channels, affine=False) if norm else nn.Identity()
        self.conv1 = conv(channels, channels)
        self.conv2 = conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = lrelu(self.conv1(self.norm(x)))
        return x + self.conv2(self.norm(y))


class ShuffleConv(nn.Module):
    """Convolution ``up_conv`` to ``scale**2`` times the channels, then pixel shuffle."""

    def __init__(self, channels: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.up_conv = conv(channels, channels * scale**2)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.up_conv(x), self.scale)


def gated_product(x: Tensor) -> Tensor:
    """Product of the first and the second half of the channels, kept inside FP16's range where that is the type."""
    a, b = parts(x, 2, dim=1)
    if x.dtype == torch.float16:  # the product leaves FP16's range long before its factors do
        return (a.float() * b.float()).clamp(-65504, 65504).to(x.dtype)
    return a * b
