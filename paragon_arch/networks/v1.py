"""ParagonSR, the first generation (sections 3.1, 3.2 and 4.1 to 4.4)."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from .base import SRNetwork, Traits, records_hyperparameters
from .layers import GlobalGroupNorm, InceptionContext, LayerScale, conv, depthwise
from .magic import MagicResample
from .reparam import CachedReparam, ReparamDepthwise, merge_branches

Tail = Literal["pixelshuffle", "nearest", "magic"]
Mixer = Literal["reparam", "cached", "cached-bn"]


class PixelLayerNorm(nn.LayerNorm):
    """LayerNorm over the channels of each pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-5)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name of the base class
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class GatedFFN(nn.Module):
    """``project_out(Mish(mixer(project_in_g(x))) * project_in_i(x))``."""

    def __init__(self, channels: int, hidden: int, mixer: nn.Module) -> None:
        super().__init__()
        self.project_in_g = conv(channels, hidden, 1)
        self.project_in_i = conv(channels, hidden, 1)
        self.spatial_mixer = mixer
        self.project_out = conv(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.project_out(F.mish(self.spatial_mixer(self.project_in_g(x))) * self.project_in_i(x))


class ParagonBlock(nn.Module):
    """Normalised inception context, then a normalised gated feed-forward network, both residual."""

    def __init__(
        self,
        channels: int,
        *,
        transformer: nn.Module,
        context: InceptionContext,
        norm: type[nn.Module],
        layer_scale: bool,
    ) -> None:
        super().__init__()
        self.norm1, self.norm2 = norm(channels), norm(channels)
        self.context = context
        self.transformer = transformer
        self.ls1 = LayerScale(channels, flat=True) if layer_scale else nn.Identity()
        self.ls2 = LayerScale(channels, flat=True) if layer_scale else nn.Identity()
        self.radius = context.radius + 1

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.context(self.norm1(x)))
        return x + self.ls2(self.transformer(self.norm2(x)))


class ResidualGroup(nn.Module):
    """A chain of blocks with a skip connection around it."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x) + x


class ParagonSR(SRNetwork):
    """ParagonSR of layouts v1-pixelshuffle, v1-magic, v1-nearest, v1-prels, v1-ln and v1-ln-bn.

    Args:
        scale: any integer >= 1.
        num_feat: feature channels F.
        num_groups, num_blocks: groups and blocks in each group.
        hidden: width of the feed-forward network.
        branch, square, band: see `InceptionContext`.
        tail: how features are upsampled.
        norm: statistics over the whole image ("group") or of each pixel ("layer").
        mixer: "reparam" has three branches; "cached" and "cached-bn" are the forms of the first days.
        layer_scale: residual branches are scaled per channel.
        alpha: strength of the Magic resampler's pre-filter; the original always used 1.
        fused: build the structure that fusing leaves.
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
        tail: Tail = "pixelshuffle",
        norm: Literal["group", "layer"] = "group",
        mixer: Mixer = "reparam",
        layer_scale: bool = True,
        alpha: float = 1.0,
        fused: bool = False,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        self.fusible = mixer == "reparam"
        self.scale, self.fused = scale, fused and self.fusible
        self.alpha = alpha if tail == "magic" else None
        self.norm, self.tail = norm, tail

        def make_mixer() -> nn.Module:
            if mixer != "reparam":
                return CachedReparam(hidden, batch_norm=mixer == "cached-bn")
            return depthwise(hidden) if fused else ReparamDepthwise(hidden)

        def block() -> ParagonBlock:
            return ParagonBlock(
                num_feat,
                transformer=GatedFFN(num_feat, hidden, make_mixer()),
                context=InceptionContext(num_feat, branch=branch, square=square, band=band),
                norm=GlobalGroupNorm if norm == "group" else PixelLayerNorm,
                layer_scale=layer_scale,
            )

        self.conv_in = conv(in_channels, num_feat)
        self.body = nn.Sequential(*(ResidualGroup(*(block() for _ in range(num_blocks))) for _ in range(num_groups)))
        self.conv_fuse = conv(num_feat, num_feat)
        if tail == "magic":
            self.magic_upsampler = MagicResample(num_feat, scale=scale, alpha=alpha, keys="A")
            self.upsampler = nn.Sequential(conv(num_feat, num_feat))
        elif tail == "nearest":
            up = nn.Upsample(scale_factor=float(scale), mode="nearest") if scale > 1 else nn.Identity()
            self.upsampler = nn.Sequential(up, conv(num_feat, num_feat))
        else:
            self.upsampler = nn.Sequential(conv(num_feat, num_feat * scale**2), nn.PixelShuffle(scale))
        self.conv_out = conv(num_feat, in_channels)

    @property
    def traits(self) -> Traits:
        pooled = self.norm == "group"
        return Traits(global_statistics=pooled, half=not pooled)

    def receptive_field(self) -> int | None:
        if self.traits.global_statistics:
            return None
        blocks = sum(module.radius for module in self.modules() if isinstance(module, ParagonBlock))
        inner, outer = (1, 1) if self.tail == "pixelshuffle" else (0, 2)  # radius before, after upsampling
        if self.tail == "magic":
            inner, outer = self.magic_upsampler.radius, 4
        return 2 + blocks + inner + -(-outer // self.scale)

    def fuse_(self) -> None:
        if self.fusible and not self.fused:
            merge_branches(self)
            self.fused = self.hyperparameters["fused"] = True

    def forward(self, x: Tensor) -> Tensor:
        """Upscale ``(N, C, H, W)`` to ``(N, C, H*scale, W*scale)``."""
        shallow = self.conv_in(x)
        features = self.conv_fuse(self.body(shallow)) + shallow
        if self.tail == "magic":
            features = self.magic_upsampler(features)
        return self.conv_out(self.upsampler(features))
