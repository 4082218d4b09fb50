"""Blocks of the dual-path ParagonSR2 generations of December 2025 (sections 3.5, 3.6, 4.14, 4.15)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import global_average
from .layers import InceptionContext, LayerScale, RMSNorm, ShuffleConv, conv, depthwise, gated_product
from .traced import is_traced, window_attention
from .windows import (
    attend_in_windows,
    multi_head,
    pad_to_multiple,
    parts,
    relative_position_bias,
    relative_position_index,
    roll,
)

HEADS = 4


class NanoBlock(nn.Module):
    """Inverted bottleneck with a depthwise 3x3 and hard-swish."""

    radius = 1
    pooled = False

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            conv(channels, 2 * channels, 1),
            nn.Hardswish(),
            depthwise(2 * channels),
            nn.Hardswish(),
            conv(2 * channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.net(x)


class GateBlock(nn.Module):
    """A depthwise context, then a gated product; ``band`` makes the context an inception one (v8)."""

    pooled = False

    def __init__(self, channels: int, *, band: int | None) -> None:
        super().__init__()
        self.context = depthwise(channels) if band is None else inception(channels, band)
        self.radius = (1 if band is None else max(3, band) // 2) + 1
        self.proj_in = conv(channels, 4 * channels, 1)
        self.dw_gate = depthwise(4 * channels)
        self.proj_out = conv(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.proj_out(gated_product(self.dw_gate(self.proj_in(self.context(x)))))


class ParagonBlock(nn.Module):
    """Inception context, then a wide branch of mixing, optional window attention and a gate over the whole image."""

    pooled = True

    def __init__(self, channels: int, *, band: int, attention: nn.Module | None) -> None:
        super().__init__()
        wide, squeezed = 2 * channels, 2 * channels // 4
        self.context = inception(channels, band)
        self.ls1, self.ls2 = LayerScale(channels), LayerScale(channels)
        self.norm = RMSNorm(channels, "offset")
        self.project_in = conv(channels, wide, 1)
        self.dw_mixer = nn.Sequential(depthwise(wide), nn.GELU(), conv(wide, wide, 1))
        self.attn = nn.Identity() if attention is None else attention
        # the first entry only gives the others their stored names
        self.gate = nn.Sequential(
            nn.Identity(), conv(wide, squeezed, 1), nn.ReLU(), conv(squeezed, wide, 1), nn.Sigmoid()
        )
        self.project_out = conv(wide, channels, 1)
        self.radius = self.context.radius + 1

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.context(x))
        wide = self.attn(self.dw_mixer(self.project_in(self.norm(x))))
        return x + self.ls2(self.project_out(wide * self.gate_from(global_average(wide))))

    def gate_from(self, mean: Tensor) -> Tensor:
        """Factor of each channel from its mean, both ``(N, C, 1, 1)``; any floating type, computed in the weights'."""
        return self.gate(mean.to(self.gate[1].get_parameter("weight")))


