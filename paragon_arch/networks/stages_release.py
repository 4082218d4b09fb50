"""Stages of ParagonSR2 v9a, v10 and release."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from .layers import WindowAttention
from .stages import Map, Program, Region
from .v2_release import ParagonSR2Release, PhotoBlock, ProBlock, RealtimeBlock, StreamBlock
from .v2_ultimate import ParagonSR2Ultimate


def add_windows(program: Program, x: Map, attention: WindowAttention, norm: nn.Module, scale: nn.Module) -> Map:
    """``x + scale(attention(norm(x)))``."""

    def apply(region: Region, x: Tensor) -> Tensor:
        return x + scale(attention.on_grid(region.inside(norm(x))))

    return program.windows(apply, x, window=attention.window, shift=attention.shift)


def add_photo_block(program: Program, block: PhotoBlock, x: Map) -> Map:
    """Bottleneck, then windows."""
    x = program.map(lambda x: x + block.scale(block.bottleneck(x)), x, halo=1)
    if block.attn is None or block.attn_norm is None:
        return x
    return add_windows(program, x, block.attn, block.attn_norm, block.scale)


def add_pro_block(program: Program, block: ProBlock, x: Map) -> Map:
    """Bottleneck, gate from the whole image, windows, tokens."""
    x = program.map(lambda x: x + block.scale1(block.bottleneck(x)), x, halo=1)
    gate = program.channel_means(x, block.channel_attn.gate)
    x = program.map(lambda x, gate: x + block.scale2(x * gate), x, gate)
    if block.norm3 is not None and block.window_attn is not None and block.scale3 is not None:
        x = add_windows(program, x, block.window_attn, block.norm3, block.scale3)
    return program.map(lambda x: x + block.scale4(block.token_ca(block.norm4(x))), x)


def release_program(network: ParagonSR2Release, height: int, width: int) -> Program:
    """Stages of `ParagonSR2Release`."""
    program = Program(height, width)
    x = program.map(network.conv_in, program.image, halo=1)
    for group in network.body.children():
        for block in group.get_submodule("blocks").children():
            if isinstance(block, PhotoBlock):
                x = add_photo_block(program, block, x)
            elif isinstance(block, ProBlock):
                x = add_pro_block(program, block, x)
            else:
                assert isinstance(block, RealtimeBlock | StreamBlock)
                x = program.map(block, x, halo=block.radius)
    add_dual_tail(program, network, x, network.conv_mid)
    return program


def add_dual_tail(
    program: Program,
    network: ParagonSR2Release | ParagonSR2Ultimate,
    x: Map,
    middle: Callable[[Tensor], Tensor],
) -> None:
    """Detail from the features, added to the Magic base."""

    def tail(x: Tensor, image: Tensor) -> Tensor:
        return network.base(image) + network.conv_out(network.up(middle(x))) * network.detail_gain

    halo = max(3, network.base.radius + -(-2 // network.scale))
    program.map(tail, x, program.image, halo=halo, ratio=network.scale)
