"""Stages of v2-static, and of its blocks in the hybrids: gates and attention over the whole image."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from .layers import GlobalGroupNorm
from .stages import Map, Program, Reader, Region, Whole
from .stages import Span as TileSpan
from .stages_convolutional import add_groups, add_hr_tail, normed
from .static_block import (
    ATTENTION_WINDOW,
    Axis,
    SpatialAttention,
    StaticBlock,
    blend_windows,
    span_coverage,
    window_spans,
)
from .v2_static import ParagonSR2Static

CHUNK = 4096
"""Queries, and roughly keys, of one step of the attention among all pixels."""


def v2_static_program(network: ParagonSR2Static, height: int, width: int) -> Program:
    """Stages of `ParagonSR2Static`."""
    program = Program(height, width)
    shallow = program.map(network.conv_in, program.image, halo=1)
    deep = add_groups(program, network.body, shallow, add_static_block)
    add_hr_tail(program, network, deep, shallow)
    return program


def add_static_block(program: Program, block: nn.Module, x: Map) -> Map:
    """A block of v2-static and the hybrids."""
    assert isinstance(block, StaticBlock)
    transformer, radius = block.transformer, block.radius - 1
    x = program.map(lambda x: x + block.ls1(block.context(x)), x, halo=radius)
    wide = program.map(lambda x: transformer.dw_mixer(transformer.project_in(x)), x, halo=1)
    wide = add_attention(program, transformer.attention, wide)
    gate = transformer.channel_mod
    if isinstance(gate, nn.Identity):
        x = program.map(lambda x, w: x + block.ls2(transformer.project_out(w)), x, wide)
    else:
        x = program.map(
            lambda x, w, g: x + block.ls2(transformer.project_out(w * g)),
            x,
            wide,
            program.channel_means(wide, gate.gate),
        )
    if isinstance(block.norm, GlobalGroupNorm):
        norm = block.norm
        return program.map(lambda x, m: normed(norm, x, m), x, program.moments(x))
    return x if isinstance(block.norm, nn.Identity) else program.map(block.norm, x)


def add_attention(program: Program, attention: nn.Module, x: Map) -> Map:
    """Attention among all pixels or in overlapping windows, where there is one."""
    if not isinstance(attention, SpatialAttention):
        return x
    if attention.mode == "window":
        if max(x.height, x.width) <= ATTENTION_WINDOW:
            return program.map(attention, x, align=ATTENTION_WINDOW)
        return program.located(partial(attend_overlapping, attention), x, halo=ATTENTION_WINDOW)
    key, value = program.map(attention.key, x), program.map(attention.value, x)

    def apply(x: Tensor, keys: Reader, values: Reader) -> Tensor:
        return x + attention.gamma * attend_everywhere(attention.query(x), keys, values, key)

    return program.map(apply, x, Whole(key), Whole(value))


def attend_overlapping(attention: SpatialAttention, region: Region, x: Tensor) -> Tensor:
    """Attention of a crop in those overlapping windows of the image that touch the region."""
    rows, columns = touching(region.rows), touching(region.columns)
    attended = blend_windows(attention.query(x), attention.key(x), attention.value(x), rows, columns)
    return x + attention.gamma * attended


def touching(tile: TileSpan) -> Axis:
    """The windows along a side that touch a tile, and the weights of all, both counted from the crop's start."""
    spans = window_spans(tile.length)
    near = [
        (start - tile.start, end - tile.start, weight)
        for start, end, weight in spans
        if start < tile.last and end > tile.first
    ]
    return near, span_coverage(spans, tile.length)[tile.start : tile.stop]


def attend_everywhere(q: Tensor, keys: Reader, values: Reader, size: Map) -> Tensor:
    """Attention of the queries (1, c, h, w) to every pixel of the image, block by block (Milakov and Gimelshein 2018).

    The softmax is kept as a running maximum, a running sum and a running weighted sum, in float32 at least.
    """
    scale, rows = (size.height * size.width) ** -0.5, max(1, CHUNK // size.width)
    chunks: list[Tensor] = []
    for query in (q.flatten(2).transpose(1, 2) * scale).split(CHUNK, dim=1):
        peak: Tensor | None = None
        total = weighted = query.new_zeros(())
        for top in range(0, size.height, rows):
            crop = (top, min(size.height, top + rows), 0, size.width)
            logits = (query @ keys.crop(*crop).flatten(2)).float()
            highest = logits.amax(dim=-1, keepdim=True)
            new = highest if peak is None else torch.maximum(peak, highest)
            fade = 1.0 if peak is None else torch.exp(peak - new)
            weights = torch.exp(logits - new)
            total = total * fade + weights.sum(dim=-1, keepdim=True)
            weighted = weighted * fade + weights @ values.crop(*crop).flatten(2).transpose(1, 2).float()
            peak = new
        chunks.append((weighted / total).to(q.dtype))
    return torch.cat(chunks, dim=1).transpose(1, 2).reshape(1, -1, *q.shape[2:])
