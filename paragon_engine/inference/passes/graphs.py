"""borders_apart, head_phases, context_filters and mish_sigmoid: what suits the kernels of runtimes on CPUs.

They compute eight or sixteen channels at a time, in a layout that a few operations leave: shuffles, splits and joins,
whose copies then cost more than the arithmetic around them.
"""

from __future__ import annotations

from itertools import accumulate

from torch import Tensor, nn

from ..borders import bordered_end
from ..chains import Product, Residual
from ..form import InferenceForm
from ..modules import MishProduct, ScaledContext, SigmoidMish
from ..phases import PhasedHead
from ..rewriting import Chain, replace_all, rewrite
from ..tails import FramedTail, convolution

MOST_CHANNELS = 24
"""Contexts with more channels are cheaper slice by slice (measured in PyTorch and ONNX Runtime, 24 to 96 channels)."""
MOST_PHASES = 9
"""Beyond it (scale 4) the filters between phases are too many."""


def borders_apart(form: InferenceForm) -> int:
    """A merged tail, and the base added to it, by borders; return 1 if so."""
    joint = isinstance(form.shuffle, nn.PixelShuffle)  # else the network has no base, or adds it later
    before, base = (list(form.base)[:-1], form.base[-1]) if joint else ([], None)
    ends = [*form.tail, form.shuffle] if joint else list(form.tail)
    framed, shuffle = ends[-2:] if len(ends) > 1 else (None, None)
    if not isinstance(framed, FramedTail) or not isinstance(framed.fast, nn.Conv2d):
        return 0
    if (len(form.base) and not joint) or not isinstance(base, nn.Conv2d | None) or form.image_gate is not None:
        return 0
    assert isinstance(shuffle, nn.PixelShuffle)
    end = bordered_end(
        framed.chain[:-1],  # without the inverse of the shuffle
        None if base is None else nn.Sequential(base, shuffle),
        channels=(framed.fast.in_channels, 0 if base is None else base.in_channels),
        scale=shuffle.upscale_factor,
        edge=framed.edge,
        reach=max(framed.reach, 0 if base is None else base.kernel_size[0] // 2),
    )
    if end is None:
        return 0
    form.end, form.shuffle, form.minimum_size = end, nn.Identity(), max(form.minimum_size, end.least)
    replace_all(form.tail, list(form.tail)[: -1 if joint else -2])
    replace_all(form.base, before)
    return 1


def head_phases(form: InferenceForm) -> int:
    """A merged head without a shuffle inside; return the number of places."""
    return rewrite(form.tail, _phased)


def _phased(chain: Chain, position: int) -> tuple[int, Chain] | None:
    found = chain[position : position + 6]
    if len(found) != 6:
        return None
    enter, shuffle, rows, columns, activation, leave = found
    if not isinstance(shuffle, nn.PixelShuffle) or not isinstance(activation, nn.LeakyReLU):
        return None
    if not (isinstance(enter, nn.Conv2d) and isinstance(rows, nn.Conv2d) and isinstance(columns, nn.Conv2d)):
        return None
    scale = shuffle.upscale_factor
    if not isinstance(leave, nn.Conv2d) or leave.stride != (scale, scale) or scale**2 > MOST_PHASES:
        return None
    return 6, [PhasedHead(enter, rows, columns, activation, leave)]


def context_filters(form: InferenceForm) -> int:
    """Contexts as three depthwise convolutions over all channels, one after the other; return the number of places."""
    return rewrite(form, _context)


def _context(chain: Chain, position: int) -> tuple[int, Chain] | None:
    step = chain[position]
    context = step.inner[0] if isinstance(step, Residual) and len(step.inner) == 1 else None
    if not isinstance(context, ScaledContext):
        return None
    return (1, whole_filters(context)) if sum(context.split) <= MOST_CHANNELS else None


def whole_filters(context: ScaledContext) -> Chain:
    """``x + context(x)`` as depthwise convolutions that each change one slice of the channels."""
    starts = list(accumulate(context.split))  # the first slice passes, the others start where one ends
    channels, steps = starts[-1], list[nn.Module]()
    for start, layer in zip(starts[:-1], context.filters, strict=True):
        assert isinstance(layer, nn.Conv2d)
        _, _, height, width = layer.weight.shape
        weight = layer.weight.new_zeros(channels, 1, height, width)
        weight[:, :, height // 2, width // 2] = 1
        own = slice(start, start + layer.out_channels)
        weight[own] += layer.weight
        steps.append(convolution(weight, _biases(layer, own, channels), groups=channels))
    first = steps[0]
    assert isinstance(first, nn.Conv2d)
    gain = context.gain.flatten()
    first.weight.data[: len(gain)] *= 1 + gain.view(-1, 1, 1, 1)
    return steps


def _biases(layer: nn.Conv2d, own: slice, channels: int) -> Tensor:
    assert layer.bias is not None
    bias = layer.bias.new_zeros(channels)
    bias[own] = layer.bias
    return bias


def mish_sigmoid(form: InferenceForm) -> int:
    """Mish from a sigmoid, which runtimes compute faster than softplus; return the number of places."""
    return rewrite(form, _gate) + rewrite(form, _mish)


def _gate(chain: Chain, position: int) -> tuple[int, Chain] | None:
    """A product with Mish at the end of its left side."""
    step = chain[position]
    if not isinstance(step, Product) or not isinstance(step.left, nn.Sequential):
        return None
    *left, last = step.left
    return (1, [MishProduct(nn.Sequential(*left), step.right)]) if isinstance(last, nn.Mish) else None


def _mish(chain: Chain, position: int) -> tuple[int, Chain] | None:
    return (1, [SigmoidMish()]) if isinstance(chain[position], nn.Mish) else None
