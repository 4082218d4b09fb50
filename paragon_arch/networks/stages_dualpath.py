"""Stages of the dual-path ParagonSR2 generations and of the hybrids."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .stages import Map, Program, Region
from .stages_convolutional import add_groups
from .v2_dualpath import ParagonSR2DualPath
from .v2_dualpath_blocks import (
    BiasedWindowAttention,
    ConvWindowAttention,
    GateBlock,
    MultiScaleGroup,
    NanoBlock,
    ParagonBlock,
)


def dualpath_program(network: ParagonSR2DualPath, height: int, width: int) -> Program:
    """Stages of `ParagonSR2DualPath`."""
    program = Program(height, width)
    x = program.map(network.conv_in, program.image, halo=1)
    for group in network.body.children():
        x = add_group(program, group, x)
    add_tail(program, network, x)
    return program


def add_group(program: Program, group: nn.Module, x: Map) -> Map:
    """Blocks and a skip connection, with a multi-scale fusion before it in v7 and v8."""
    if not isinstance(group, MultiScaleGroup):
        return add_groups(program, nn.Sequential(group), x, add_block)
    start = x
    for block in group.blocks:
        x = add_block(program, block, x)
    return program.map(lambda x, start: group.mscf(group.mid_conv(x)) + start, x, start, halo=group.radius)


def add_block(program: Program, block: nn.Module, x: Map) -> Map:
    """Any block of these generations."""
    if isinstance(block, NanoBlock | GateBlock):
        return program.map(block, x, halo=block.radius)
    assert isinstance(block, ParagonBlock)
    x = program.map(lambda x: x + block.ls1(block.context(x)), x, halo=block.context.radius)
    wide = program.map(lambda x: block.dw_mixer(block.project_in(block.norm(x))), x, halo=1)
    wide = add_attention(program, block.attn, wide)
    gate = program.channel_means(wide, block.gate_from)
    return program.map(lambda x, wide, gate: x + block.ls2(block.project_out(wide * gate)), x, wide, gate)


def add_attention(program: Program, attention: nn.Module, x: Map) -> Map:
    """Window attention; an image that fits into one window of the older kind is that window."""
    if isinstance(attention, ConvWindowAttention):
        if max(x.height, x.width) <= attention.window:
            return program.map(attention, x, align=attention.window)

        def attend(region: Region, x: Tensor) -> Tensor:
            return attention.on_grid(region.inside(x))

        return program.windows(attend, x, window=attention.window, shift=attention.shift)
    if isinstance(attention, BiasedWindowAttention):

        def apply(region: Region, x: Tensor) -> Tensor:
            return attention.on_grid(region.inside(x), region.own)

        return program.windows(apply, x, window=attention.window, shift=attention.shift, halo=1)
    return x


def add_tail(program: Program, network: ParagonSR2DualPath, body: Map) -> None:
    """Detail from the features, weighted pixel by pixel, added to the Magic base."""
    gate, on_image = network.content_processor, network.revision.image_gate

    def tail(body: Tensor, image: Tensor) -> Tensor:
        features = network.conv_fuse(body) + body
        if gate is not None and not on_image:
            features = features * gate(features)
        detail = network.conv_out(network.detail_upsampler(features))
        if network.global_detail_gain is not None:
            detail = detail * network.global_detail_gain
        if gate is not None and on_image:
            factor = F.interpolate(gate(image), scale_factor=float(network.scale), mode="bilinear")
            detail = detail * factor
        return network.base_upsampler(image) + detail

    program.map(tail, body, program.image, halo=network.tail_radius(), ratio=network.scale)
