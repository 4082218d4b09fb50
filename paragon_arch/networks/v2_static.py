"""ParagonSR2 without dynamic kernels (section 4.8): feature-space Magic upsampling and a head at output resolution."""

from __future__ import annotations

from torch import Tensor, nn

from .base import SRNetwork, Traits, records_hyperparameters
from .layers import HRBlock, InceptionContext, conv
from .magic import MagicResample
from .static_block import StaticBlock
from .v1 import ResidualGroup


class ParagonSR2Static(SRNetwork):
    """ParagonSR2 of layout v2-static.

    Args:
        scale: any integer >= 1.
        num_feat: feature channels F.
        num_groups, num_blocks: groups and blocks in each group.
        hidden: width of the transformers.
        branch, square, band: see `InceptionContext`.
        alpha: strength of the Magic resampler's pre-filter.
        channel_mod: blocks have a channel gate pooled over the whole image.
        hr_blocks: residual blocks at the output resolution.
        use_norm: blocks end in, and the head's blocks start with, a parameter-free GroupNorm (not in a state dict).
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
        hr_blocks: int = 1,
        use_norm: bool = True,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        self.scale, self.alpha = scale, alpha
        self.channel_mod, self.use_norm = channel_mod, use_norm

        def block() -> StaticBlock:
            return StaticBlock(
                num_feat,
                context=InceptionContext(num_feat, branch=branch, square=square, band=band),
                hidden=hidden,
                channel_mod=channel_mod,
                norm="group" if use_norm else None,
            )

        self.conv_in = conv(in_channels, num_feat)
        self.body = nn.Sequential(*(ResidualGroup(*(block() for _ in range(num_blocks))) for _ in range(num_groups)))
        self.conv_fuse = conv(num_feat, num_feat)
        self.magic_upsampler = MagicResample(num_feat, scale=scale, alpha=alpha, keys="A")
        self.hr_conv_in = conv(num_feat, num_feat)
        self.hr_head = nn.Sequential(*(HRBlock(num_feat, norm=use_norm) for _ in range(hr_blocks)))
        self.conv_out = conv(num_feat, in_channels)

    @property
    def traits(self) -> Traits:
        pooled = self.channel_mod or self.use_norm
        return Traits(global_statistics=pooled, half=not self.use_norm, bfloat16=self.magic_upsampler.alpha <= 0)

    def receptive_field(self) -> int | None:
        if self.traits.global_statistics:
            return None
        blocks = sum(module.radius for module in self.modules() if isinstance(module, StaticBlock))
        head = sum(module.radius for module in self.modules() if isinstance(module, HRBlock))
        # in output pixels: blur 2, hr_conv_in 1, conv_out 1
        return 2 + blocks + self.magic_upsampler.radius + -(-(4 + head) // self.scale)

    def forward(self, x: Tensor) -> Tensor:
        """Upscale ``(N, C, H, W)`` to ``(N, C, H*scale, W*scale)``."""
        shallow = self.conv_in(x)
        features = self.conv_fuse(self.body(shallow)) + shallow
        return self.conv_out(self.hr_head(self.hr_conv_in(self.magic_upsampler(features))))
