"""Twins of the modules whose Python code decides by the size of the image, with the decision inside the graph.

Values are those of the originals; only the tracer sees the difference. The networks stay free of it.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn

from paragon_arch.networks.static_block import ATTENTION_WINDOW, SpatialAttention
from paragon_arch.networks.v2_atd import ParagonSR2ATD
from paragon_arch.networks.v2_dualpath_blocks import HEADS, ConvWindowAttention
from paragon_arch.networks.windows import from_windows, pad_to_multiple, parts, to_windows


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
            elif isinstance(child, SpatialAttention) and child.mode == "global":
                setattr(parent, name, SymbolicGlobalAttention(child))
    return network


def obstacle(network: nn.Module, *, dynamic: bool) -> str | None:
    """Why a network cannot be exported (so), as the end of a sentence; None if it can."""
    if any(isinstance(module, ParagonSR2ATD) for module in network.modules()):
        return "sorts its tokens by category, in an order that no ONNX operator promises: run it with the torch backend"
    windowed = any(isinstance(m, SpatialAttention) and m.mode == "window" for m in network.modules())
    if windowed and dynamic:
        return (
            f"lays windows of {ATTENTION_WINDOW} pixels by the size of the image: "
            "export it for one size (dynamic=False, size=(height, width))"
        )
    return None
