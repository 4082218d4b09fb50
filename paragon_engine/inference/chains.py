"""Networks as chains: the published operations in the published order, laid out so that passes can match them.

A chain is an `nn.Sequential`; residual connections, products and other joints are modules of this file. The functions
here copy nothing and change no numbers: they hang the modules of a private copy of a network into a new tree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paragon_arch.networks import v1, v2_dualpath, v2_dualpath_blocks, v2_magic, v2_release
from paragon_arch.networks.base import SRNetwork, global_average
from paragon_arch.networks.dynamic import ReparamTransformer, TrackedTransformer
from paragon_arch.networks.layers import HRBlock, gated_product


class Residual(nn.Module):
    """``x + inner(x)``."""

    def __init__(self, *inner: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Sequential(*inner)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class Product(nn.Module):
    """``left(x) * right(x)``."""

    def __init__(self, left: nn.Module, right: nn.Module) -> None:
        super().__init__()
        self.left, self.right = left, right

    def forward(self, x: Tensor) -> Tensor:
        return self.left(x) * self.right(x)


class Sum(nn.Module):
    """``left(x) + right(x)``."""

    def __init__(self, left: nn.Module, right: nn.Module) -> None:
        super().__init__()
        self.left, self.right = left, right

    def forward(self, x: Tensor) -> Tensor:
        return self.left(x) + self.right(x)


class HalvesProduct(nn.Module):
    """Product of the first and the second half of the channels."""

    def forward(self, x: Tensor) -> Tensor:
        return gated_product(x)


class Pooled(nn.Module):
    """``x * gate(mean of x over the image)``."""

    def __init__(self, gate: nn.Module) -> None:
        super().__init__()
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(global_average(x))


class TwoContexts(nn.Module):
    """Both depthwise contexts of a stream block, one after the other along the channels."""

    def __init__(self, plain: nn.Module, dilated: nn.Module) -> None:
        super().__init__()
        self.plain, self.dilated = plain, dilated

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.plain(x), self.dilated(x)), dim=1)


class TrackedKernel(nn.Module):
    """The depthwise step of a `TrackedTransformer` in evaluation, kernel chosen by its flag on every call."""

    def __init__(self, transformer: TrackedTransformer) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.transformer.static_kernel(), padding=1, groups=x.shape[1])


class Gain(nn.Module):
    """A learned constant factor."""

    def __init__(self, factor: nn.Parameter) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


@dataclass
class Parts:
    """A network taken apart: ``base(x) + tail(deep(shallow(x)))``, without ``base`` where it has none."""

    shallow: nn.Module
    deep: nn.Sequential
    tail: nn.Sequential
    base: nn.Sequential = field(default_factory=nn.Sequential)
    image_gate: nn.Module | None = None
    """Factor of the detail image, computed from the input and interpolated (v2-dualpath-rgbgate)."""


def take_apart(network: SRNetwork) -> Parts | None:
    """The parts of a private copy of a network, or None where its layout has no chain form."""
    maker = _PARTS.get(type(network))
    return None if maker is None else maker(network)


def _first_generation(network: v1.ParagonSR) -> Parts:
    tail: list[nn.Module] = [network.magic_upsampler] if network.tail == "magic" else []
    return Parts(
        network.conv_in,
        nn.Sequential(Residual(*_groups(network.body), network.conv_fuse)),
        nn.Sequential(*tail, *network.upsampler, network.conv_out),
    )


def _magic(network: v2_magic.ParagonSR2Magic) -> Parts:
    tail: list[nn.Module]
    if network.tail == "pixelshuffle":
        tail = [*network.upsampler.children()]
    elif network.tail == "magic":
        tail = [network.magic_upsampler, network.upsampler]
    else:
        tail = [network.magic_upsampler, network.hr_conv_in, *(_head(block) for block in network.hr_head)]
    deep = Residual(*_groups(network.body), network.conv_fuse)
    return Parts(network.conv_in, nn.Sequential(deep), nn.Sequential(*tail, network.conv_out))


def _release(network: v2_release.ParagonSR2Release) -> Parts:
    return Parts(
        network.conv_in,
        nn.Sequential(*_groups(network.body), network.conv_mid),
        nn.Sequential(*network.up, network.conv_out, Gain(network.detail_gain)),
        nn.Sequential(network.base),
    )


def _dual_path(network: v2_dualpath.ParagonSR2DualPath) -> Parts:
    gate, from_image = network.content_processor, network.revision.image_gate
    deep = [*_groups(network.body), Residual(network.conv_fuse)]
    if gate is not None and not from_image:
        deep.append(Product(nn.Identity(), gate))
    tail = [*_flat_upsampler(network.detail_upsampler), network.conv_out]
    if network.global_detail_gain is not None:
        tail.append(Gain(network.global_detail_gain))
    parts = Parts(network.conv_in, nn.Sequential(*deep), nn.Sequential(*tail), nn.Sequential(network.base_upsampler))
    parts.image_gate = gate if from_image else None
    return parts


_PARTS: dict[type[SRNetwork], Callable[..., Parts]] = {
    v1.ParagonSR: _first_generation,
    v2_magic.ParagonSR2Magic: _magic,
    v2_release.ParagonSR2Release: _release,
    v2_dualpath.ParagonSR2DualPath: _dual_path,
}


def _flat_upsampler(module: nn.Module) -> list[nn.Module]:
    if isinstance(module, v2_dualpath_blocks.ShuffleConv):
        return [module.up_conv, nn.PixelShuffle(module.scale)]
    assert isinstance(module, v2_dualpath_blocks.StagedUpsampler)
    return [layer for stage in module.stages for layer in (_flat_upsampler(stage) if _is_stage(stage) else [stage])]


def _is_stage(module: nn.Module) -> bool:
    return isinstance(module, v2_dualpath_blocks.ShuffleConv)


def _head(block: nn.Module) -> nn.Module:
    assert isinstance(block, HRBlock)
    return Residual(block.norm, block.conv1, nn.LeakyReLU(0.1), block.norm, block.conv2)


def _groups(body: nn.Sequential) -> list[nn.Module]:
    return [_group(group) for group in body]


def _group(group: nn.Module) -> nn.Module:
    if isinstance(group, v1.ResidualGroup):
        return Residual(*(step for block in group.blocks for step in _block(block)))
    if isinstance(group, v2_release.BlockGroup):
        return nn.Sequential(*(step for block in group.blocks for step in _block(block)))
    return group  # the multi-scale groups of v7 and v8 stay whole


def _block(block: nn.Module) -> list[nn.Module]:
    maker = _BLOCKS.get(type(block))
    return [block] if maker is None else maker(block)


def _norm(module: nn.Module | None) -> list[nn.Module]:
    return [] if module is None or isinstance(module, nn.Identity) else [module]


def _v1_block(block: v1.ParagonBlock) -> list[nn.Module]:
    ffn = block.transformer
    assert isinstance(ffn, v1.GatedFFN)
    gate = nn.Sequential(ffn.project_in_g, ffn.spatial_mixer, nn.Mish())
    return [
        Residual(block.norm1, block.context, *_norm(block.ls1)),
        Residual(block.norm2, Product(gate, ffn.project_in_i), ffn.project_out, *_norm(block.ls2)),
    ]


def _dynamic_block(block: v2_magic.DynamicBlock) -> list[nn.Module]:
    return [
        Residual(*_norm(block.norm1), block.context, block.ls1),
        Residual(*_norm(block.norm2), *_transformer(block.transformer), block.ls2),
    ]


def _transformer(module: nn.Module) -> list[nn.Module]:
    if isinstance(module, TrackedTransformer) and not module.is_dynamic:
        return [module.project_in, TrackedKernel(module), nn.LeakyReLU(0.1), module.project_out]
    if isinstance(module, ReparamTransformer):
        activation = nn.Mish() if module.activate is F.mish else nn.LeakyReLU(0.1)
        return [module.project_in, module.dynamic_conv, activation, module.project_out]
    return [module]


def _realtime_block(block: v2_release.RealtimeBlock) -> list[nn.Module]:
    return [Residual(block.conv1, block.dw, nn.GELU(), block.conv2, *_norm(block.scale))]


def _stream_block(block: v2_release.StreamBlock) -> list[nn.Module]:
    contexts = TwoContexts(block.dw1, block.dw3)
    return [Residual(contexts, block.fuse, block.proj, block.gate, HalvesProduct(), block.out, *_norm(block.scale))]


def _photo_block(block: v2_release.PhotoBlock) -> list[nn.Module]:
    first = Residual(block.norm, block.conv1, block.dw, nn.GELU(), block.conv2, block.scale)
    if block.attn is None or block.attn_norm is None:
        return [first]
    return [first, Residual(block.attn_norm, block.attn, block.scale)]


def _pro_block(block: v2_release.ProBlock) -> list[nn.Module]:
    steps = [
        Residual(block.norm1, block.conv1, block.dw, nn.GELU(), block.conv2, block.scale1),
        Residual(block.channel_attn, block.scale2),
    ]
    if block.norm3 is not None and block.window_attn is not None and block.scale3 is not None:
        steps.append(Residual(block.norm3, block.window_attn, block.scale3))
    return [*steps, Residual(block.norm4, block.token_ca, block.scale4)]


def _nano_block(block: v2_dualpath_blocks.NanoBlock) -> list[nn.Module]:
    return [Residual(*block.net)]


def _gate_block(block: v2_dualpath_blocks.GateBlock) -> list[nn.Module]:
    return [Residual(block.context, block.proj_in, block.dw_gate, HalvesProduct(), block.proj_out)]


def _paragon_block(block: v2_dualpath_blocks.ParagonBlock) -> list[nn.Module]:
    wide = [block.norm, block.project_in, *block.dw_mixer, *_norm(block.attn), Pooled(block.gate)]
    return [Residual(block.context, block.ls1), Residual(*wide, block.project_out, block.ls2)]


_BLOCKS: dict[type[nn.Module], Callable[..., list[nn.Module]]] = {
    v1.ParagonBlock: _v1_block,
    v2_magic.DynamicBlock: _dynamic_block,
    v2_release.RealtimeBlock: _realtime_block,
    v2_release.StreamBlock: _stream_block,
    v2_release.PhotoBlock: _photo_block,
    v2_release.ProBlock: _pro_block,
    v2_dualpath_blocks.NanoBlock: _nano_block,
    v2_dualpath_blocks.GateBlock: _gate_block,
    v2_dualpath_blocks.ParagonBlock: _paragon_block,
}
