"""Twins of the modules whose Python code decides by the size of the image, with the decision inside the graph.

Values are those of the originals; only the tracer sees the difference. The networks stay free of it.
"""

from __future__ import annotations

import copy
import math
from typing import cast

import torch
from torch import Tensor, nn

from paragon_arch.networks.static_block import ATTENTION_OVERLAP, ATTENTION_WINDOW, SpatialAttention
from paragon_arch.networks.v2_atd import CATEGORY_GROUP, CategoryAttention
from paragon_arch.networks.v2_dualpath_blocks import HEADS, ConvWindowAttention
from paragon_arch.networks.windows import from_windows, multi_head, pad_to_multiple, parts, to_windows


def side(x: Tensor, axis: int) -> Tensor:
    """One dimension of ``x`` as an int64 tensor that a tracer follows."""
    return torch.ops.aten._shape_as_tensor(x)[axis]


def masked_attention(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor, heads: int) -> Tensor:
    """Attention of ``(B, L, C)`` tokens; keys where ``allowed`` ``(B, L)`` is 0 get no weight."""
    batch, length, channels = q.shape
    q, k, v = (t.reshape(batch, length, heads, channels // heads).transpose(1, 2) for t in (q, k, v))
    logits = (q * (channels // heads) ** -0.5) @ k.transpose(2, 3)
    weights = torch.softmax(logits + (allowed[:, None, None] - 1) * 1e4, dim=-1)
    return (weights @ v).transpose(1, 2).reshape(batch, length, channels)


class SymbolicConvWindowAttention(nn.Module):
    """`ConvWindowAttention`: an image that fits into one window is padded to it, with the padding masked out."""

    def __init__(self, original: ConvWindowAttention) -> None:
        super().__init__()
        self.window, self.shift = original.window, original.shift
        self.qkv, self.proj = original.qkv, original.proj

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        single = (torch.maximum(side(x, 2), side(x, 3)) <= self.window).to(torch.int64)
        shift = self.shift * (1 - single)
        maps = torch.cat((x, torch.ones_like(x[:, :1])), dim=1)  # the last channel is 0 in the padding
        maps = roll(pad_to_multiple(maps.permute(0, 2, 3, 1), self.window), shift)
        rows, columns = maps.shape[1], maps.shape[2]
        q, k, v = parts(self.qkv(maps[..., :-1].permute(0, 3, 1, 2)).permute(0, 2, 3, 1), 3, dim=-1)
        inside = to_windows(maps[..., -1:], self.window)[..., 0]
        allowed = torch.maximum(inside, (1 - single).to(x.dtype))
        q, k, v = (to_windows(part, self.window) for part in (q, k, v))
        out = from_windows(masked_attention(q, k, v, allowed, HEADS), self.window, rows, columns)
        out = roll(out, -shift)[:, :height, :width]
        return self.proj(out.permute(0, 3, 1, 2))


def roll(x: Tensor, shift: Tensor) -> Tensor:
    """``(N, H, W, C)`` moved up and left by ``shift`` pixels, which wrap; a negative one moves down and right."""
    for axis in (1, 2):
        length = side(x, axis)
        positions = torch.arange(cast("int", length))  # the tracer takes a tensor as length
        x = x.index_select(axis, torch.remainder(positions + shift, length))
    return x


class SymbolicOverlapAttention(nn.Module):
    """`SpatialAttention` in overlapping windows: all windows side by side, each padded to the full side and masked.

    Windows start every 24 pixels and are cut off at the border, so that a pixel is in at most two of them along each
    side; the blend gathers those instead of adding windows up. A graph holds the logits of all windows at once, 4 MB
    for each in FP32.
    """

    def __init__(self, original: SpatialAttention) -> None:
        super().__init__()
        self.query, self.key, self.value, self.gamma = original.query, original.key, original.value, original.gamma

    def forward(self, x: Tensor) -> Tensor:
        height, width = side(x, 2), side(x, 3)
        single = torch.maximum(height, width) <= ATTENTION_WINDOW
        rows, columns = Windows(height, single), Windows(width, single)
        q, k, v = (cut(layer(x), rows, columns) for layer in (self.query, self.key, self.value))
        factor = (rows.lengths[:, None] * columns.lengths).to(torch.float32).rsqrt().to(x.dtype)
        allowed = rows.inside[:, None, :, None] * columns.inside[None, :, None, :]
        allowed = allowed.reshape(-1, ATTENTION_WINDOW**2).to(x.dtype)
        logits = (q * factor.reshape(-1, 1, 1)) @ k.transpose(-1, -2) + (allowed[:, None] - 1) * 1e4
        out = blend(torch.softmax(logits, dim=-1) @ v, rows, columns)
        coverage = rows.coverage[:, None] * columns.coverage
        share = (coverage > 0).to(x.dtype) / (coverage + 1e-8)
        return x + self.gamma * (out * share).reshape(x.shape)


class Windows:
    """The overlapping windows along one side of an image, as `window_spans` lays them, as tensors.

    Args:
        length: of the side, a traced number.
        single: whether the image is one window, which then has weight even along a side of less than 4 pixels.
    """

    def __init__(self, length: Tensor, single: Tensor) -> None:
        stride = ATTENTION_WINDOW - ATTENTION_OVERLAP
        self.count = ((length + ATTENTION_OVERLAP - 1) // stride).clamp(min=1)
        self.count = torch.where(length > ATTENTION_WINDOW, self.count, torch.ones_like(self.count))
        starts = torch.arange(cast("int", self.count))[:, None] * stride  # the tracer takes a tensor as length
        places = torch.arange(ATTENTION_WINDOW)[None]
        self.inside = (starts + places < length).to(torch.float32)
        self.lengths = (length - starts[:, 0]).clamp(max=ATTENTION_WINDOW)
        self.indices = torch.minimum(starts + places, length - 1)
        fade = (self.lengths[:, None] // 4).clamp(min=2, max=ATTENTION_OVERLAP).to(torch.float32) - 1
        rise = torch.where(starts > 0, (places / fade).clamp(max=1), torch.ones(1))
        fall = ((ATTENTION_WINDOW - 1 - places) / (ATTENTION_OVERLAP - 1)).clamp(max=1)
        fall = torch.where(starts + ATTENTION_WINDOW < length, fall, torch.ones(1))
        alive = torch.logical_or(length > ATTENTION_OVERLAP // 2 - 1, single)
        self.weights = rise * fall * self.inside * alive.to(torch.float32)
        pixels = torch.arange(cast("int", length))
        self.owners = [self._owner(pixels, pixels // stride - back, stride) for back in (0, 1)]
        self.coverage = sum((weight for _, weight in self.owners), start=torch.zeros(1))

    def _owner(self, pixels: Tensor, window: Tensor, stride: int) -> tuple[Tensor, Tensor]:
        """Place of each pixel in a window, counted through all of them, and its weight there; 0 outside of it."""
        place = pixels - window * stride
        known = torch.logical_and(torch.logical_and(window >= 0, window < self.count), place < ATTENTION_WINDOW)
        index = torch.where(known, window * ATTENTION_WINDOW + place, torch.zeros_like(place))
        return index, self.weights.reshape(-1)[index] * known.to(torch.float32)


def cut(x: Tensor, rows: Windows, columns: Windows) -> Tensor:
    """``(N, C, H, W)`` as the tokens of all windows, ``(N, windows, tokens, C)``."""
    x = x.index_select(2, rows.indices.reshape(-1)).index_select(3, columns.indices.reshape(-1))
    window = ATTENTION_WINDOW
    x = x.reshape(x.shape[0], x.shape[1], cast("int", rows.count), window, cast("int", columns.count), window)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(x.shape[0], -1, window**2, x.shape[1])


def blend(tokens: Tensor, rows: Windows, columns: Windows) -> Tensor:
    """The inverse of `cut`, weighted: ``(N, C, H, W)``."""
    batch, channels, window = tokens.shape[0], tokens.shape[3], ATTENTION_WINDOW
    maps = tokens.reshape(batch, cast("int", rows.count), cast("int", columns.count), window, window, channels)
    maps = maps.permute(0, 5, 1, 3, 2, 4).reshape(batch, channels, cast("int", rows.count * window), -1)
    sums: list[Tensor] = []
    for row, row_weight in rows.owners:
        for column, column_weight in columns.owners:
            part = maps.index_select(2, row).index_select(3, column)
            sums.append(part * (row_weight[:, None] * column_weight).to(part.dtype))
    return sum(sums[1:], start=sums[0])


class SymbolicCategoryAttention(nn.Module):
    """`CategoryAttention` with the stable order: a key that no two tokens share has only one."""

    def __init__(self, original: CategoryAttention) -> None:
        super().__init__()
        self.heads, self.proj, self.logit_scale = original.heads, original.proj, original.logit_scale

    def forward(self, qkv: Tensor, similarity: Tensor) -> Tensor:
        batch, length, width = qkv.shape[0], side(qkv, 1), qkv.shape[2]
        places = torch.arange(cast("int", length))[None]  # the tracer takes a tensor as length
        order = torch.sort(similarity.argmax(dim=-1) * length + places, dim=-1).indices
        ranks = torch.zeros_like(order).scatter(1, order, places.expand_as(order))
        size = length.clamp(max=CATEGORY_GROUP)
        groups = (length + size - 1) // size
        padded = torch.arange(cast("int", groups * size))
        mirrored = torch.where(padded < length, padded, 2 * length - 1 - padded)  # as the last group is completed
        order = order.index_select(1, mirrored)
        tokens = qkv.gather(1, order[..., None].expand(-1, -1, width)).reshape(-1, cast("int", size), width)
        q, k, v = parts(tokens, 3, dim=-1)
        gain = self.logit_scale.clamp(max=math.log(100)).exp()
        out = multi_head(q * gain, k, v, heads=self.heads, scale=1.0).reshape(batch, -1, width // 3)
        return self.proj(out.gather(1, ranks[..., None].expand(-1, -1, width // 3)))


class SymbolicGlobalAttention(nn.Module):
    """`SpatialAttention` among all pixels: the factor of the logits follows the size of the image."""

    def __init__(self, original: SpatialAttention) -> None:
        super().__init__()
        self.query, self.key, self.value, self.gamma = original.query, original.key, original.value, original.gamma

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (layer(x).flatten(2).transpose(1, 2) for layer in (self.query, self.key, self.value))
        factor = (side(x, 2) * side(x, 3)).to(torch.float32).rsqrt().to(x.dtype)
        weights = torch.softmax((q * factor) @ k.transpose(1, 2), dim=-1)
        return x + self.gamma * (weights @ v).transpose(1, 2).reshape(x.shape)


def symbolic(network: nn.Module) -> nn.Module:
    """A copy of a network in which the modules that need it are replaced by their twins."""
    network = copy.deepcopy(network)
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, ConvWindowAttention):
                setattr(parent, name, SymbolicConvWindowAttention(child))
            elif isinstance(child, CategoryAttention):
                setattr(parent, name, SymbolicCategoryAttention(child))
            elif isinstance(child, SpatialAttention):
                twin = SymbolicGlobalAttention if child.mode == "global" else SymbolicOverlapAttention
                setattr(parent, name, twin(child))
    return network


def comparable(network: nn.Module) -> nn.Module:
    """What a graph of the network computes: the network itself, or a copy of v2-atd's pro with the stable order."""
    if not sorts_tokens(network):
        return network
    network = copy.deepcopy(network)
    for module in network.modules():
        if isinstance(module, CategoryAttention):
            module.stable = True
    return network


def sorts_tokens(network: nn.Module) -> bool:
    """Whether the network groups tokens in an order that differs between platforms, and from its graph's."""
    return any(isinstance(module, CategoryAttention) for module in network.modules())
