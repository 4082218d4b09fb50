"""Dual-path ParagonSR2 of December 2025: a Magic base image plus one learned detail image (3.5, 3.6, 4.14, 4.15)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import SRNetwork, Traits, records_hyperparameters
from .layers import ShuffleConv, conv
from .magic import KeySet, MagicResample
from .v1 import ResidualGroup
from .v2_dualpath_blocks import (
    BiasedWindowAttention,
    ConvWindowAttention,
    DetailGate,
    GateBlock,
    MultiScaleGroup,
    NanoBlock,
    ParagonBlock,
    StagedUpsampler,
)

BlockType = Literal["nano", "gate", "paragon"]
RevisionName = Literal["rgbgate", "v6", "v7", "v8"]


@dataclass(frozen=True)
class Revision:
    """What changed between the four revisions."""

    base_keys: KeySet = "A"
    """Names of the Magic filters in the state dict."""
    image_gate: bool = False
    """The gate is computed from the image and applied to the detail image; else from and to the features."""
    later: bool = True
    """v6 and after: shifted windows, x4 and x8 upsampling in stages, a learned gain of the detail image."""
    multi_scale: bool = False
    """Groups end in a multi-scale fusion, and attention has a context and a position bias."""


REVISIONS: dict[RevisionName, Revision] = {
    "rgbgate": Revision(image_gate=True, later=False),
    "v6": Revision(),
    "v7": Revision(multi_scale=True),
    "v8": Revision(multi_scale=True, base_keys="A8"),
}


class ParagonSR2DualPath(SRNetwork):
    """ParagonSR2 of layouts v2-dualpath-rgbgate, -v6, -v7 and -v8.

    Args:
        scale: 2, 3, 4 or 8 in official models; any integer >= 1 works.
        revision: one of `REVISIONS`.
        block: block type.
        num_feat: feature channels.
        num_groups, num_blocks: groups and blocks in each group.
        alpha: strength of the base's pre-filter.
        band: length of the row and column kernels of the blocks' context; needed by "paragon", None for a plain
            context of "gate", no meaning for "nano".
        gated: detail is weighted pixel by pixel.
        window_size: side of the attention windows of "paragon" blocks; None builds them without attention.
    """

    @records_hyperparameters
    def __init__(
        self,
        *,
        scale: int,
        revision: RevisionName,
        block: BlockType,
        num_feat: int,
        num_groups: int,
        num_blocks: int,
        alpha: float = 0.4,
        band: int | None = None,
        gated: bool = True,
        window_size: int | None = 32,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        self.scale, self.alpha, self.revision = scale, alpha, REVISIONS[revision]
        self.window_size = window_size if block == "paragon" else None
        options = self.revision

        def attention(index: int) -> nn.Module | None:
            if window_size is None:
                return None
            shift = window_size // 2 if options.later and index % 2 else 0
            kind = BiasedWindowAttention if options.multi_scale else ConvWindowAttention
            return kind(2 * num_feat, window=window_size, shift=shift)

        def make_block(index: int) -> nn.Module:
            if block == "nano":
                return NanoBlock(num_feat)
            if block == "gate":
                return GateBlock(num_feat, band=band)
            return ParagonBlock(num_feat, band=band or 11, attention=attention(index))

        def group(index: int) -> nn.Module:
            blocks = (make_block(index * num_blocks + j) for j in range(num_blocks))
            return MultiScaleGroup(num_feat, *blocks) if options.multi_scale else ResidualGroup(*blocks)

        self.base_upsampler = MagicResample(in_channels, scale=scale, alpha=alpha, keys=options.base_keys)
        self.conv_in = conv(in_channels, num_feat)
        self.body = nn.Sequential(*(group(index) for index in range(num_groups)))
        self.conv_fuse = conv(num_feat, num_feat)
        staged = options.later and scale in (4, 8)
        self.detail_upsampler = StagedUpsampler(num_feat, scale) if staged else ShuffleConv(num_feat, scale)
        self.conv_out = conv(num_feat, in_channels)
        gate_input = in_channels if options.image_gate else num_feat
        self.content_processor = DetailGate(gate_input, num_feat) if gated else None
        self.global_detail_gain = nn.Parameter(torch.tensor(0.1)) if options.later else None

    def _blocks(self) -> list[NanoBlock | GateBlock | ParagonBlock]:
        return [module for module in self.modules() if isinstance(module, (NanoBlock, GateBlock, ParagonBlock))]

    @property
    def traits(self) -> Traits:
        return Traits(global_statistics=any(block.pooled for block in self._blocks()), window=self.window_size)

    def receptive_field(self) -> int | None:
        if self.traits.global_statistics:
            return None
        groups = sum(module.radius for module in self.modules() if isinstance(module, MultiScaleGroup))
        body = 1 + sum(block.radius for block in self._blocks()) + groups  # conv_in is one pixel
        return max(body + self._detail_radius(), self._base_radius())

    def tail_radius(self) -> int:
        """Reach in input pixels of all that follows the body: from `conv_fuse` on, and the base and its gate."""
        return max(self._detail_radius(), self._base_radius())

    def _detail_radius(self) -> int:
        gate = self.content_processor
        feature_gate = 0 if gate is None or self.revision.image_gate else gate.radius
        return 1 + feature_gate + -(-self._upsampling_radius() // self.scale)  # conv_fuse is one pixel

    def _base_radius(self) -> int:
        gate = self.content_processor
        image_gate = 0 if gate is None or not self.revision.image_gate else gate.radius + 1
        return max(self.base_upsampler.radius + -(-2 // self.scale), image_gate)

    def _upsampling_radius(self) -> int:
        """Reach of the detail upsampler and conv_out in output pixels."""
        if isinstance(self.detail_upsampler, ShuffleConv):
            return self.scale + 1
        stages = self.scale.bit_length() - 1
        # the first stage works on input pixels; every later one has two convolutions on pixels half as large
        return self.scale + sum(2 * (self.scale >> stage) for stage in range(1, stages)) + 1

    def forward(self, x: Tensor) -> Tensor:
        """Upscale ``(N, C, H, W)`` to ``(N, C, H*scale, W*scale)``."""
        body = self.body(self.conv_in(x))
        features = self.conv_fuse(body) + body
        if self.content_processor is not None and not self.revision.image_gate:
            features = features * self.content_processor(features)
        detail = self.conv_out(self.detail_upsampler(features))
        if self.global_detail_gain is not None:
            detail = detail * self.global_detail_gain
        if self.content_processor is not None and self.revision.image_gate:
            gate = self.content_processor(x)
            detail = detail * F.interpolate(gate, scale_factor=float(self.scale), mode="bilinear", align_corners=False)
        return self.base_upsampler(x) + detail
