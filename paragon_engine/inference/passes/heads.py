"""prefilter_separable, blur_last and head_merged: what the Magic resampler costs at the output resolution.

Its blur is the same filter for every channel, so that it may change places with a convolution (but for a frame):
behind the convolution there are fewer channels to blur, and before it there are pixels that are all equal in blocks,
for which a convolution at the output resolution is a smaller one at the input resolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from paragon_arch.networks.magic import MagicResample

from ..chains import Residual, Sum
from ..form import InferenceForm
from ..rewriting import Chain, replace_all, rewrite
from ..tails import FramedTail, collapse, convolution, work
from .magic import prefilter

SAFE_ALPHA = 0.75
"""Above it a pre-filter that is not all filter is not taken apart: FP16 would lose range to the factor."""


def prefilter_separable(form: InferenceForm) -> int:
    """The pre-filter as one filter along rows and one along columns; return the number of places."""
    return rewrite(form.tail, _separable) + rewrite(form.base, _separable)


def _separable(chain: Chain, position: int) -> tuple[int, Chain] | None:
    magic = chain[position]
    if not isinstance(magic, MagicResample) or not (0 < magic.alpha <= SAFE_ALPHA or magic.alpha == 1):
        return None
    rows, columns = filters(magic, magic.first)
    if magic.alpha == 1:
        return 1, [rows, columns, _unfiltered(magic)]
    # x + a (S(x) - x) = (1 - a) (x + a / (1 - a) S(x)), and the resampler's own filter takes the factor
    rest = 1 - magic.alpha
    columns.weight.data *= magic.alpha / rest
    filters(magic, magic.second)[1].weight.data *= rest
    return 1, [Residual(rows, columns), _unfiltered(magic)]


def filters(magic: MagicResample, name: str) -> tuple[nn.Conv2d, nn.Conv2d]:
    """The filters along rows and columns of one of a resampler's two steps."""
    rows, columns = magic.get_submodule(name).children()
    assert isinstance(rows, nn.Conv2d) and isinstance(columns, nn.Conv2d)
    return rows, columns


def _unfiltered(magic: MagicResample) -> MagicResample:
    magic.alpha = 0.0
    return magic


