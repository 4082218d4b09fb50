"""Linear ends of a network as one convolution at the input resolution, exact to the last border pixel."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FramedTail(nn.Module):
    """The end of a network in a fast form, exact to the last border pixel.

    The published chain zero-pads on several levels, the fast form on fewer, so they differ in a thin frame. There the
    chain itself runs, on strips just wide enough. No step asks for the size, and every size is exact: a strip of an
    image that is smaller than it is the image.

    Args:
        chain: the published steps, ``(N, F, H, W)`` to ``(N, C, H*scale, W*scale)``.
        fast: the same, but for a frame.
        frame: width of the frame in input pixels.
        reach: input pixels around a pixel that the chain's result depends on.
        scale: output pixels per input pixel.
        edge: width of the frame in pixels of the output, where it is known.

    Attributes:
        in_place: write the strips into the fast form's result; otherwise concatenate, which suits a graph.
    """

    def __init__(
        self, chain: nn.Sequential, fast: nn.Module, *, frame: int, reach: int, scale: int = 1, edge: int = 0
    ) -> None:
        super().__init__()
        self.chain, self.fast, self.frame, self.reach, self.scale, self.edge = chain, fast, frame, reach, scale, edge
        self.in_place = False

    def forward(self, x: Tensor) -> Tensor:
        """``(N, F, H, W)`` to ``(N, C, H*scale, W*scale)``."""
        out = self.fast(x)
        for axis in (2, 3):
            out = self._framed(out, x, axis)
        return out

    def _framed(self, out: Tensor, x: Tensor, axis: int) -> Tensor:
        """Replace both borders across ``axis``."""
        d, wide = self.frame * self.scale, self.frame + self.reach
        first, last = self._strips(sliced(x, axis, None, wide), sliced(x, axis, -wide, None))
        if self.in_place:
            sliced(out, axis, None, d).copy_(sliced(first, axis, None, d))
            sliced(out, axis, -d, None).copy_(sliced(last, axis, -d, None))
            return out
        # of an image that is narrower than both frames together, the first strip owns the middle
        tail = sliced(sliced(last, axis, d, None), axis, -d, None)
        return torch.cat((sliced(first, axis, None, d), sliced(out, axis, d, -d), tail), dim=axis)

    def _strips(self, first: Tensor, last: Tensor) -> tuple[Tensor, ...]:
        """What the chain makes of two strips of one size."""
        if self.in_place:
            return self.chain(torch.cat((first, last))).chunk(2)
        # in a graph, splitting a batch of open size would hide the shapes from shape inference
        return self.chain(first), self.chain(last)


def sliced(x: Tensor, axis: int, start: int | None, stop: int | None) -> Tensor:
    """Rows (axis 2) or columns (axis 3) of a map."""
    return x[:, :, start:stop] if axis == 2 else x[:, :, :, start:stop]


def merged_tail(chain: nn.Sequential) -> FramedTail | None:
    """The merged form of ``convolution, pixel shuffle, convolutions...``, up to the shuffle; None if more work."""
    first, shuffle, *convs = chain
    assert isinstance(first, nn.Conv2d) and isinstance(shuffle, nn.PixelShuffle)
    scale = shuffle.upscale_factor
    beyond = sum(layer.kernel_size[0] // 2 for layer in convs if isinstance(layer, nn.Conv2d))
    frame = -(-beyond // scale)
    conv = collapse(chain, channels=first.in_channels, radius=first.kernel_size[0] // 2 + frame, scale=scale)
    if work(conv) >= work(first) + scale**2 * sum(work(layer) for layer in convs):
        return None
    unshuffled = nn.Sequential(*chain, nn.PixelUnshuffle(scale))
    return FramedTail(unshuffled, conv, frame=frame, reach=conv.kernel_size[0] // 2, edge=beyond)


def work(layer: nn.Module) -> int:
    """Multiply-adds of a convolution per pixel."""
    assert isinstance(layer, nn.Conv2d)
    return layer.weight.numel()


def collapse(chain: nn.Module, *, channels: int, radius: int, scale: int) -> nn.Conv2d:
    """One convolution to ``C * scale**2`` channels that a pixel shuffle turns into the output of a linear chain.

    Its kernel is the gradient of one input pixel's worth of outputs, so the chain's structure need not be known.

    Args:
        chain: affine map from ``(N, channels, H, W)`` to ``(N, C, H*scale, W*scale)``, the same at every pixel that
            is ``radius`` away from the border.
        channels: of the input.
        radius: reach of the chain in input pixels; outer rings of the kernel that turn out zero are cut off.
        scale: output pixels per input pixel.
    """
    weight, bias = affine_map(
        lambda x: F.pixel_unshuffle(chain(x), scale)[:, :, radius, radius],
        torch.zeros(1, channels, 2 * radius + 1, 2 * radius + 1).to(next(chain.parameters())),
    )
    while weight.shape[2] > 1 and not bool(_rim(weight).any()):
        weight = weight[:, :, 1:-1, 1:-1]
    return convolution(weight, bias)


def affine_map(function: Callable[[Tensor], Tensor], zeros: Tensor) -> tuple[Tensor, Tensor]:
    """Weights ``[K, C, H, W]`` and biases ``[K]`` of an affine function of images, whatever it is made of.

    Args:
        function: from ``(N, C, H, W)`` to ``(N, K)``, each image by itself.
        zeros: ``(1, C, H, W)``, where it is evaluated.
    """
    with torch.no_grad():
        bias = function(zeros)[0]
    with torch.enable_grad():
        x = zeros.repeat(len(bias), 1, 1, 1).requires_grad_()
        (weight,) = torch.autograd.grad(function(x).diagonal().sum(), x)
    return weight, bias


def _rim(weight: Tensor) -> Tensor:
    return torch.cat((weight[:, :, [0, -1]].flatten(), weight[:, :, :, [0, -1]].flatten()))


def convolution(weight: Tensor, bias: Tensor | None, *, groups: int = 1) -> nn.Conv2d:
    """A zero-padded convolution with these values."""
    rows, columns, height, width = weight.shape
    layer = nn.Conv2d(
        columns * groups,
        rows,
        (height, width),
        padding=(height // 2, width // 2),
        groups=groups,
        bias=bias is not None,
    )
    layer.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
    return layer
