"""Attention whose course depends on the size of the image, in a form that a tracer can follow.

PyTorch's exporters and torch.jit.trace run a network once, on one image, and write down what it did: a branch of
Python on a size stays as that image took it, at every size. Modules with such a branch take these forms instead while
they are being traced; the decision is then part of the graph. Values are the same but for rounding.

Sizes are 0-dimensional tensors to one kind of tracer and SymInts to the other.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from .windows import from_windows, multi_head, pad_to_multiple, parts, to_windows

CONCEALED = 1e4
"""Taken off the logits of keys that do not exist; FP16 holds it."""


def is_traced() -> bool:
    """Whether a tracer is writing down the operations; torch.compile, which guards branches, is none."""
    exporting = getattr(torch.compiler, "is_exporting", None)  # not in older releases
    tracing = torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]  (public, but not in __all__)
    return tracing or (exporting is not None and bool(exporting()))


def side(x: Tensor, axis: int) -> Tensor:
    """One dimension of ``x`` as an int64 tensor on its device, to compute with."""
    return number(x.shape[axis], x.device)


def number(size: int, device: torch.device) -> Tensor:
    """A size as an int64 tensor on a device, to compute with."""
    traced: object = size
    if isinstance(traced, Tensor):
        return traced.to(device)
    return torch.scalar_tensor(size, dtype=torch.int64, device=device)


def at_least(size: int, least: int) -> int:
    """The larger of a size and a number, as a size."""
    traced: object = size
    return cast("int", traced.clamp(min=least) if isinstance(traced, Tensor) else torch.sym_max(size, least))


def at_most(size: int, most: int) -> int:
    """The smaller of a size and a number, as a size."""
    traced: object = size
    return cast("int", traced.clamp(max=most) if isinstance(traced, Tensor) else torch.sym_min(size, most))


def window_attention(x: Tensor, qkv: nn.Module, *, window: int, shift: int, heads: int) -> Tensor:
    """Attention in shifted windows, or in one window if the image fits into it.

    The single window is padded to its full side like others, with the padding masked out.

    Args:
        x: ``(N, C, H, W)``.
        qkv: 1x1 layer to ``3C`` channels.
        window: side of the windows.
        shift: by which they are moved up and left, where there are several.
        heads: of the attention.

    Returns:
        ``(N, C, H, W)``, not yet projected.
    """
    height, width = x.shape[2:]
    single = (torch.maximum(side(x, 2), side(x, 3)) <= window).to(torch.int64)
    moved = shift * (1 - single)
    maps = torch.cat((x, torch.ones_like(x[:, :1])), dim=1)  # the last channel is 0 in the padding
    maps = roll(pad_to_multiple(maps.permute(0, 2, 3, 1), window), moved)
    rows, columns = maps.shape[1], maps.shape[2]
    q, k, v = parts(qkv(maps[..., :-1].permute(0, 3, 1, 2)).permute(0, 2, 3, 1), 3, dim=-1)
    inside = to_windows(maps[..., -1:], window)[..., 0]
    allowed = torch.maximum(inside, (1 - single).to(x.dtype))
    q, k, v = (to_windows(part, window) for part in (q, k, v))
    bias = (allowed[:, None, None] - 1) * CONCEALED
    out = from_windows(multi_head(q, k, v, heads=heads, bias=bias), window, rows, columns)
    return roll(out, -moved)[:, :height, :width].permute(0, 3, 1, 2)


def roll(x: Tensor, shift: Tensor) -> Tensor:
    """``(N, H, W, C)`` moved up and left by ``shift`` pixels, which wrap; a negative one moves down and right."""
    for axis in (1, 2):
        positions = torch.arange(x.shape[axis], device=x.device)
        x = x.index_select(axis, torch.remainder(positions + shift, side(x, axis)))
    return x


def global_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention among all pixels of ``(N, C, H, W)`` maps, with logits divided by the square root of their number."""
    factor = (side(v, 2) * side(v, 3)).to(torch.float32).rsqrt().to(q.dtype)
    queries, keys, values = (part.flatten(2).transpose(1, 2) for part in (q, k, v))
    weights = torch.softmax((queries * factor) @ keys.transpose(1, 2), dim=-1)
    return (weights @ values).transpose(1, 2).reshape(v.shape)