@dataclass(frozen=True)
class _End:
    """The end of a network from its resampler on."""

    before: Chain
    magic: MagicResample
    rows: Tensor
    columns: Tensor
    after: Chain

    def nearest(self, *convs: nn.Module) -> nn.Conv2d:
        """Nearest upsampling and convolutions, as one convolution at the input resolution before a shuffle."""
        first = convs[0]
        assert isinstance(first, nn.Conv2d)
        chain = nn.Sequential(nn.Upsample(scale_factor=float(self.magic.scale), mode="nearest"), *convs)
        radius = -(-_radius(convs) // self.magic.scale)
        return collapse(chain, channels=first.in_channels, radius=radius, scale=self.magic.scale)

    def blurred(self, conv: nn.Conv2d) -> Chain:
        """A convolution that `nearest` made, the shuffle, and the resampler's blur, which takes over the bias."""
        scale = self.magic.scale
        assert conv.bias is not None
        bias = conv.bias.detach().view(-1, scale**2)[:, 0]
        channels = len(bias)
        rows = convolution(self.rows.repeat(channels, 1, 1, 1), None, groups=channels)
        columns = convolution(self.columns.repeat(channels, 1, 1, 1), bias, groups=channels)
        return [convolution(conv.weight, None), nn.PixelShuffle(scale), rows, columns]

    def replaced(self, fast: nn.Module, frame: int) -> Chain:
        """The end with a fast form that is right except in a frame, in pixels of the output."""
        scale, blur = self.magic.scale, max(self.rows.numel(), self.columns.numel()) // 2
        reach = _radius([layer for step in self.after for layer in step.modules()]) + blur
        first = [prefilter(self.magic)] if self.magic.alpha > 0 else []
        chain = nn.Sequential(_unfiltered(self.magic), *self.after)
        framed = FramedTail(chain, fast, frame=-(-frame // scale), reach=-(-reach // scale), scale=scale)
        return [*self.before, *first, framed]

    @property
    def blur(self) -> int:
        return max(self.rows.numel(), self.columns.numel()) // 2


def _radius(layers: Chain | tuple[nn.Module, ...]) -> int:
    return sum(layer.kernel_size[0] // 2 for layer in layers if isinstance(layer, nn.Conv2d))


def _end(form: InferenceForm) -> _End | None:
    """The end from a resampler that enlarges and treats all channels alike."""
    steps = list(form.tail)
    places = [index for index, step in enumerate(steps) if isinstance(step, MagicResample)]
    if not places:
        return None
    magic = steps[places[0]]
    assert isinstance(magic, MagicResample)
    rows, columns = (layer.weight.detach() for layer in filters(magic, magic.second))
    if magic.scale == 1 or not (_alike(rows) and _alike(columns)):
        return None
    return _End(steps[: places[0]], magic, rows[:1], columns[:1], steps[places[0] + 1 :])


def _alike(kernels: Tensor) -> bool:
    return torch.equal(kernels, kernels[:1].expand_as(kernels))


def blur_last(form: InferenceForm) -> int:
    """Resampler and convolutions to the image become one convolution, shuffle and blur; return 1 if so."""
    end = _end(form)
    if end is None or not end.after or not all(isinstance(step, nn.Conv2d) for step in end.after):
        return 0
    conv = end.nearest(*end.after)
    steps = end.blurred(conv)
    blurs = sum(work(layer) for layer in steps[2:])
    if work(conv) + end.magic.scale**2 * blurs >= _merged_work(end, conv):
        return 0
    replace_all(form.tail, end.replaced(nn.Sequential(*steps), max(_radius(end.after), end.blur)))
    return 1


def _merged_work(end: _End, conv: nn.Conv2d) -> int:
    """Multiply-adds of the convolution that would take in the blur as well."""
    reach, scale = _radius(end.after) + end.blur, end.magic.scale
    side = (scale - 1 + reach) // scale + -(-reach // scale) + 1
    return conv.out_channels * conv.in_channels * side**2


def head_merged(form: InferenceForm) -> int:
    """A head of one residual block, from the resampler to the image; return 1 if applied.

    All before its activation is linear and becomes one convolution at the input resolution, shuffle and blur; so does
    all around it; and what is behind it becomes one convolution from the output to the input resolution.
    """
    end = _end(form)
    if end is None or len(end.after) != 3:
        return 0
    entry, block, last = end.after
    inner = [step for step in block.inner if not isinstance(step, nn.Identity)] if isinstance(block, Residual) else []
    if len(inner) != 3 or not isinstance(inner[1], nn.LeakyReLU):
        return 0
    first, activation, second = inner
    if not all(isinstance(step, nn.Conv2d) for step in (entry, first, second, last)):
        return 0
    scale = end.magic.scale
    wide, around = end.nearest(entry, first), end.nearest(entry, last)
    assert isinstance(last, nn.Conv2d) and last.bias is not None
    exit_ = _to_phases(nn.Sequential(second, last), scale, without=last.bias)  # which the way around the block adds
    fast = Sum(
        nn.Sequential(*end.blurred(wide), activation, exit_, nn.PixelShuffle(scale)),
        nn.Sequential(*end.blurred(around)),
    )
    frame = max(_radius((entry, first)), end.blur) + _radius((second, last))
    replace_all(form.tail, end.replaced(fast, frame))
    return 1


def _to_phases(convs: nn.Sequential, scale: int, *, without: Tensor) -> nn.Conv2d:
    """Convolutions at the output resolution as one whose result a shuffle enlarges, less ``without``."""
    first = convs[0]
    assert isinstance(first, nn.Conv2d)
    whole = collapse(convs, channels=first.in_channels, radius=_radius(tuple(convs)), scale=1)
    channels, inputs, side, _ = whole.weight.shape
    weight = torch.zeros(channels, scale, scale, inputs, side + scale - 1, side + scale - 1).to(whole.weight)
    for row in range(scale):
        for column in range(scale):
            weight[:, row, column, :, row : row + side, column : column + side] = whole.weight
    assert whole.bias is not None
    layer = convolution(weight.flatten(0, 2), (whole.bias - without).detach().repeat_interleave(scale**2))
    layer.stride, layer.padding = (scale, scale), (side // 2, side // 2)
    return layer