def inception(channels: int, band: int) -> InceptionContext:
    """The context these generations use: an eighth of the channels to each slice, square 3x3."""
    return InceptionContext(channels, branch=max(1, channels // 8), square=3, band=band)


class ConvWindowAttention(nn.Module):
    """Window attention with 1x1 convolutions (rgbgate, v6): no mask, no position bias.

    An image that fits into one window is that window, neither padded nor shifted. A larger one is zero-padded at the
    bottom and right; padded positions take part with the qkv biases, and a shift wraps around.
    """

    def __init__(self, channels: int, *, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.qkv = conv(channels, 3 * channels, 1)
        self.proj = conv(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        if is_traced():
            return self.proj(window_attention(x, self.qkv, window=self.window, shift=self.shift, heads=HEADS))
        if max(x.shape[2:]) <= self.window:
            return self.proj(self._single(x))
        return self.proj(in_shifted_windows(x, self.window, self.shift, self._attend))

    def on_grid(self, x: Tensor) -> Tensor:
        """Attention on a map that is already padded and shifted: whole windows from its top-left corner."""
        return self.proj(self._attend(x).permute(0, 3, 1, 2))

    def _single(self, x: Tensor) -> Tensor:
        q, k, v = parts(self.qkv(x).flatten(2).transpose(1, 2), 3, dim=-1)
        return multi_head(q, k, v, heads=HEADS).transpose(1, 2).reshape(x.shape)

    def _attend(self, x: Tensor) -> Tensor:
        q, k, v = parts(channels_last(self.qkv(x)), 3, dim=-1)
        return attend_in_windows(q, k, v, window=self.window, heads=HEADS)


class BiasedWindowAttention(nn.Module):
    """Window attention of v7 and v8: keys and values from a depthwise context, learned relative position bias.

    Always padded to whole windows; the originals failed on images that fit into one.
    """

    relative_position_index: Tensor

    def __init__(self, channels: int, *, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.qkv = conv(channels, 3 * channels, 1)
        self.proj = conv(channels, channels, 1)
        self.rattention_context = depthwise(channels)
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, HEADS))
        self.register_buffer("relative_position_index", relative_position_index(window))

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(in_shifted_windows(x, self.window, self.shift, self._attend))

    def on_grid(self, x: Tensor, own: Callable[[Tensor], Tensor]) -> Tensor:
        """Attention on a map that is already padded and shifted, with a halo of one pixel that ``own`` cuts off."""
        return self.proj(self._attend(own(x), own(self.rattention_context(x))).permute(0, 3, 1, 2))

    def _attend(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        weight, offset, width = self.qkv.weight, self.qkv.get_parameter("bias"), x.shape[1]
        q = channels_last(F.conv2d(x, weight[:width], offset[:width]))
        around: Tensor = self.rattention_context(x) if context is None else context
        k, v = parts(channels_last(F.conv2d(around, weight[width:], offset[width:])), 2, dim=-1)
        bias = relative_position_bias(self.relative_position_bias_table, self.relative_position_index)
        return attend_in_windows(q, k, v, window=self.window, heads=HEADS, bias=bias)


def channels_last(x: Tensor) -> Tensor:
    """``(N, C, H, W)`` to ``(N, H, W, C)``."""
    return x.permute(0, 2, 3, 1)


def in_shifted_windows(x: Tensor, window: int, shift: int, attend: Callable[[Tensor], Tensor]) -> Tensor:
    """Pad ``(N, C, H, W)`` to whole windows and shift it, call ``attend`` (which returns channels last), undo both."""
    height, width = x.shape[2:]
    x = roll(pad_to_multiple(channels_last(x), window), -shift).permute(0, 3, 1, 2)
    return roll(attend(x), shift)[:, :height, :width].permute(0, 3, 1, 2)


class MultiScaleFusion(nn.Module):
    """Gate from features at three kernel sizes (v7, v8: ends every group)."""

    radius = 2

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.p1, self.p3, self.p5 = conv(channels, channels, 1), depthwise(channels), depthwise(channels, 5)
        self.attn = nn.Sequential(conv(3 * channels, channels, 1), nn.ReLU(), conv(channels, channels, 1), nn.Sigmoid())
        self.proj = conv(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.attn(torch.cat((self.p1(x), self.p3(x), self.p5(x)), dim=1))
        return self.proj(x * gate)


class MultiScaleGroup(nn.Module):
    """A chain of blocks, a convolution and `MultiScaleFusion`, with a skip connection around all."""

    def __init__(self, channels: int, *blocks: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.mid_conv = conv(channels, channels)
        self.mscf = MultiScaleFusion(channels)
        self.radius = 1 + self.mscf.radius

    def forward(self, x: Tensor) -> Tensor:
        return self.mscf(self.mid_conv(self.blocks(x))) + x


class DetailGate(nn.Module):
    """A factor 0..2 for each pixel, ``(N, 1, H, W)``."""

    radius = 4

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        hidden = max(8, channels // 4)
        self.analyzer = nn.Sequential(
            conv(in_channels, hidden),
            nn.LeakyReLU(0.1),
            depthwise(hidden, 5),
            conv(hidden, hidden, 1),
            nn.LeakyReLU(0.1),
            conv(hidden, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return 2 * self.analyzer(x)


class StagedUpsampler(nn.Module):
    """Pixel shuffles by 2 with a convolution between them, to a total of 4 or 8 (v6 and later)."""

    def __init__(self, channels: int, scale: int) -> None:
        super().__init__()
        stages: list[nn.Module] = [ShuffleConv(channels, 2)]
        for _ in range({4: 1, 8: 2}[scale]):
            stages += [conv(channels, channels), nn.LeakyReLU(0.1), ShuffleConv(channels, 2)]
        self.stages = nn.Sequential(*stages)

    def forward(self, x: Tensor) -> Tensor:
        return self.stages(x)
