"""The modules that passes put in the place of published ones. All map ``(N, C, H, W)`` to ``(N, C', H', W')``."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paragon_arch.networks.layers import InceptionContext

from .tails import convolution

_BLOCK = 1 << 17
"""Values whose squared deviations are summed at a time: few enough to stay in the cache."""


FILTERS = 8
"""Output channels that a CPU's kernels compute together."""


class Shuffle(nn.Module):
    """Pixel shuffle as one strided copy: faster than the library's kernel on a CPU, and the result is contiguous."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        s = self.scale
        batch, channels, height, width = x.shape
        parts = x.reshape(batch, channels // s**2, s, s, height, width).permute(0, 1, 4, 2, 5, 3)
        return parts.reshape(batch, channels // s**2, height * s, width * s)


class PhaseMajorShuffle(nn.Module):
    """Pixel shuffle of channels in the order (row, column, channel), into channels-last features.

    What one input pixel holds is written as ``scale**2`` runs of consecutive channels.
    """

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        s = self.scale
        batch, channels, height, width = x.shape
        parts = x.permute(0, 2, 3, 1).reshape(batch, height, width, s, s, channels // s**2)
        return parts.permute(0, 1, 3, 2, 4, 5).reshape(batch, height * s, width * s, -1).permute(0, 3, 1, 2)


class PhaseFilters(nn.Module):
    """Depthwise upsampling, one convolution per output phase, each written to its pixels of channels-last features.

    Args:
        filters: depthwise convolution to ``c * scale**2`` channels, without bias, made for a pixel shuffle.
        scale: output pixels per input pixel.
    """

    def __init__(self, filters: nn.Conv2d, scale: int) -> None:
        super().__init__()
        self.scale = scale
        weight = filters.weight.detach()
        self.phases = nn.ModuleList(
            convolution(weight[n :: scale**2], None, groups=filters.groups) for n in range(scale**2)
        )

    def forward(self, x: Tensor) -> Tensor:
        s = self.scale
        size = (x.shape[0], x.shape[1], x.shape[2] * s, x.shape[3] * s)
        out = torch.empty(size, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        for number, layer in enumerate(self.phases):
            out[:, :, number // s :: s, number % s :: s] = layer(x)
        return out


class UnitRMS(nn.Module):
    """Root-mean-square norm over the channels of each pixel, without scale and shift.

    ``inside`` says whether 1e-6 is added to the mean of the squares or to its root.
    """

    def __init__(self, *, inside: bool) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x  # x² overflows FP16 at 256
        power = wide.square().mean(dim=1, keepdim=True)
        factor = torch.rsqrt(power + 1e-6) if self.inside else 1 / (power.sqrt() + 1e-6)
        return (wide * factor).to(x.dtype)


class ScaledContext(nn.Module):
    """`InceptionContext` times a factor per channel; the filtered slices hold theirs in weight and bias.

    Args:
        context: a context that may be changed.
        gamma: the factor of every channel, ``[c]``.
    """

    gain: Tensor

    def __init__(self, context: InceptionContext, gamma: Tensor) -> None:
        super().__init__()
        self.split = context.split
        self.filters = nn.ModuleList((context.dwconv_hw, context.dwconv_w, context.dwconv_h))
        parts: list[Tensor] = list(torch.split(gamma, self.split))
        self.register_buffer("gain", parts[0].view(1, -1, 1, 1).clone())
        for layer, factor in zip(self.filters, parts[1:], strict=True):
            assert isinstance(layer, nn.Conv2d)
            scale_output(layer, factor)

    def forward(self, x: Tensor) -> Tensor:
        same, *filtered = _filter_slices(x, self.split, self.filters)
        return torch.cat((same * self.gain, *filtered), dim=1)


class GainlessContext(nn.Module):
    """A `ScaledContext` without its gain, which somebody else takes over."""

    def __init__(self, context: ScaledContext) -> None:
        super().__init__()
        self.split, self.filters = context.split, context.filters

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(_filter_slices(x, self.split, self.filters), dim=1)


def _filter_slices(x: Tensor, split: list[int], filters: Iterable[nn.Module]) -> list[Tensor]:
    """The slices of a context: the first as it is, the others filtered."""
    same, *slices = torch.split(x, split, dim=1)
    return [same, *(layer(part) for layer, part in zip(filters, slices, strict=True))]


class ContextStep(nn.Module):
    """``x + gamma * context(x)`` in one pass: pass-through channels times 1 + gamma, slices overwritten in the result.

    The identity joins the centre taps of the filters.
    """

    gain: Tensor

    def __init__(self, context: ScaledContext) -> None:
        super().__init__()
        self.split, self.filters = context.split, context.filters
        gain = torch.ones(1, sum(self.split), 1, 1).to(context.gain)
        gain[:, : self.split[0]] += context.gain
        self.register_buffer("gain", gain)
        for layer in self.filters:
            assert isinstance(layer, nn.Conv2d)
            _, _, height, width = layer.weight.shape
            layer.weight.data[:, 0, height // 2, width // 2] += 1

    def forward(self, x: Tensor) -> Tensor:
        out = x * self.gain
        start = self.split[0]
        for layer, width in zip(self.filters, self.split[1:], strict=True):
            part = slice(start, start + width)
            out[:, part] = layer(dense(x[:, part]))
            start += width
        return out


class SplitNorm(nn.GroupNorm):
    """GroupNorm of one group as mean, deviations and their mean square, which runtimes compute on all cores.

    Theirs runs on one core per group, and takes a copy for each of scale and shift besides its own.
    """

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__(1, norm.num_channels, norm.eps, norm.affine)
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name of the base class
        wide = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input  # x² overflows FP16 at 256
        deviation = wide - wide.mean(dim=(1, 2, 3), keepdim=True)
        scale = torch.rsqrt(deviation.square().mean(dim=(1, 2, 3), keepdim=True) + self.eps)
        if not self.affine:
            return (deviation * scale).to(input.dtype)
        scale = scale * self.weight.view(1, -1, 1, 1)
        return (deviation * scale + self.bias.view(1, -1, 1, 1)).to(input.dtype)


class NormedContextStep(nn.Module):
    """``x + gamma * context(norm(x))`` for the norm over the whole image.

    The pass-through channels get the norm, its affine and gamma as one multiplication and one addition; only the
    filtered slices are ever normalised as such.
    """

    gamma: Tensor

    def __init__(self, norm: nn.GroupNorm, context: ScaledContext) -> None:
        super().__init__()
        self.norm, self.split, self.filters = norm, context.split, context.filters
        gamma = torch.zeros(1, sum(self.split), 1, 1).to(context.gain)
        gamma[:, : self.split[0]] = context.gain
        self.register_buffer("gamma", gamma)

    def forward(self, x: Tensor) -> Tensor:
        return self.given(x, *norm_as_affine(self.norm, x))

    def given(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """The same with the norm as `norm_as_affine` gives it; scale and shift may be of a wider type."""
        out = torch.addcmul((self.gamma * shift).to(x.dtype), x, (1 + self.gamma * scale).to(x.dtype))
        scale, shift = scale.to(x.dtype), shift.to(x.dtype)
        start = self.split[0]
        for layer, width in zip(self.filters, self.split[1:], strict=True):
            part = slice(start, start + width)
            normed = torch.addcmul(shift[:, part], dense(x[:, part]), scale[:, part])
            out[:, part] += layer(normed)
            start += width
        return out


class NormedConvs(nn.Module):
    """1x1 convolutions of the normalised image, without normalising it: its two moments enter weight and bias.

    Args:
        norm: norm over the whole image.
        convs: 1x1 convolutions that all read it.
    """

    def __init__(self, norm: nn.GroupNorm, *convs: nn.Conv2d) -> None:
        super().__init__()
        self.norm, self.convs = norm, nn.ModuleList(convs)

    def forward(self, x: Tensor) -> list[Tensor]:
        if x.shape[0] != 1:  # weights cannot differ from sample to sample
            x = self.norm(x)
            return [conv(x) for conv in self.convs]
        return self.settled(x)(x)

    def settled(self, x: Tensor) -> Callable[[Tensor], list[Tensor]]:
        """A function for parts of one image ``x``, which all get the moments of the whole."""
        return self.given(*norm_as_affine(self.norm, x))

    def given(self, scale: Tensor, shift: Tensor) -> Callable[[Tensor], list[Tensor]]:
        """A function for parts of one image, with the norm as `norm_as_affine` gives it for the whole."""
        kernels = [_pointwise(conv, scale, shift) for conv in self.convs]
        return lambda part: [F.conv2d(part, weight, bias) for weight, bias in kernels]


def _pointwise(conv: nn.Module, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Weight and bias of a 1x1 convolution that takes ``x`` for ``x * scale + shift``, for one sample."""
    assert isinstance(conv, nn.Conv2d) and conv.bias is not None
    offset = conv.bias + conv.weight.flatten(1).to(shift.dtype) @ shift.flatten()
    return (conv.weight * scale).to(conv.weight.dtype), offset.to(conv.weight.dtype)


