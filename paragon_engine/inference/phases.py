"""A blurred, activated head without a map at the output resolution: each phase of the pixel grid is a map of its own.

Of ``scale**2`` phases, phase (r, c) holds the output pixels ``(scale * y + r, scale * x + c)``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .tails import convolution


class PhasedHead(nn.Module):
    """``leave(activate(blur(shuffle(enter(x)))))``, with the shuffle never carried out.

    Args:
        enter: convolution to ``c * scale**2`` channels.
        rows, columns: depthwise filters along rows and columns, the last with a bias.
        activation: what follows, pixel by pixel.
        leave: convolution of stride ``scale`` from ``c`` channels.
    """

    def __init__(
        self, enter: nn.Conv2d, rows: nn.Conv2d, columns: nn.Conv2d, activation: nn.Module, leave: nn.Conv2d
    ) -> None:
        super().__init__()
        self.scale = scale = leave.stride[0]
        weight = enter.weight.detach()
        self.enter = nn.ModuleList(convolution(weight[phase :: scale**2], None) for phase in range(scale**2))
        self.rows = _filters(rows.weight.detach()[:, 0, 0], None, scale, axis=1)
        assert columns.bias is not None and leave.bias is not None
        self.columns = _filters(columns.weight.detach()[:, 0, :, 0], columns.bias, scale, axis=0)
        # ONNX Runtime fuses most activations with a convolution alone, not with a sum, and else converts the layout
        same = convolution(weight.new_ones(leave.in_channels, 1, 1, 1), None, groups=leave.in_channels)
        self.activation = nn.Sequential(same, activation)
        self.leave = _leaving(leave, scale)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, F, H, W)`` to what ``leave`` puts out, ``(N, C*scale**2, H, W)``."""
        s = self.scale
        phases = [layer(x) for layer in self.enter]
        phases = [_total(self.rows[c], phases[r * s : r * s + s]) for r in range(s) for c in range(s)]
        phases = [_total(self.columns[r], phases[c::s]) for r in range(s) for c in range(s)]
        return _total(self.leave, [self.activation(phase) for phase in phases])


def _total(layers: nn.Module, inputs: list[Tensor]) -> Tensor:
    """Sum of layers, each on its own input; an identity stands for a layer that is zero."""
    assert isinstance(layers, nn.ModuleList)
    parts = [layer(x) for layer, x in zip(layers, inputs, strict=True) if isinstance(layer, nn.Conv2d)]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _filters(kernel: Tensor, bias: Tensor | None, scale: int, *, axis: int) -> nn.ModuleList:
    """For each phase of the result, one filter for each phase of the input, along one axis.

    Args:
        kernel: taps at the output resolution for every channel, ``[c, k]``.
        bias: goes into each phase's first filter.
        scale: number of phases along the axis.
        axis: 0 for columns, 1 for rows.
    """
    channels, size = kernel.shape
    reach = -(-(size // 2) // scale)
    result = nn.ModuleList()
    for target in range(scale):
        taps = kernel.new_zeros(scale, channels, 2 * reach + 1)
        for tap in range(size):
            offset, source = divmod(target + tap - size // 2, scale)
            taps[source, :, offset + reach] = kernel[:, tap]
        shaped = taps[:, :, None, None, :] if axis == 1 else taps[:, :, None, :, None]
        biases = [bias, *[None] * (scale - 1)]
        layers = [convolution(w, b, groups=channels) for w, b in zip(shaped, biases, strict=True)]
        result.append(nn.ModuleList(layers))
    return result


def _leaving(leave: nn.Conv2d, scale: int) -> nn.ModuleList:
    """A convolution of stride ``scale`` as one for each phase of its input; the first has the bias."""
    before = leave.padding[0]
    assert isinstance(before, int)
    weight = leave.weight.detach()
    reach = -(-before // scale)
    side = 2 * reach + 1
    wide = torch.zeros(*weight.shape[:2], side * scale, side * scale).to(weight)
    start = reach * scale - before
    wide[:, :, start : start + weight.shape[2], start : start + weight.shape[3]] = weight
    layers = nn.ModuleList()
    for phase in range(scale**2):
        own = wide[:, :, phase // scale :: scale, phase % scale :: scale]
        layers.append(convolution(own, leave.bias if phase == 0 else None))
    return layers
