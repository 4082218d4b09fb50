"""Attention inside square windows laid on the image grid: the steps that several generations share.

Maps are channels-last here, ``(N, H, W, C)``; tokens are ``(windows, L, C)`` with the windows of one image row by row.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def pad_to_multiple(x: Tensor, window: int) -> Tensor:
    """Zero-pad ``(N, H, W, C)`` at the bottom and right to multiples of ``window``."""
    return F.pad(x, (0, 0, 0, -x.shape[2] % window, 0, -x.shape[1] % window))


def parts(x: Tensor, count: int, dim: int) -> tuple[Tensor, ...]:
    """``count`` equal parts, as ``chunk`` gives; exporters write that one with an attribute new in ONNX opset 18."""
    pieces: tuple[Tensor, ...] = torch.split(x, [x.shape[dim] // count] * count, dim=dim)
    return pieces


def roll(x: Tensor, shift: int) -> Tensor:
    """Cyclic shift of ``(N, H, W, C)`` along both sides."""
    return torch.roll(x, (shift, shift), dims=(1, 2)) if shift else x


def to_windows(x: Tensor, window: int) -> Tensor:
    """``(N, H, W, C)`` to ``(N*H/w*W/w, w*w, C)``; H and W must be multiples of ``window``."""
    _, height, width, channels = x.shape
    x = x.reshape(-1, height // window, window, width // window, window, channels).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(-1, window * window, channels)


def from_windows(tokens: Tensor, window: int, height: int, width: int) -> Tensor:
    """The inverse of `to_windows`."""
    channels = tokens.shape[-1]
    x = tokens.reshape(-1, height // window, width // window, window, window, channels).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(-1, height, width, channels)


def multi_head(
    q: Tensor, k: Tensor, v: Tensor, *, heads: int, bias: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """Scaled dot-product attention of ``(B, L, C)`` tokens; each head owns a consecutive slice of the channels.

    Args:
        q: queries.
        k: keys.
        v: values.
        heads: number of heads.
        bias: added to the logits, broadcastable to ``(B, heads, L, L)``.
        scale: factor of the logits; None means ``1/sqrt(C/heads)``.
    """
    batch, length, channels = q.shape
    shape = (batch, length, heads, channels // heads)
    q, k, v = (tokens.reshape(shape).transpose(1, 2) for tokens in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=scale)
    return out.transpose(1, 2).reshape(batch, length, channels)


def attend_in_windows(
    q: Tensor, k: Tensor, v: Tensor, *, window: int, heads: int, bias: Tensor | None = None
) -> Tensor:
    """`multi_head` inside each window of ``(N, H, W, C)`` maps whose sides are multiples of ``window``."""
    tokens = multi_head(to_windows(q, window), to_windows(k, window), to_windows(v, window), heads=heads, bias=bias)
    return from_windows(tokens, window, q.shape[1], q.shape[2])


def relative_position_index(window: int) -> Tensor:
    """Row of the bias table for each (query, key) pair of a window, ``(w*w, w*w)`` int64 (Liu et al. 2021)."""
    side = torch.arange(window)
    if side.device.type == "meta":  # where arithmetic would load PyTorch's compiler
        return torch.empty(window**2, window**2, dtype=side.dtype)
    y, x = (grid.flatten() for grid in torch.meshgrid(side, side, indexing="ij"))
    rows, columns = (c[:, None] - c[None, :] + window - 1 for c in (y, x))
    return rows * (2 * window - 1) + columns


def relative_position_bias(table: Tensor, index: Tensor) -> Tensor:
    """Bias ``(1, heads, w*w, w*w)`` from a table ``((2w-1)**2, heads)`` and `relative_position_index`."""
    length = index.shape[0]
    return table[index.reshape(-1)].reshape(1, length, length, -1).permute(0, 3, 1, 2)
