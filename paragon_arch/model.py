"""A model ready to run, without spandrel, whose import takes longer than that of torch itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch
import torch.nn.functional as F
from torch import Tensor

from .inspection import Inspection
from .layouts.base import Layout
from .loading import Opened
from .networks.base import SRNetwork

SMALLEST_SIDE = 8
"""Smallest side that layouts without windows should be fed with; smaller pictures are mostly border."""


@dataclass(frozen=True)
class SizeNeeds:
    """Sizes that a network of the family takes."""

    minimum: int
    """Smallest height and width; a multiple of ``multiple_of``."""
    multiple_of: int = 1

    def get_padding(self, width: int, height: int) -> tuple[int, int]:
        """Columns and rows that a picture of a size must get in addition."""
        wanted = (-(-max(self.minimum, side) // self.multiple_of) * self.multiple_of for side in (width, height))
        return next(wanted) - width, next(wanted) - height


class TilingAdvice(Enum):
    """How well a network stands being run in tiles. The names are those of spandrel's ``ModelTiling``."""

    SUPPORTED = 1
    DISCOURAGED = 2


class FamilyModel:
    """A network of the family, what is known about it, and what running it needs.

    spandrel's descriptor of the same network is `paragon_arch.ParagonModelDescriptor`, made from the same `Opened`.
    """

    def __init__(self, opened: Opened) -> None:
        self.model: SRNetwork = opened.network
        self.layout: Layout = opened.layout
        self.report: Inspection = opened.report
        self.scale: int = opened.network.scale
        self.input_channels: int = channels_of(opened.network)
        self.output_channels: int = self.input_channels
        self.size_requirements: SizeNeeds = size_needs(opened.network)
        self.tiling: TilingAdvice = tiling_advice(opened.network)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Of the parameters."""
        return next(self.model.parameters()).dtype

    def to(self, device: torch.device | str) -> FamilyModel:
        """Move the network to a device; returns the same object."""
        self.model.to(device)
        return self

    @torch.inference_mode()
    def __call__(self, image: Tensor) -> Tensor:
        """Upscale a batch, padded to a size that the network takes and cropped again.

        Args:
            image: ``(N, C, H, W)`` in 0..1, on the device and of the type of the network.

        Returns:
            ``(N, C, H*scale, W*scale)`` in 0..1.
        """
        height, width = image.shape[-2:]
        columns, rows = self.size_requirements.get_padding(width, height)
        result: Tensor = self.model(padded(image, (height + rows, width + columns))).clamp_(0, 1)
        return result[..., : height * self.scale, : width * self.scale] if rows or columns else result


def channels_of(network: SRNetwork) -> int:
    """Channels of the images that a network takes and gives."""
    return int(network.hyperparameters.get("in_channels", 3))


def size_needs(network: SRNetwork) -> SizeNeeds:
    """What callers should pad a picture to, by mirroring.

    Whole windows: where a picture is no multiple of its window, the network alone pads with zeros. But a network that
    averages over the whole picture would average over the padding too, and every pixel would change: it gets the
    picture as it is.
    """
    window = network.traits.window
    if window is None or network.traits.global_statistics:
        return SizeNeeds(max(SMALLEST_SIDE, network.minimum_size))
    return SizeNeeds(window, window)


def tiling_advice(network: SRNetwork) -> TilingAdvice:
    """Statistics of the whole image make tiles an approximation, unless they are exact."""
    return TilingAdvice.DISCOURAGED if network.traits.global_statistics else TilingAdvice.SUPPORTED


def tiles_itself(tiling: Enum) -> bool:
    """Whether a model (of another family) cuts images into tiles by itself."""
    return tiling.name == "INTERNAL"


def padded(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Extend a batch to (height, width) at the bottom and right, as spandrel does: mirrored, then repeated."""
    for mode in ("reflect", "replicate"):
        height, width = x.shape[-2:]
        down, right = size[0] - height, size[1] - width
        if mode == "reflect":  # which has no more than this to mirror
            down, right = min(down, height - 1), min(right, width - 1)
        if down or right:
            x = F.pad(x, (0, right, 0, down), mode=mode)
    return x
