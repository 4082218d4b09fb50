"""in_place, strided_shuffle, mish_rational and channels_last: fewer passes over memory, the same numbers."""

from __future__ import annotations

import torch
from torch import nn

from ..chains import Residual
from ..form import InferenceForm
from ..modules import (
    FILTERS,
    InPlaceGELU,
    InPlaceResidual,
    PhaseFilters,
    PhaseMajorShuffle,
    RationalMish,
    Shuffle,
    TrimmedConv,
)
from ..rewriting import Chain, pair, rewrite
from ..tails import FramedTail, convolution

_NARROW = 8
"""Channels below which a shuffled map is an image, which wants rows of pixels and not pixels of channels."""


def in_place(form: InferenceForm) -> int:
    """Activations and sums overwrite what a convolution has just made; return the number of places."""
    for module in form.modules():
        if isinstance(module, FramedTail):
            module.in_place = True
    return rewrite(form, _activation) + rewrite(form, _residual)


def _activation(chain: Chain, position: int) -> tuple[int, Chain] | None:
    if position == 0 or not isinstance(chain[position - 1], nn.Conv2d):
        return None
    module = chain[position]
    if isinstance(module, nn.LeakyReLU):
        return 1, [nn.LeakyReLU(module.negative_slope, inplace=True)]
    if isinstance(module, (nn.Mish, nn.Hardswish, nn.ReLU)):
        return 1, [type(module)(inplace=True)]
    return (1, [InPlaceGELU()]) if isinstance(module, nn.GELU) and module.approximate == "none" else None


def _residual(chain: Chain, position: int) -> tuple[int, Chain] | None:
    step = chain[position]
    if isinstance(step, Residual) and len(step.inner) and isinstance(step.inner[-1], nn.Conv2d):
        return 1, [InPlaceResidual(step.inner)]
    return None


def mish_rational(form: InferenceForm) -> int:
    """Mish behind a convolution with one transcendental function instead of three; return the number of places."""
    return rewrite(form, _mish)


def _mish(chain: Chain, position: int) -> tuple[int, Chain] | None:
    fresh = position > 0 and isinstance(chain[position - 1], nn.Conv2d)
    return (1, [RationalMish()]) if fresh and isinstance(chain[position], nn.Mish) else None


def whole_filters(form: InferenceForm) -> int:
    """Filters that only fill up a block of channels go along; return the number of convolutions."""
    count = 0
    for parent in list(form.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.Conv2d) and _uneven(layer):
                setattr(parent, name, TrimmedConv(layer))
                count += 1
    return count


def _uneven(layer: nn.Conv2d) -> bool:
    spatial = min(layer.kernel_size) > 1 and layer.groups == 1 and layer.dilation == (1, 1)
    return spatial and layer.out_channels > FILTERS and layer.out_channels % FILTERS > 0


def strided_shuffle(form: InferenceForm) -> int:
    """Pixel shuffles as strided copies, those between layers into channels-last; return the number of places."""
    count = 0
    if isinstance(form.shuffle, nn.PixelShuffle):
        form.shuffle, count = Shuffle(form.shuffle.upscale_factor), 1
    count += rewrite(form.tail, _inner_shuffle)
    for chain in [module for module in form.tail.modules() if type(module) is nn.Sequential]:
        for place, step in enumerate(chain):
            if isinstance(step, nn.PixelShuffle):
                chain[place] = Shuffle(step.upscale_factor)
                count += 1
    return count


def _inner_shuffle(chain: Chain, position: int) -> tuple[int, Chain] | None:
    found = pair(chain, position)
    if found is None or not isinstance(found[0], nn.Conv2d) or not isinstance(found[1], nn.PixelShuffle):
        return None
    layer, scale = found[0], found[1].upscale_factor
    if layer.out_channels < _NARROW * scale**2:
        return None
    if layer.groups > 1:
        return (2, [PhaseFilters(layer, scale)]) if layer.groups == layer.in_channels and layer.bias is None else None
    order = torch.arange(layer.out_channels).view(-1, scale**2).t().flatten()
    bias = None if layer.bias is None else layer.bias.detach()[order]
    return 2, [convolution(layer.weight.detach()[order], bias), PhaseMajorShuffle(scale)]


def channels_last(form: InferenceForm) -> int:
    """Features lie pixel by pixel in memory, which 1x1 and depthwise convolutions on a CPU want; return 1."""
    form.memory_format = torch.channels_last
    return 1