def overlapping_attention(q: Tensor, k: Tensor, v: Tensor, *, window: int, overlap: int) -> Tensor:
    """Attention in overlapping windows: all side by side, each padded to the full side and masked.

    Windows start every ``window - overlap`` pixels and are cut off at the border, so that a pixel is in at most two of
    them along each side; the blend gathers those instead of adding windows up. The logits of all windows are in memory
    at once, 4 MB for each of 32 x 32 in FP32.

    Args:
        q, k: ``(N, c, H, W)``.
        v: ``(N, C, H, W)``.
        window: side of the windows; an image that fits into one is that window.
        overlap: pixels that neighbours share.
    """
    single = torch.maximum(side(v, 2), side(v, 3)) <= window
    rows, columns = (Windows(v.shape[axis], single, window, overlap) for axis in (2, 3))
    factor = (rows.lengths[:, None] * columns.lengths).to(torch.float32).rsqrt().to(v.dtype)
    queries, keys, values = (cut(part, rows, columns) for part in (q, k, v))
    allowed = rows.inside[:, None, :, None] * columns.inside[None, :, None, :]
    allowed = allowed.reshape(-1, window**2).to(v.dtype)
    logits = (queries * factor.reshape(-1, 1, 1)) @ keys.transpose(-1, -2) + (allowed[:, None] - 1) * CONCEALED
    out = blend(torch.softmax(logits, dim=-1) @ values, rows, columns)
    coverage = rows.coverage[:, None] * columns.coverage
    share = (coverage > 0).to(v.dtype) / (coverage + 1e-8).to(v.dtype)
    return (out * share).reshape(v.shape)


class Windows:
    """The overlapping windows along one side of an image, as `static_block.window_spans` lays them, as tensors.

    Args:
        length: of the side.
        single: whether the image is one window, which then has weight even along a side of less than 4 pixels.
        window: side of the windows.
        overlap: pixels that neighbours share.
    """

    def __init__(self, length: int, single: Tensor, window: int, overlap: int) -> None:
        stride, device = window - overlap, single.device
        self.window = window
        self.count = at_least((length + overlap - 1) // stride, 1)
        end, count, one = number(length, device), number(self.count, device), torch.ones(1, device=device)
        starts = torch.arange(self.count, device=device)[:, None] * stride
        places = torch.arange(window, device=device)[None]
        self.inside = (starts + places < end).to(torch.float32)
        self.lengths = (end - starts[:, 0]).clamp(max=window)
        self.indices = torch.minimum(starts + places, end - 1)
        fade = (self.lengths[:, None] // 4).clamp(min=2, max=overlap).to(torch.float32) - 1
        rise = torch.where(starts > 0, (places / fade).clamp(max=1), one)
        fall = ((window - 1 - places) / (overlap - 1)).clamp(max=1)
        fall = torch.where(starts + window < end, fall, one)
        alive = torch.logical_or(end > overlap // 2 - 1, single)
        self.weights = rise * fall * self.inside * alive.to(torch.float32)
        pixels = torch.arange(length, device=device)
        self.owners = [self._owner(pixels, pixels // stride - back, stride, count) for back in (0, 1)]
        self.coverage = sum((weight for _, weight in self.owners), start=0 * one)

    def _owner(self, pixels: Tensor, index: Tensor, stride: int, count: Tensor) -> tuple[Tensor, Tensor]:
        """Place of each pixel in a window, counted through all of them, and its weight there; 0 outside of it."""
        place = pixels - index * stride
        known = torch.logical_and(torch.logical_and(index >= 0, index < count), place < self.window)
        flat = torch.where(known, index * self.window + place, torch.zeros_like(place))
        return flat, self.weights.reshape(-1)[flat] * known.to(torch.float32)


def cut(x: Tensor, rows: Windows, columns: Windows) -> Tensor:
    """``(N, C, H, W)`` as the tokens of all windows, ``(N, windows, tokens, C)``."""
    x = x.index_select(2, rows.indices.reshape(-1)).index_select(3, columns.indices.reshape(-1))
    window = rows.window
    x = x.reshape(x.shape[0], x.shape[1], rows.count, window, columns.count, window)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(x.shape[0], -1, window**2, x.shape[1])


def blend(tokens: Tensor, rows: Windows, columns: Windows) -> Tensor:
    """The inverse of `cut`, weighted: ``(N, C, H, W)``."""
    batch, channels, window = tokens.shape[0], tokens.shape[3], rows.window
    maps = tokens.reshape(batch, rows.count, columns.count, window, window, channels)
    maps = maps.permute(0, 5, 1, 3, 2, 4).reshape(batch, channels, rows.count * window, -1)
    sums: list[Tensor] = []
    for row, row_weight in rows.owners:
        for column, column_weight in columns.owners:
            part = maps.index_select(2, row).index_select(3, column)
            sums.append(part * (row_weight[:, None] * column_weight).to(part.dtype))
    return sum(sums[1:], start=sums[0])
