"""Steadier video: each frame's shallow features blended with those of the frames before (the layouts' video hook)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from paragon_arch.networks.v2_release import ParagonSR2Release

from ..tiling import TileSize, upscale_tensor
from ..upscaler import Upscaler
from .cuts import CutDetector

BLEND = 0.2
"""Weight of the frames before, as in the layout's own hook."""


def has_feedback(upscaler: Upscaler) -> bool:
    """Whether the model's layout has the hook (v2-v10 and v2-release)."""
    return isinstance(upscaler.subject.network, ParagonSR2Release)


class Feedback:
    """Upscales the frames of a video in their order, with a memory of the frames before.

    The hook blends the output of the first convolution. That convolution is affine and the weights of the blend add
    up to one, so blending the frames that go into it gives the same; the memory is therefore one frame, and exact
    tiles work as ever: the network is run on six channels, the frame and the blended one.

    Args:
        upscaler: of a layout that `has_feedback`.
        blend: weight of the memory, 0..1.
    """

    def __init__(self, upscaler: Upscaler, blend: float = BLEND) -> None:
        self._blend, self._cut = blend, CutDetector()
        self._memory: Tensor | None = None
        network = upscaler.subject.network
        assert isinstance(network, ParagonSR2Release)
        self._upscaler = upscaler.variant(_Blended(network), (6, 3))

    def remember(self, frame: Tensor) -> Tensor:
        """Take in the next frame and return it blended with the memory, which a cut empties."""
        if self._cut(frame) or self._memory is None:
            self._memory = frame
        else:
            self._memory = frame + self._blend * (self._memory - frame)
        return self._memory

    def __call__(self, frame: Tensor, *, tile: TileSize = "auto") -> Tensor:
        """Upscale ``(1, 3, H, W)`` in 0..1."""
        return upscale_tensor(self._upscaler, torch.cat([frame, self.remember(frame)], dim=1), tile=tile)


class _Blended(nn.Module):
    """The network with the features of one picture (channels 3..5) and the base of another (channels 0..2)."""

    def __init__(self, inner: ParagonSR2Release) -> None:
        super().__init__()
        self.inner, self.scale = inner, inner.scale

    def receptive_field(self) -> int | None:
        return self.inner.receptive_field()

    def forward(self, x: Tensor) -> Tensor:
        inner = self.inner
        deep = inner.conv_mid(inner.body(inner.conv_in(x[:, 3:])))
        return inner.base(x[:, :3]) + inner.conv_out(inner.up(deep)) * inner.detail_gain
