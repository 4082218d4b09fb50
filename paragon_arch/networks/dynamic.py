"""Transformers with content-dependent depthwise kernels, and the static kernels they leave (sections 3.3, 4.5 to 4.7).

In training each sample gets its own 3x3 kernels from a generator, and their running mean is tracked; evaluation uses
the tracked kernel, or the identity where none was ever tracked.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import global_average
from .layers import conv, depthwise, lrelu
from .reparam import ReparamDepthwise

KERNEL_MOMENTUM = 0.05
"""Weight of the newest batch in the tracked kernel."""

DynamicMode = Literal["full", "cheap", "off"]


class GlobalAverage(nn.Module):
    """`global_average` as a module."""

    def forward(self, x: Tensor) -> Tensor:
        return global_average(x)


class KernelGenerator(nn.Module):
    """Predicts one 3x3 depthwise kernel per channel and sample from the channel means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.predictor = nn.Sequential(
            GlobalAverage(), conv(channels, channels, 1), nn.ReLU(), conv(channels, 9 * channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(N, c, H, W)`` -> ``(N, c, 3, 3)``."""
        return self.predictor(x).reshape(x.shape[0], x.shape[1], 3, 3)


class ChannelGate(nn.Module):
    """Squeeze-and-excitation: ``x * sigmoid(net(x))`` with the channel means of the whole image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // 4)
        self.net = nn.Sequential(GlobalAverage(), conv(channels, hidden, 1), nn.ReLU(), conv(hidden, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.net(x))


def per_sample_depthwise(x: Tensor, kernels: Tensor) -> Tensor:
    """Convolve ``(N, c, H, W)`` with kernels ``(N, c, 3, 3)``, zero padded."""
    batch, channels, height, width = x.shape
    flat = x.reshape(1, batch * channels, height, width)
    out = F.conv2d(flat, kernels.reshape(batch * channels, 1, 3, 3), padding=1, groups=batch * channels)
    return out.reshape(batch, channels, height, width)


class ReparamTransformer(nn.Module):
    """The first form: dynamic kernels in training, an unrelated re-parameterised convolution in evaluation."""

    def __init__(self, channels: int, hidden: int, *, activation: Literal["mish", "lrelu"], fused: bool) -> None:
        super().__init__()
        self.activate = F.mish if activation == "mish" else lrelu
        self.project_in = conv(channels, hidden, 1)
        self.kernel_generator = KernelGenerator(hidden)
        self.dynamic_conv = depthwise(hidden) if fused else ReparamDepthwise(hidden)
        self.project_out = conv(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.project_in(x)
        x = per_sample_depthwise(x, self.kernel_generator(x)) if self.training else self.dynamic_conv(x)
        return self.project_out(self.activate(x))


class TrackedTransformer(nn.Module):
    """Dynamic kernels in training, their tracked mean in evaluation.

    Args:
        mode: "full" as above; "cheap" replaces the kernels by a channel gate, "off" by nothing (section 4.7).
        fused: leave the kernel generator out and stay static for good.
        interval: the kernel is tracked on every ``interval``-th training step.

    Attributes:
        dynamic_inference: use the dynamic path in evaluation too (needs the generator).
        momentum: see `KERNEL_MOMENTUM`; 0 or less keeps the newest kernel.
    """

    identity_kernel: Tensor
    tracked_kernel: Tensor
    tracked_initialized: Tensor

    def __init__(
        self, channels: int, hidden: int, *, mode: DynamicMode = "full", fused: bool = False, interval: int = 1
    ) -> None:
        super().__init__()
        self.mode, self.static_mode, self.interval, self.steps = mode, fused, interval, 0
        self.dynamic_inference = False
        self.momentum = KERNEL_MOMENTUM
        self.project_in = conv(channels, hidden, 1)
        self.kernel_generator = KernelGenerator(hidden) if mode == "full" and not fused else None
        self.cheap_dynamic = ChannelGate(hidden) if mode == "cheap" else None
        identity = torch.zeros(hidden, 1, 3, 3)
        identity[:, :, 1, 1] = 1
        self.register_buffer("identity_kernel", identity)
        self.register_buffer("tracked_kernel", torch.zeros(hidden, 1, 3, 3))
        self.register_buffer("tracked_initialized", torch.tensor(False))
        self.project_out = conv(hidden, channels, 1)

    @property
    def is_dynamic(self) -> bool:
        """The next forward pass depends on content through more than convolutions."""
        return (self.training or self.dynamic_inference) and not self.static_mode

    def static_kernel(self) -> Tensor:
        """The kernel ``[h, 1, 3, 3]`` of evaluation."""
        return torch.where(self.tracked_initialized, self.tracked_kernel, self.identity_kernel)

    def forward(self, x: Tensor) -> Tensor:
        x = self.project_in(x)
        if self.is_dynamic:
            x = self._dynamic(x)
        else:
            x = F.conv2d(x, self.static_kernel(), padding=1, groups=x.shape[1])
        return self.project_out(lrelu(x))

    def _dynamic(self, x: Tensor) -> Tensor:
        if self.cheap_dynamic is not None:
            return self.cheap_dynamic(x)
        if self.kernel_generator is None:
            return x
        kernels = self.kernel_generator(x)
        if self.training:
            if self.steps % self.interval == 0:
                self.track(kernels.detach().mean(dim=0).unsqueeze(1))
            self.steps += 1
        return per_sample_depthwise(x, kernels)

    @torch.no_grad()
    def track(self, kernel: Tensor) -> None:
        """Move the tracked kernel towards ``kernel`` ``[h, 1, 3, 3]``; the first one is copied."""
        kernel = kernel.to(self.tracked_kernel.dtype)
        if bool(self.tracked_initialized) and self.momentum > 0:
            self.tracked_kernel.lerp_(kernel, self.momentum)
        else:
            self.tracked_kernel.copy_(kernel)
            self.tracked_initialized.fill_(True)

    def make_static(self) -> None:
        """Drop the generator for good."""
        self.kernel_generator = None
        self.static_mode = True
