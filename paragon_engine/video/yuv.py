"""Video frames as RGB in float and back, with the file's own matrix, range and bit depth (ITU-T H.273).

Done here, on the device that also runs the network, and not by a scaling library: it is the same with every version of
FFmpeg, loses no bits, and knows where chroma samples lie.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Plane = NDArray[Any]
"""Samples of one plane (rows, columns), uint8 or uint16."""

COEFFICIENTS = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087)}
"""H.273 matrix coefficients -> (Kr, Kb)."""
COEFFICIENTS[9] = (0.2627, 0.0593)
UNSPECIFIED = 2


@dataclass(frozen=True)
class YuvFormat:
    """How a frame stores its colours."""

    bits: int
    """Per sample, 8 to 16."""
    sub: tuple[int, int] | None
    """(x, y) subsampling of chroma: (2, 2) is 4:2:0; None for gray."""
    matrix: int
    """Matrix coefficients, a key of `COEFFICIENTS`."""
    full_range: bool
    """Codes from 0 to the largest; else "TV range", 16 to 235 (240 for chroma) in 8 bits."""
    alpha: bool = False
    """A fourth plane has transparency, in full range."""

    @property
    def pix_fmt(self) -> str:
        """FFmpeg's name of the planar format."""
        depth = "" if self.bits == 8 else f"{self.bits}le"
        if self.sub is None:
            return "gray" + depth
        kind = {(2, 2): "420", (2, 1): "422", (1, 1): "444"}[self.sub]
        return f"yuv{'a' if self.alpha else ''}{kind}p{depth}"

    def _luma(self) -> tuple[float, float]:
        """(code of black, codes from black to white)."""
        unit = 2.0 ** (self.bits - 8)
        return (0.0, 2.0**self.bits - 1) if self.full_range else (16 * unit, 219 * unit)

    def _chroma(self) -> tuple[float, float]:
        """(code of no colour, codes for -0.5..0.5)."""
        unit = 2.0 ** (self.bits - 8)
        return 128 * unit, (2.0**self.bits - 1 if self.full_range else 224 * unit)

    def to_rgb(self, planes: list[Plane], device: torch.device) -> Tensor:
        """Planes of a frame as ``(1, 3, H, W)`` float32 in 0..1 on a device."""
        colours = planes[: 1 if self.sub is None else 3]
        y, *chroma = (torch.from_numpy(plane.astype(np.float32)).to(device)[None, None] for plane in colours)
        black, span = self._luma()
        y = (y - black) / span
        if self.sub is None:
            return y.clamp(0, 1).expand(1, 3, -1, -1)
        middle, width = self._chroma()
        pb, pr = ((_upsampled(c, self.sub, y.shape[-2:]) - middle) / width for c in chroma)
        kr, kb = COEFFICIENTS[self.matrix]
        red, blue = y + 2 * (1 - kr) * pr, y + 2 * (1 - kb) * pb
        green = (y - kr * red - kb * blue) / (1 - kr - kb)
        return torch.cat([red, green, blue], dim=1).clamp(0, 1)

    def alpha_of(self, planes: list[Plane], device: torch.device) -> Tensor:
        """Transparency of a frame's planes as ``(1, 1, H, W)`` float32 in 0..1, 1 is opaque."""
        return torch.from_numpy(planes[3].astype(np.float32)).to(device)[None, None] / (2.0**self.bits - 1)

    def from_alpha(self, alpha: Tensor) -> Plane:
        """The inverse."""
        codes = (alpha[0, 0].float().clamp(0, 1) * (2.0**self.bits - 1) + 0.5).cpu().numpy()
        return codes.astype(np.uint8 if self.bits == 8 else np.uint16)

    def from_rgb(self, rgb: Tensor) -> list[Plane]:
        """The inverse: planes for ``(1, 3, H, W)``; H and W are multiples of the subsampling."""
        colours: Tensor = rgb.float().clamp(0, 1)
        red, green, blue = colours[:, 0:1], colours[:, 1:2], colours[:, 2:3]
        kr, kb = COEFFICIENTS[self.matrix]
        y = kr * red + (1 - kr - kb) * green + kb * blue
        black, span = self._luma()
        planes = [y * span + black]
        if self.sub is not None:
            middle, width = self._chroma()
            differences = torch.cat([(blue - y) / (2 * (1 - kb)), (red - y) / (2 * (1 - kr))], dim=1)
            chroma = _downsampled(differences, self.sub) * width + middle
            planes += [chroma[:, 0:1], chroma[:, 1:2]]
        largest = 2.0**self.bits - 1
        kind = torch.uint8 if self.bits == 8 else torch.int32
        codes: list[Plane] = [(plane + 0.5).clamp(0, largest).to(kind).cpu().numpy()[0, 0] for plane in planes]
        return [code if self.bits == 8 else code.astype(np.uint16) for code in codes]


def _upsampled(c: Tensor, sub: tuple[int, int], size: torch.Size) -> Tensor:
    """Chroma at every luma sample, linearly; samples lie on the left column and between two rows (MPEG-2, H.264)."""
    if sub[0] == 2:
        right = torch.cat([c[..., 1:], c[..., -1:]], dim=3)
        c = torch.stack([c, (c + right) / 2], dim=4).flatten(3)
    if sub[1] == 2:
        padded = F.pad(c, (0, 0, 1, 1), mode="replicate")
        above, below = padded[..., :-2, :], padded[..., 2:, :]
        c = torch.stack([0.75 * c + 0.25 * above, 0.75 * c + 0.25 * below], dim=3).flatten(2, 3)
    return c[..., : size[0], : size[1]]


def _downsampled(c: Tensor, sub: tuple[int, int]) -> Tensor:
    """Chroma at its own places, by the filters that belong to `_upsampled`."""
    if sub[0] == 2:
        padded = F.pad(c, (1, 1, 0, 0), mode="replicate")
        c = (padded[..., 0:-2:2] + 2 * padded[..., 1:-1:2] + padded[..., 2::2]) / 4
    if sub[1] == 2:
        c = (c[..., 0::2, :] + c[..., 1::2, :]) / 2
    return c
