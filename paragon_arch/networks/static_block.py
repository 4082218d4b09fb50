"""The transformer block without dynamic kernels of v2-static and the hybrids (sections 4.8 to 4.13)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import global_average
from .layers import GlobalGroupNorm, InceptionContext, LayerScale, RMSNorm, conv, depthwise
from .traced import global_attention, is_traced, overlapping_attention

Attention = Literal["global", "window"]
PostNorm = Literal["group", "rms"]

ATTENTION_WINDOW = 32
"""Side of the overlapping windows; images up to this size are one window."""
ATTENTION_OVERLAP = 8
"""Rows or columns that neighbouring windows share."""


class ChannelMod(nn.Module):
    """Squeeze-and-excitation over the whole image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // 4)
        # the first entry only gives the others their stored names
        self.net = nn.Sequential(
            nn.Identity(), conv(channels, hidden, 1), nn.ReLU(), conv(hidden, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(global_average(x))

    def gate(self, mean: Tensor) -> Tensor:
        """Factor of each channel from its mean, both ``(N, C, 1, 1)``; any floating type, computed in the weights'."""
        return self.net(mean.to(self.net[1].get_parameter("weight")))


class SpatialAttention(nn.Module):
    """``x + gamma * A(x)`` with single-head attention A among all pixels, or inside overlapping windows.

    The logits are divided by the square root of the number of pixels, not of the channels.
    """

    def __init__(self, channels: int, *, mode: Attention) -> None:
        super().__init__()
        self.mode = mode
        reduced = max(1, channels // 8)
        self.query = conv(channels, reduced, 1)
        self.key = conv(channels, reduced, 1)
        self.value = conv(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.query(x), self.key(x), self.value(x)
        if is_traced():
            return x + self.gamma * self._traced(q, k, v)
        if self.mode == "global" or max(x.shape[2:]) <= ATTENTION_WINDOW:
            return x + self.gamma * attend(q, k, v)
        return x + self.gamma * attend_windows(q, k, v)

    def _traced(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if self.mode == "global":
            return global_attention(q, k, v)
        return overlapping_attention(q, k, v, window=ATTENTION_WINDOW, overlap=ATTENTION_OVERLAP)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention among all pixels of ``(N, C, H, W)`` maps."""
    height, width = v.shape[2:]
    # one head, as a dimension of its own: PyTorch's ONNX exporter takes no attention without
    q, k, tokens = (map_.flatten(2).transpose(1, 2)[:, None] for map_ in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, tokens, scale=(height * width) ** -0.5)
    return out[:, 0].transpose(1, 2).reshape(v.shape)


def attend_windows(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention inside each overlapping window, blended linearly where two overlap.

    The windows do not always reach the lower and right edge (37 rows give one window of 32);
    pixels in no window get zero, as in the original.
    """
    rows, columns = (window_spans(length) for length in v.shape[2:])
    return blend_windows(
        q, k, v, (rows, span_coverage(rows, v.shape[2])), (columns, span_coverage(columns, v.shape[3]))
    )


def blend_windows(q: Tensor, k: Tensor, v: Tensor, rows: Axis, columns: Axis) -> Tensor:
    """Attention inside each window, their blend divided by what the weights of all windows sum to."""
    total = torch.zeros_like(v)
    for top, bottom, row_weight in rows[0]:
        for left, right, column_weight in columns[0]:
            part = (..., slice(top, bottom), slice(left, right))
            weight = row_weight[:, None] * column_weight
            total[part] += attend(q[part], k[part], v[part]) * weight.to(v)
    coverage = rows[1][:, None] * columns[1]
    return total * torch.where(coverage > 0, 1 / (coverage + 1e-8), 0).to(v)


Span = tuple[int, int, Tensor]
Axis = tuple[list[Span], Tensor]
"""The windows along one side, and the sum of the weights at each of its positions."""


def window_spans(length: int) -> list[Span]:
    """Windows along one side: first position, end, and the blending weight of each position."""
    window = min(ATTENTION_WINDOW, length)
    overlap = min(ATTENTION_OVERLAP, window // 4, length // 4)
    stride = window - overlap
    spans: list[Span] = []
    for index in range((length + overlap - 1) // stride):
        start, end = index * stride, min(length, index * stride + window)
        weight, fade = torch.ones(end - start), min(overlap, (end - start) // 4)
        if start > 0:
            weight[:fade] *= torch.linspace(0, 1, fade)
        if end < length:
            weight[end - start - fade :] *= torch.linspace(1, 0, fade)
        spans.append((start, end, weight))
    return spans


def span_coverage(spans: list[Span], length: int) -> Tensor:
    """Sum of the weights at each position of a side."""
    coverage = torch.zeros(length)
    for start, end, weight in spans:
        coverage[start:end] += weight
    return coverage


class StaticTransformer(nn.Module):
    """1x1 in, depthwise and pointwise mixing, optional attention and channel gate, 1x1 out."""

    def __init__(self, channels: int, hidden: int, *, channel_mod: bool, attention: Attention | None) -> None:
        super().__init__()
        self.project_in = conv(channels, hidden, 1)
        self.dw_mixer = nn.Sequential(depthwise(hidden), nn.LeakyReLU(0.1), conv(hidden, hidden, 1))
        self.attention = nn.Identity() if attention is None else SpatialAttention(hidden, mode=attention)
        self.channel_mod = ChannelMod(hidden) if channel_mod else nn.Identity()
        self.project_out = conv(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dw_mixer(self.project_in(x))
        return self.project_out(self.channel_mod(self.attention(x)))


class StaticBlock(nn.Module):
    """Inception context, then `StaticTransformer`, both residual and scaled per channel; normed at the very end.

    Args:
        channels: feature channels.
        context: the context module, for ``channels`` channels.
        hidden: width of the transformer.
        channel_mod: with the gate pooled over the whole image.
        norm: "group" (parameter-free GroupNorm of one group), "rms", or None.
        attention: None, among all pixels, or in overlapping windows.
    """

    def __init__(
        self,
        channels: int,
        *,
        context: InceptionContext,
        hidden: int,
        channel_mod: bool,
        norm: PostNorm | None,
        attention: Attention | None = None,
    ) -> None:
        super().__init__()
        self.context = context
        self.ls1 = LayerScale(channels)
        self.transformer = StaticTransformer(channels, hidden, channel_mod=channel_mod, attention=attention)
        self.ls2 = LayerScale(channels)
        if norm == "rms":
            self.norm = RMSNorm(channels, "offset")
        else:
            self.norm = nn.Identity() if norm is None else GlobalGroupNorm(channels, affine=False)
        self.radius = context.radius + 1
        self.pooled = channel_mod or attention is not None or norm == "group"

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.context(x))
        x = x + self.ls2(self.transformer(x))
        return self.norm(x)
