"""Magic Kernel Sharp 2021 resampling as the family uses it (section 2.1; kernels by J. P. Costella).

The filters are frozen parameters that belong to the state dict, so whatever a checkpoint stores is used.
The "sharpen" filter is in fact a half-band low-pass: alpha > 0 smooths the image before it is upsampled.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SHARPEN_TAPS = tuple(tap / 32 for tap in (-1, 0, 9, 16, 9, 0, -1))
RESAMPLE_TAPS = tuple(tap / 16 for tap in (1, 4, 6, 4, 1))

KeySet = Literal["A", "A8", "B"]


class SeparableFilter(nn.Module):
    """The same 1-D filter along rows, then along columns, on every channel; zero padded, no bias."""

    def __init__(self, channels: int, taps: tuple[float, ...], *, names: tuple[str, str], buffer: str | None) -> None:
        super().__init__()
        kernel = torch.tensor(taps)
        if buffer is not None:  # stored by some layouts, never read
            self.register_buffer(buffer, kernel.clone())
        self.names, size = names, len(taps)
        for name, shape in zip(names, ((1, size), (size, 1)), strict=True):
            layer = nn.Conv2d(
                channels, channels, shape, padding=(shape[0] // 2, shape[1] // 2), groups=channels, bias=False
            )
            layer.weight.requires_grad_(False).copy_(kernel.reshape(1, 1, *shape))  # `repeat` on meta would load sympy
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        for name in self.names:
            x = self.get_submodule(name)(x)
        return x


class MagicResample(nn.Module):
    """Optional pre-filter, nearest upsampling by ``scale``, then a 5-tap blur at the output resolution.

    Args:
        channels: channels of the image or feature map.
        scale: integer factor; with 1 the blur still runs.
        alpha: ``x + alpha * (S(x) - x)`` before upsampling; 0 skips it.
        keys: names in the state dict. ``A``: sharpen/resample_conv; ``A8``: the same with stored source kernels;
            ``B``: sharp/blur with stored kernels (v9a and later).
    """

    def __init__(self, channels: int, *, scale: int, alpha: float, keys: KeySet) -> None:
        super().__init__()
        self.scale, self.alpha = scale, alpha
        self.first, self.second = ("sharp", "blur") if keys == "B" else ("sharpen", "resample_conv")
        names = ("h", "v") if keys == "B" else ("conv_h", "conv_v")
        buffer = {"A": None, "A8": "source_kernel", "B": "kernel"}[keys]
        self.add_module(self.first, SeparableFilter(channels, SHARPEN_TAPS, names=names, buffer=buffer))
        self.add_module(self.second, SeparableFilter(channels, RESAMPLE_TAPS, names=names, buffer=buffer))

    @property
    def radius(self) -> int:
        """Radius of the pre-filter in input pixels; the blur adds two output pixels."""
        return 3 if self.alpha > 0 else 0

    def forward(self, x: Tensor) -> Tensor:
        x = self.prefilter(x)
        if self.scale != 1:
            x = F.interpolate(x, scale_factor=float(self.scale), mode="nearest")
        return self.get_submodule(self.second)(x)

    def prefilter(self, x: Tensor) -> Tensor:
        """Step one, at the input resolution."""
        if self.alpha <= 0:
            return x
        smooth = self.get_submodule(self.first)(x)
        return smooth if self.alpha == 1 else x + self.alpha * (smooth - x)