class NormedProduct(nn.Module):
    """``Product(Sequential(conv, *rest), other)`` of the normalised image, see `NormedConvs`."""

    def __init__(self, norm: nn.GroupNorm, left: nn.Sequential, right: nn.Conv2d) -> None:
        super().__init__()
        first, *rest = left
        assert isinstance(first, nn.Conv2d)
        self.convs, self.rest = NormedConvs(norm, first, right), nn.Sequential(*rest)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.convs(x)
        return self.rest(left).mul_(right)

    def settled(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """A function for parts of one image ``x``, which all get the moments of the whole."""
        return self.given(*norm_as_affine(self.convs.norm, x))

    def given(self, scale: Tensor, shift: Tensor) -> Callable[[Tensor], Tensor]:
        """A function for parts of one image, with the norm as `norm_as_affine` gives it for the whole."""
        convolve = self.convs.given(scale, shift)

        def run(part: Tensor) -> Tensor:
            left, right = convolve(part)
            return self.rest(left).mul_(right)

        return run


class InPlaceResidual(nn.Module):
    """``x + inner(x)``, added into the tensor that ``inner`` has just made."""

    def __init__(self, inner: nn.Sequential) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x).add_(x)


class InPlaceGELU(nn.Module):
    """Exact GELU into its own input, which a convolution has just made."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.aten.gelu_(x)


class RationalMish(nn.Module):
    """Mish as ``z * n / (n + 2)`` with ``n = e^z (e^z + 2)``: one exponential instead of exp, log1p and tanh.

    Overwrites its input. Beyond 20 the factor is 1 to the last bit of a double, so the exponent stops there.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype in (torch.float16, torch.bfloat16):  # e^2z leaves FP16's range at 5.5
            return F.mish(x, inplace=True)
        e = x.clamp(max=20).exp_()
        n = (e + 2).mul_(e)
        return x.mul_(n.div_(torch.add(n, 2, out=e)))


