"""tail_polyphase, tail_merged and base_merged: upsampling at the input resolution, and one shuffle at the end."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from paragon_arch.networks.magic import MagicResample

from ..form import InferenceForm
from ..rewriting import Chain, replace_all, rewrite
from ..tails import convolution, merged_tail


def tail_polyphase(form: InferenceForm) -> int:
    """The feature-space Magic resampler as depthwise filters and a pixel shuffle; return the number of places."""
    return rewrite(form.tail, _polyphase)


def _polyphase(chain: Chain, position: int) -> tuple[int, Chain] | None:
    module = chain[position]
    return (1, polyphase(module)) if isinstance(module, MagicResample) else None


def polyphase(magic: MagicResample) -> Chain:
    """The pre-filter as one depthwise convolution; nearest and blur as one filter per output phase, then a shuffle.

    Exact at borders too: the filters have no bias, so zero padding before upsampling and after it is the same.
    """
    steps: Chain = []
    if magic.alpha > 0:
        steps.append(prefilter(magic))
    kernel = _separable(magic, magic.second)
    steps.append(convolution(_phases(kernel, magic.scale), None, groups=kernel.shape[0]))
    return steps if magic.scale == 1 else [*steps, nn.PixelShuffle(magic.scale)]


def prefilter(magic: MagicResample) -> nn.Conv2d:
    """The pre-filter as one depthwise convolution."""
    kernel = magic.alpha * _separable(magic, magic.first)
    kernel[:, kernel.shape[1] // 2, kernel.shape[2] // 2] += 1 - magic.alpha
    return convolution(kernel[:, None], None, groups=kernel.shape[0])


def _separable(magic: MagicResample, name: str) -> Tensor:
    """A row filter followed by a column filter as kernels ``[c, k, k]``."""
    rows, columns = magic.get_submodule(name).children()
    assert isinstance(rows, nn.Conv2d) and isinstance(columns, nn.Conv2d)
    return columns.weight.detach()[:, 0] * rows.weight.detach()[:, 0]


def _phases(kernel: Tensor, scale: int) -> Tensor:
    """Filters ``[c * scale**2, 1, n, n]`` at the input resolution of nearest upsampling followed by ``kernel``."""
    channels, size, _ = kernel.shape
    reach = -(-(size // 2) // scale)
    place = torch.zeros(scale, 2 * reach + 1, size).to(kernel)  # (phase, input pixel, tap)
    for phase in range(scale):
        for tap in range(size):
            place[phase, (phase + tap - size // 2) // scale + reach, tap] = 1
    filters = torch.einsum("arm,cmn,bsn->cabrs", place, kernel, place)
    return filters.reshape(channels * scale**2, 1, 2 * reach + 1, 2 * reach + 1)


def tail_merged(form: InferenceForm) -> int:
    """Convolution, shuffle, convolutions at the end become one convolution and the shuffle; return 1 if so."""
    steps = list(form.tail)
    shuffles = [index for index, step in enumerate(steps) if isinstance(step, nn.PixelShuffle)]
    if not shuffles:
        return 0
    start = shuffles[-1] - 1
    linear = steps[start:]
    if start < 0 or len(linear) < 3 or not all(isinstance(step, nn.Conv2d) for step in (linear[0], *linear[2:])):
        return 0
    merged = merged_tail(nn.Sequential(*linear))
    if merged is None:
        return 0
    replace_all(form.tail, [*steps[:start], merged, linear[1]])
    return 1


def base_merged(form: InferenceForm) -> int:
    """The base image in polyphase form, added to the detail before a shuffle they share; return 1 if so."""
    before = list(form.base)
    magic = before.pop() if before else None
    if not isinstance(magic, MagicResample):
        return 0
    steps: Chain = [*before, *(_dense(step) for step in polyphase(magic))]
    replace_all(form.base, steps)
    shuffle = _common_shuffle(list(form.tail), steps) if form.image_gate is None else None
    if shuffle is not None:
        form.shuffle = shuffle
        replace_all(form.tail, list(form.tail)[:-1])
        replace_all(form.base, steps[:-1])
    return 1


def _common_shuffle(first: Chain, second: Chain) -> nn.PixelShuffle | None:
    """The last step of both chains, where it is the same pixel shuffle."""
    ends = [chain[-1] for chain in (first, second) if chain]
    shuffles = [step for step in ends if isinstance(step, nn.PixelShuffle)]
    same = len(shuffles) == 2 and shuffles[0].upscale_factor == shuffles[1].upscale_factor
    return shuffles[0] if same else None


def _dense(step: nn.Module) -> nn.Module:
    """Three channels are too few for depthwise kernels: the same filter as a full convolution."""
    if not isinstance(step, nn.Conv2d) or step.groups == 1:
        return step
    weight, groups = step.weight.detach(), step.groups
    full = torch.zeros(weight.shape[0], groups, *weight.shape[2:]).to(weight)
    each = weight.shape[0] // groups
    for group in range(groups):
        full[group * each : (group + 1) * each, group] = weight[group * each : (group + 1) * each, 0]
    return convolution(full, None)
