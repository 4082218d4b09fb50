"""Stages of the hybrids."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .stages import Map, Program, Value
from .stages_convolutional import add_groups
from .stages_static import add_static_block
from .v2_hybrid import ContentGain, DenseGroup, ParagonSR2Hybrid


def hybrid_program(network: ParagonSR2Hybrid, height: int, width: int) -> Program:
    """Stages of `ParagonSR2Hybrid`."""
    program = Program(height, width)
    x = program.map(network.conv_in, program.image, halo=1)
    for group in network.body.children():
        if isinstance(group, DenseGroup):
            x = add_dense_group(program, group, x)
        else:
            x = add_groups(program, nn.Sequential(group), x, add_static_block)
    add_tail(program, network, x)
    return program


def add_dense_group(program: Program, group: DenseGroup, x: Map) -> Map:
    """Blocks whose outputs are concatenated and projected."""
    outputs = [x]
    for block in group.blocks:
        outputs.append(add_static_block(program, block, outputs[-1]))

    def project(first: Tensor, *rest: Tensor) -> Tensor:
        return first + group.dense_proj(torch.cat((first, *rest), dim=1))

    return program.map(project, *outputs)


def add_tail(program: Program, network: ParagonSR2Hybrid, body: Map) -> None:
    """Detail from the features, with one gain for the image where there is one, added to the Magic base."""

    def tail(body: Tensor, image: Tensor, gain: Tensor | None = None) -> Tensor:
        detail = network.conv_out(network.upsampler_net(network.conv_fuse(body) + body))
        return network.magic_upsampler(image) + (detail if gain is None else detail * gain)

    gain = [] if network.content_processor is None else [content_gain(program, network.content_processor)]
    halo = max(3, network.magic_upsampler.radius + -(-2 // network.scale))
    program.map(tail, body, program.image, *gain, halo=halo, ratio=network.scale)


def content_gain(program: Program, gain: ContentGain) -> Value:
    """The factor of the detail, ``(1, 1, 1, 1)``."""
    local, head = gain.content_analyzer[:6], gain.content_analyzer[7:]
    features = program.map(local, program.image, halo=1 + 2 + 3)
    weight = head[0].get_parameter("weight")
    return program.channel_means(features, lambda mean: 0.05 + 0.15 * (1 - head(mean.to(weight))))
