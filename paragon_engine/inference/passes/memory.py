"""in_place, strided_shuffle, mish_rational and channels_last: fewer passes over memory, the same numbers."""

from __future__ import annotations

import torch
from torch import nn

from ..chains import Residual
from ..form import InferenceForm
from ..modules import InPlaceGELU, InPlaceResidual, RationalMish, Shuffle
from ..rewriting import Chain, rewrite
from ..tails import MergedTail


def in_place(form: InferenceForm) -> int:
    """Activations and sums overwrite what a convolution has just made; return the number of places."""
    for module in form.modules():
        if isinstance(module, MergedTail):
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


def strided_shuffle(form: InferenceForm) -> int:
    """The last pixel shuffle as one strided copy; return the number of places."""
    if isinstance(form.shuffle, nn.PixelShuffle):
        form.shuffle = Shuffle(form.shuffle.upscale_factor)
        return 1
    return rewrite(form.tail, _shuffle)


def _shuffle(chain: Chain, position: int) -> tuple[int, Chain] | None:
    module = chain[position]
    return (1, [Shuffle(module.upscale_factor)]) if isinstance(module, nn.PixelShuffle) else None


def channels_last(form: InferenceForm) -> int:
    """Features lie pixel by pixel in memory, which 1x1 and depthwise convolutions on a CPU want; return 1."""
    form.memory_format = torch.channels_last
    return 1