class TrimmedConv(nn.Conv2d):
    """A convolution with zero filters added up to a multiple of `FILTERS`, whose results are left out again.

    The library's kernels compute so many channels at a time, and are slower with fewer.

    Args:
        layer: any ungrouped convolution.
    """

    def __init__(self, layer: nn.Conv2d) -> None:
        self.kept = layer.out_channels
        padded = -(-self.kept // FILTERS) * FILTERS
        height, width = layer.kernel_size
        rows, columns = layer.stride
        super().__init__(layer.in_channels, padded, (height, width), (rows, columns), bias=layer.bias is not None)
        self.padding = layer.padding
        missing = padded - self.kept
        weight = F.pad(layer.weight.detach(), (0, 0, 0, 0, 0, 0, 0, missing))
        self.weight = nn.Parameter(weight, requires_grad=False)
        if layer.bias is not None:
            self.bias = nn.Parameter(F.pad(layer.bias.detach(), (0, missing)), requires_grad=False)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name of the base class
        return super().forward(input)[:, : self.kept]


class SigmoidMish(nn.Module):
    """Mish as ``z * t / (2 - t)`` with ``t = p (2 - p)`` and ``p = sigmoid(z)``: no logarithm, no overflow."""

    def forward(self, x: Tensor) -> Tensor:
        return x * _mish_factor(x)


class MishProduct(nn.Module):
    """``mish(left(x)) * right(x)``: the two are multiplied first, which a runtime does in its convolutions' layout."""

    def __init__(self, left: nn.Module, right: nn.Module) -> None:
        super().__init__()
        self.left, self.right = left, right

    def forward(self, x: Tensor) -> Tensor:
        left = self.left(x)
        return left * self.right(x) * _mish_factor(left)


def _mish_factor(x: Tensor) -> Tensor:
    p = torch.sigmoid(x)
    t = p * (2 - p)
    return t / (2 - t)


def dense(x: Tensor) -> Tensor:
    """A slice of the channels as a tensor of its own, in the layout of the whole."""
    last = x.stride(1) == 1 and x.shape[1] > 1
    return x.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance over channels, height and width, each ``(N, 1, 1, 1)``.

    The sum of squared deviations goes block by block on a CPU, where the library's kernel takes twenty times as long
    as reading the values.
    """
    if x.device.type != "cpu":
        variance, mean = torch.var_mean(x, dim=(1, 2, 3), keepdim=True, correction=0)
        return mean, variance
    pairs = [_moments_of_sample(flat) for flat in x.permute(0, 2, 3, 1).reshape(x.shape[0], -1)]
    mean, variance = (torch.stack(values).view(-1, 1, 1, 1) for values in zip(*pairs, strict=True))
    return mean, variance


def _moments_of_sample(flat: Tensor) -> tuple[Tensor, Tensor]:
    mean = flat.mean()
    squares = torch.zeros((), dtype=torch.float64)
    blocks: list[Tensor] = list(torch.split(flat, _BLOCK))
    for block in blocks:
        deviation = block - mean
        squares += torch.dot(deviation, deviation)
    return mean, (squares / flat.numel()).to(flat.dtype)


def norm_as_affine(norm: nn.GroupNorm, x: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and shift ``(N, C, 1, 1)`` such that ``norm(x) = x * scale + shift`` (one group)."""
    mean, variance = moments(x)
    scale = torch.rsqrt(variance + norm.eps)
    if not norm.affine:
        each = scale.expand(-1, norm.num_channels, -1, -1)
        return each, -mean * each
    scale = scale * norm.weight.view(1, -1, 1, 1)
    return scale, norm.bias.view(1, -1, 1, 1) - mean * scale


def scale_output(layer: nn.Conv2d | nn.Linear, factor: Tensor) -> None:
    """Multiply what a layer puts out by ``factor``, ``[c]`` or a scalar, in place."""
    factor = factor.detach().flatten()
    weight = layer.weight.data
    weight.mul_(factor.view(-1, *(1,) * (weight.dim() - 1)))
    if layer.bias is not None:
        layer.bias.data.mul_(factor)
