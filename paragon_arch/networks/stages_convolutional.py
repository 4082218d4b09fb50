"""Stages of the networks whose blocks are convolutions and GroupNorms: v1, v2-pixelshuffle to v2-dynamic."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from .layers import GlobalGroupNorm, HRBlock, lrelu
from .stages import Map, Moments, Program
from .v1 import ParagonBlock, ParagonSR
from .v2_magic import DynamicBlock, ParagonSR2Magic
from .v2_static import ParagonSR2Static

AddBlock = Callable[[Program, nn.Module, Map], Map]


def plus(x: Tensor, y: Tensor) -> Tensor:
    """A skip connection."""
    return x + y


def normed(norm: nn.GroupNorm, x: Tensor, moments: Moments) -> Tensor:
    """GroupNorm of one group with given statistics."""
    affine = norm.affine  # without it, torch declares weight and bias as Parameters although they are None
    return moments.normalise(x, norm.eps, norm.weight if affine else None, norm.bias if affine else None)


def add_groups(program: Program, body: nn.Module, x: Map, add_block: AddBlock) -> Map:
    """Groups of blocks, each with a skip connection."""
    for group in body.children():
        start = x
        for block in group.get_submodule("blocks").children():
            x = add_block(program, block, x)
        x = program.map(plus, x, start)
    return x


def add_branch(
    program: Program, x: Map, norm: nn.Module | None, branch: Callable[[Tensor], Tensor], *, halo: int
) -> Map:
    """``x + branch(norm(x))``, with the statistics of the norm where it has any."""
    if isinstance(norm, GlobalGroupNorm):
        return program.map(lambda x, m: x + branch(normed(norm, x, m)), x, program.moments(x), halo=halo)
    if norm is None or isinstance(norm, nn.Identity):
        return program.map(lambda x: x + branch(x), x, halo=halo)
    return program.map(lambda x: x + branch(norm(x)), x, halo=halo)


def add_block(program: Program, block: nn.Module, x: Map) -> Map:
    """A block of v1, or of the second generation with dynamic kernels (static in evaluation)."""
    assert isinstance(block, ParagonBlock | DynamicBlock)
    radius = block.radius - 1
    x = add_branch(program, x, block.norm1, lambda x: block.ls1(block.context(x)), halo=radius)
    return add_branch(program, x, block.norm2, lambda x: block.ls2(block.transformer(x)), halo=1)


def v1_program(network: ParagonSR, height: int, width: int) -> Program:
    """Stages of `ParagonSR`."""
    program = Program(height, width)
    shallow = program.map(network.conv_in, program.image, halo=1)
    deep = add_groups(program, network.body, shallow, add_block)

    def tail(deep: Tensor, shallow: Tensor) -> Tensor:
        features = network.conv_fuse(deep) + shallow
        if network.tail == "magic":
            features = network.magic_upsampler(features)
        return network.conv_out(network.upsampler(features))

    radius = network.magic_upsampler.radius if network.tail == "magic" else 1
    program.map(tail, deep, shallow, halo=1 + radius + -(-4 // network.scale), ratio=network.scale)
    return program


def v2_magic_program(network: ParagonSR2Magic, height: int, width: int) -> Program | None:
    """Stages of `ParagonSR2Magic`; None while its kernels depend on the image."""
    if any(getattr(module, "is_dynamic", False) for module in network.modules()):
        return None
    program = Program(height, width)
    shallow = program.map(network.conv_in, program.image, halo=1)
    deep = add_groups(program, network.body, shallow, add_block)
    if network.tail == "magic-hr":
        add_hr_tail(program, network, deep, shallow)
        return program

    def tail(deep: Tensor, shallow: Tensor) -> Tensor:
        features = network.conv_fuse(deep) + shallow
        if network.tail == "magic":
            features = network.magic_upsampler(features)
        return network.conv_out(network.upsampler(features))

    radius = network.magic_upsampler.radius if network.tail == "magic" else 1
    program.map(tail, deep, shallow, halo=1 + radius + -(-4 // network.scale), ratio=network.scale)
    return program


def add_hr_tail(program: Program, network: ParagonSR2Magic | ParagonSR2Static, deep: Map, shallow: Map) -> None:
    """Magic upsampling and a head of residual blocks at the output resolution."""
    blocks = [block for block in network.hr_head if isinstance(block, HRBlock)]
    pooled = any(isinstance(block.norm, GlobalGroupNorm) for block in blocks)
    halo = 1 + network.magic_upsampler.radius

    def enter(deep: Tensor, shallow: Tensor) -> Tensor:
        return network.hr_conv_in(network.magic_upsampler(network.conv_fuse(deep) + shallow))

    if not pooled:
        halo += -(-(4 + sum(block.radius for block in blocks)) // network.scale)
        program.map(
            lambda d, s: network.conv_out(network.hr_head(enter(d, s))), deep, shallow, halo=halo, ratio=network.scale
        )
        return
    x = program.map(enter, deep, shallow, halo=halo + -(-3 // network.scale), ratio=network.scale)
    for block in blocks:
        x = add_hr_block(program, block, x)
    program.map(network.conv_out, x, halo=1)


def add_hr_block(program: Program, block: HRBlock, x: Map) -> Map:
    """A normed `HRBlock`."""
    norm = block.norm
    assert isinstance(norm, GlobalGroupNorm)
    y = program.map(lambda x, m: lrelu(block.conv1(normed(norm, x, m))), x, program.moments(x), halo=1)
    return program.map(lambda x, y, m: x + block.conv2(normed(norm, y, m)), x, y, program.moments(y), halo=1)
