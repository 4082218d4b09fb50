"""ParagonSR2 hybrids (sections 4.9 to 4.13): a Magic base image plus one learned detail image, blocks of v2-static."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .base import SRNetwork, Traits, records_hyperparameters
from .layers import InceptionContext, ShuffleConv, conv
from .magic import MagicResample
from .static_block import Attention, PostNorm, StaticBlock
from .v1 import ResidualGroup


class DenseGroup(nn.Module):
    """A chain of blocks whose input and every output are concatenated and projected; with a skip connection."""

    def __init__(self, channels: int, *blocks: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.dense_proj = conv(channels * (len(blocks) + 1), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        outputs = [x]
        for block in self.blocks:
            outputs.append(block(outputs[-1]))
        return x + self.dense_proj(torch.cat(outputs, dim=1))


class ContentGain(nn.Module):
    """One factor per image, 0.05 to 0.20, for its detail; from the image itself, ``(N, 1, 1, 1)``."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        first, second = channels // 4, channels // 2
        self.content_analyzer = nn.Sequential(
            conv(in_channels, first),
            nn.LeakyReLU(0.1),
            conv(first, second, 5),
            nn.LeakyReLU(0.1),
            conv(second, second, 7),
            nn.LeakyReLU(0.1),
            nn.AdaptiveAvgPool2d(1),
            conv(second, 1, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return 0.05 + 0.15 * (1 - self.content_analyzer(x))


class ParagonSR2Hybrid(SRNetwork):
    """ParagonSR2 of layouts v2-hybrid-gn, v2-hybrid-rms, v2-hybrid-dense and v2-hybrid-attn.

    Args:
        scale: 2, 3, 4 or 8 in official models; any integer >= 1 works.
        num_feat: feature channels F.
        num_groups, num_blocks: groups and blocks in each group.
        hidden: width of the transformers.
        branch, square, band: see `InceptionContext`.
        alpha: strength of the base's pre-filter.
        channel_mod: blocks have a channel gate pooled over the whole image.
        norm: form of the norm that ends each block.
        use_norm: whether there is one; not in a state dict for the form "group".
        dense: groups concatenate and project the outputs of their blocks.
        attention: attention of the transformers; "global" and "window" have the same weights.
        content_gain: the detail image has a factor that depends on the image.
    """

    @records_hyperparameters
    def __init__(
        self,
        *,
        scale: int,
        num_feat: int,
        num_groups: int,
        num_blocks: int,
        hidden: int,
        branch: int,
        square: int = 3,
        band: int = 11,
        alpha: float = 0.5,
        channel_mod: bool = True,
        norm: PostNorm = "group",
        use_norm: bool = True,
        dense: bool = False,
        attention: Attention | None = "window",
        content_gain: bool = False,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        self.scale, self.alpha, self.group_norm = scale, alpha, use_norm and norm == "group"

        def group() -> nn.Module:
            blocks = (
                StaticBlock(
                    num_feat,
                    context=InceptionContext(num_feat, branch=branch, square=square, band=band),
                    hidden=hidden,
                    channel_mod=channel_mod,
                    norm=norm if use_norm else None,
                    attention=attention,
                )
                for _ in range(num_blocks)
            )
            return DenseGroup(num_feat, *blocks) if dense else ResidualGroup(*blocks)

        self.magic_upsampler = MagicResample(in_channels, scale=scale, alpha=alpha, keys="A")
        self.conv_in = conv(in_channels, num_feat)
        self.body = nn.Sequential(*(group() for _ in range(num_groups)))
        self.conv_fuse = conv(num_feat, num_feat)
        self.upsampler_net = ShuffleConv(num_feat, scale)
        self.conv_out = conv(num_feat, in_channels)
        self.content_processor = ContentGain(in_channels, num_feat) if content_gain else None

    def _blocks(self) -> list[StaticBlock]:
        return [module for module in self.modules() if isinstance(module, StaticBlock)]

    @property
    def traits(self) -> Traits:
        """Overlapping windows count as a global statistic: where they lie depends on the size of the image."""
        pooled = self.content_processor is not None or any(block.pooled for block in self._blocks())
        return Traits(global_statistics=pooled, half=not self.group_norm)

    def receptive_field(self) -> int | None:
        if self.traits.global_statistics:
            return None
        # conv_in, conv_fuse and up_conv are one pixel each; conv_out reaches one output pixel further
        detail = 3 + sum(block.radius for block in self._blocks()) + 1
        return max(detail, self.magic_upsampler.radius + -(-2 // self.scale))

    def forward(self, x: Tensor) -> Tensor:
        """Upscale ``(N, C, H, W)`` to ``(N, C, H*scale, W*scale)``."""
        body = self.body(self.conv_in(x))
        detail = self.conv_out(self.upsampler_net(self.conv_fuse(body) + body))
        if self.content_processor is not None:
            detail = detail * self.content_processor(x)
        return self.magic_upsampler(x) + detail
