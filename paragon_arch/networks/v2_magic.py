"""ParagonSR2 with dynamic kernels (sections 3.3, 3.4 and 4.5 to 4.7): v2-pixelshuffle, v2-magic and relatives."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from .base import SRNetwork, Traits, records_hyperparameters
from .dynamic import DynamicMode, ReparamTransformer, TrackedTransformer
from .layers import GlobalGroupNorm, HRBlock, InceptionContext, LayerScale, conv
from .magic import MagicResample
from .reparam import merge_branches
from .v1 import ResidualGroup

TransformerType = Literal["reparam-mish", "reparam-lrelu", "tracked", "full", "cheap", "off"]
Tail = Literal["pixelshuffle", "magic", "magic-hr"]

V2_DYNAMIC_INTERVAL = 8
"""v2-dynamic tracks its kernels on every eighth training step."""


class DynamicBlock(nn.Module):
    """Inception context, then a transformer with dynamic kernels, both residual and scaled per channel."""

    def __init__(
        self, channels: int, *, context: InceptionContext, transformer: nn.Module, norm: bool, flat_gamma: bool
    ) -> None:
        super().__init__()
        if norm:
            self.norm1, self.norm2 = GlobalGroupNorm(channels), GlobalGroupNorm(channels)
        else:
            self.norm1 = self.norm2 = None
        self.context = context
        self.ls1 = LayerScale(channels, flat=flat_gamma)
        self.transformer = transformer
        self.ls2 = LayerScale(channels, flat=flat_gamma)
        self.radius = context.radius + 1

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.context(x if self.norm1 is None else self.norm1(x)))
        return x + self.ls2(self.transformer(x if self.norm2 is None else self.norm2(x)))


class ParagonSR2Magic(SRNetwork):
    """ParagonSR2 of layouts v2-pixelshuffle, v2-magic-reparam, v2-magic, v2-magic-hr and v2-dynamic.

    Args:
        scale: any integer >= 1.
        num_feat: feature channels F.
        num_groups, num_blocks: groups and blocks in each group.
        hidden: width of the transformers.
        branch, square, band: see `InceptionContext`.
        alpha: strength of the Magic resampler's pre-filter.
        transformer: "reparam-mish", "reparam-lrelu" (first forms), "tracked" (v2-magic, v2-magic-hr),
            or the mode of v2-dynamic ("full", "cheap", "off").
        tail: "pixelshuffle"; "magic" and one convolution; "magic-hr" and a residual head at the output resolution.
        hr_blocks: residual blocks of that head.
        use_norm: the head's blocks are pre-normed (v2-dynamic; not visible in a state dict).
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
        alpha: float = 1.0,
        transformer: TransformerType = "tracked",
        tail: Tail = "magic",
        hr_blocks: int = 0,
        use_norm: bool = False,
        fused: bool = False,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        self.scale, self.fused, self.tail = scale, fused, tail
        self.fusible = transformer not in ("cheap", "off")
        self.use_norm = use_norm
        self.alpha = None if tail == "pixelshuffle" else alpha

        def make_transformer() -> nn.Module:
            if transformer == "reparam-mish" or transformer == "reparam-lrelu":
                activation = "mish" if transformer == "reparam-mish" else "lrelu"
                return ReparamTransformer(num_feat, hidden, activation=activation, fused=fused)
            if transformer == "tracked":
                return TrackedTransformer(num_feat, hidden, fused=fused)
            mode: DynamicMode = transformer
            return TrackedTransformer(num_feat, hidden, mode=mode, fused=fused, interval=V2_DYNAMIC_INTERVAL)

        def block() -> DynamicBlock:
            return DynamicBlock(
                num_feat,
                context=InceptionContext(num_feat, branch=branch, square=square, band=band),
                transformer=make_transformer(),
                norm=tail == "pixelshuffle",
                flat_gamma=transformer not in ("full", "cheap", "off"),
            )

        self.conv_in = conv(in_channels, num_feat)
        self.body = nn.Sequential(*(ResidualGroup(*(block() for _ in range(num_blocks))) for _ in range(num_groups)))
        self.conv_fuse = conv(num_feat, num_feat)
        if tail == "pixelshuffle":
            self.upsampler = nn.Sequential(conv(num_feat, num_feat * scale**2), nn.PixelShuffle(scale))
        else:
            self.magic_upsampler = MagicResample(num_feat, scale=scale, alpha=alpha, keys="A")
        if tail == "magic":
            self.upsampler = conv(num_feat, num_feat)
        if tail == "magic-hr":
            self.hr_conv_in = conv(num_feat, num_feat)
            self.hr_head = nn.Sequential(*(HRBlock(num_feat, norm=use_norm) for _ in range(hr_blocks)))
        self.conv_out = conv(num_feat, in_channels)

    @property
    def traits(self) -> Traits:
        head_norm = self.use_norm and self.tail == "magic-hr" and len(self.hr_head) > 0
        pooled = self.tail == "pixelshuffle" or head_norm
        dynamic = any(m.is_dynamic for m in self.modules() if isinstance(m, TrackedTransformer))
        cancels = self.alpha is not None and self.alpha > 0
        return Traits(global_statistics=pooled or dynamic, half=not pooled, bfloat16=not cancels)

    def receptive_field(self) -> int | None:
        if self.traits.global_statistics:
            return None
        blocks = sum(module.radius for module in self.modules() if isinstance(module, DynamicBlock))
        inner, outer = self.magic_upsampler.radius, 4  # blur 2, convolution 1, conv_out 1
        if self.tail == "magic-hr":
            outer += 2 * len(self.hr_head)
        return 2 + blocks + inner + -(-outer // self.scale)

    def fuse_(self) -> None:
        if not self.fusible or self.fused:
            return
        merge_branches(self)
        for module in self.modules():
            if isinstance(module, TrackedTransformer):
                module.make_static()
        self.fused = self.hyperparameters["fused"] = True

    def forward(self, x: Tensor) -> Tensor:
        """Upscale ``(N, C, H, W)`` to ``(N, C, H*scale, W*scale)``."""
        shallow = self.conv_in(x)
        features = self.conv_fuse(self.body(shallow)) + shallow
        if self.tail != "pixelshuffle":
            features = self.magic_upsampler(features)
        if self.tail == "magic-hr":
            return self.conv_out(self.hr_head(self.hr_conv_in(features)))
        return self.conv_out(self.upsampler(features))
