"""Re-parameterised depthwise convolutions: several branches in training, one 3x3 convolution in evaluation.

Evaluation merges the branches on the fly and stores nothing, so copies made by an EMA are always right
(section 2.4; the idea is that of RepVGG, Ding et al. 2021).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import depthwise

Kernel = tuple[Tensor, Tensor]
"""Weight ``[c, 1, 3, 3]`` and bias ``[c]`` of a depthwise convolution."""


def centred(weight: Tensor) -> Tensor:
    """A 1x1 kernel as a 3x3 kernel."""
    return F.pad(weight, (1, 1, 1, 1))


def bias_of(layer: nn.Conv2d) -> Tensor:
    """The bias of a convolution that was built with one."""
    assert layer.bias is not None
    return layer.bias


class ReparamDepthwise(nn.Module):
    """Sum of a 3x3, a 1x1 and a second 3x3 depthwise convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv3x3 = depthwise(channels)
        self.conv1x1 = depthwise(channels, 1)
        self.dw_conv3x3 = depthwise(channels)

    def kernel(self) -> Kernel:
        """The equivalent single kernel."""
        weight = self.conv3x3.weight + centred(self.conv1x1.weight) + self.dw_conv3x3.weight
        return weight, bias_of(self.conv3x3) + bias_of(self.conv1x1) + bias_of(self.dw_conv3x3)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return self.conv3x3(x) + self.conv1x1(x) + self.dw_conv3x3(x)
        weight, bias = self.kernel()
        return F.conv2d(x, weight, bias, padding=1, groups=weight.shape[0])

    def merged(self) -> nn.Conv2d:
        """The equivalent convolution as a new module."""
        weight, bias = self.kernel()
        layer = depthwise(weight.shape[0]).to(weight)
        with torch.no_grad():
            layer.weight.copy_(weight)
            bias_of(layer).copy_(bias)
        return layer.train(self.training)


class CachedReparam(nn.Module):
    """The form of 2025-10-26: the merged kernel is itself part of the state dict, with a flag that says if it is valid.

    ``batch_norm`` adds the identity branch of the first day: a BatchNorm merged into the centre tap.
    """

    _is_fused: Tensor

    def __init__(self, channels: int, *, batch_norm: bool) -> None:
        super().__init__()
        self.conv3x3 = depthwise(channels)
        self.conv1x1 = depthwise(channels, 1)
        self.identity = nn.BatchNorm2d(channels) if batch_norm else None
        self.fused_conv = depthwise(channels)
        self.register_buffer("_is_fused", torch.tensor(False))

    def kernel(self) -> Kernel:
        """The kernel of evaluation: the stored one if its flag is set, else the merged branches."""
        weight = self.conv3x3.weight + centred(self.conv1x1.weight)
        bias = bias_of(self.conv3x3) + bias_of(self.conv1x1)
        if self.identity is not None:
            gain, shift = _affine(self.identity)
            weight = weight + centred(gain.view(-1, 1, 1, 1))
            bias = bias + shift
        # `where` instead of `if`: no synchronisation, and the graph exports
        stored = self._is_fused
        return torch.where(stored, self.fused_conv.weight, weight), torch.where(stored, bias_of(self.fused_conv), bias)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            out = self.conv3x3(x) + self.conv1x1(x)
            return out if self.identity is None else out + self.identity(x)
        weight, bias = self.kernel()
        return F.conv2d(x, weight, bias, padding=1, groups=weight.shape[0])


def _affine(norm: nn.BatchNorm2d) -> Kernel:
    """Gain and shift per channel of a BatchNorm in evaluation."""
    assert norm.running_mean is not None and norm.running_var is not None
    gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return gain, norm.bias - norm.running_mean * gain


def merge_branches(module: nn.Module) -> None:
    """Replace every `ReparamDepthwise` below ``module`` by its merged convolution, in place."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, ReparamDepthwise):
                setattr(parent, name, child.merged())
