"""ParagonSR2 v9a, v10 and release (v11): a Magic base image plus one learned detail image (sections 3.7, 3.8)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import SRNetwork, Traits, global_average, records_hyperparameters
from .layers import LayerScale, RMSNorm, WindowAttention, conv, depthwise, gated_product
from .magic import MagicResample

BlockType = Literal["realtime", "stream", "photo", "pro"]
RMSForm = Literal["bias", "plain"]

VIDEO_BLEND = 0.2
"""Share of the previous frame's features in video mode."""


class RealtimeBlock(nn.Module):
    """Inverted bottleneck with a depthwise 3x3; LayerScale since the release layout."""

    radius = 1

    def __init__(self, channels: int, *, layer_scale: bool) -> None:
        super().__init__()
        self.conv1 = conv(channels, 2 * channels, 1)
        self.dw = depthwise(2 * channels)
        self.conv2 = conv(2 * channels, channels, 1)
        self.scale = LayerScale(channels) if layer_scale else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.gelu(self.dw(self.conv1(x))))
        return x + (y if self.scale is None else self.scale(y))


class StreamBlock(nn.Module):
    """A plain and a dilated depthwise context, fused, then a gated product."""

    radius = 4

    def __init__(self, channels: int, *, layer_scale: bool) -> None:
        super().__init__()
        self.dw1 = depthwise(channels)
        self.dw3 = depthwise(channels, dilation=3)
        self.fuse = conv(2 * channels, channels, 1)
        self.proj = conv(channels, 4 * channels, 1)
        self.gate = depthwise(4 * channels)
        self.out = conv(2 * channels, channels, 1)
        self.scale = LayerScale(channels) if layer_scale else None

    def forward(self, x: Tensor) -> Tensor:
        context = self.fuse(torch.cat((self.dw1(x), self.dw3(x)), dim=1))
        y = self.out(gated_product(self.gate(self.proj(context))))
        return x + (y if self.scale is None else self.scale(y))


class PhotoBlock(nn.Module):
    """Inverted bottleneck, then window attention; one LayerScale serves both branches."""

    radius = 1

    def __init__(self, channels: int, *, window: int | None, shift: int, rms: RMSForm) -> None:
        super().__init__()
        self.norm = RMSNorm(channels, rms)
        self.conv1 = conv(channels, 2 * channels, 1)
        self.dw = depthwise(2 * channels)
        self.conv2 = conv(2 * channels, channels, 1)
        self.scale = LayerScale(channels)
        if window is None:
            self.attn_norm = self.attn = None
        else:
            self.attn_norm = RMSNorm(channels, rms)
            self.attn = WindowAttention(channels, window=window, shift=shift)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.scale(self.bottleneck(x))
        if self.attn is None or self.attn_norm is None:
            return x
        return x + self.scale(self.attn(self.attn_norm(x)))

    def bottleneck(self, x: Tensor) -> Tensor:
        """The first branch, before its scale."""
        return self.conv2(F.gelu(self.dw(self.conv1(self.norm(x)))))


class ChannelAttention(nn.Module):
    """Squeeze-and-excitation over the whole image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // 16
        self.fc = nn.Sequential(
            nn.Linear(channels, hidden, bias=False), nn.GELU(), nn.Linear(hidden, channels, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(global_average(x))

    def gate(self, mean: Tensor) -> Tensor:
        """Factor of each channel from its mean, both ``(N, C, 1, 1)``; any floating type, computed in the weights'."""
        weight = self.fc[0].get_parameter("weight")
        return torch.sigmoid(self.fc(mean.flatten(1).to(weight)))[:, :, None, None]


class TokenAttention(nn.Module):
    """Cross-attention from every pixel to a learned dictionary of tokens."""

    def __init__(self, channels: int, *, tokens: int, reduced: int = 16) -> None:
        super().__init__()
        self.token_dict = nn.Parameter(torch.empty(1, tokens, channels))
        nn.init.normal_(self.token_dict, std=0.02)
        self.q_proj = nn.Linear(channels, reduced)
        self.k_proj = nn.Linear(channels, reduced)
        self.v_proj = nn.Linear(channels, channels)
        self.out_proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        query = self.q_proj(x.permute(0, 2, 3, 1))  # (N, H, W, reduced)
        key, value = self.k_proj(self.token_dict[0]), self.v_proj(self.token_dict[0])
        weights = torch.softmax(query @ key.t() * key.shape[1] ** -0.5, dim=-1)
        return self.out_proj(weights @ value).permute(0, 3, 1, 2)


class ProBlock(nn.Module):
    """Bottleneck, channel attention, window attention and token attention, each with its own LayerScale."""

    radius = 1

    def __init__(self, channels: int, *, window: int | None, shift: int, tokens: int, reduced: int) -> None:
        super().__init__()
        self.norm1 = RMSNorm(channels, "bias")
        self.conv1 = conv(channels, 2 * channels, 1)
        self.dw = depthwise(2 * channels)
        self.conv2 = conv(2 * channels, channels, 1)
        self.scale1 = LayerScale(channels)
        self.channel_attn = ChannelAttention(channels)
        self.scale2 = LayerScale(channels)
        if window is None:
            self.norm3 = self.window_attn = self.scale3 = None
        else:
            self.norm3 = RMSNorm(channels, "bias")
            self.window_attn = WindowAttention(channels, window=window, shift=shift)
            self.scale3 = LayerScale(channels)
        self.norm4 = RMSNorm(channels, "bias")
        self.token_ca = TokenAttention(channels, tokens=tokens, reduced=reduced)
        self.scale4 = LayerScale(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.scale1(self.bottleneck(x))
        x = x + self.scale2(self.channel_attn(x))
        if self.norm3 is not None and self.window_attn is not None and self.scale3 is not None:
            x = x + self.scale3(self.window_attn(self.norm3(x)))
        return x + self.scale4(self.token_ca(self.norm4(x)))

    def bottleneck(self, x: Tensor) -> Tensor:
        """The first branch, before its scale."""
        return self.conv2(F.gelu(self.dw(self.conv1(self.norm1(x)))))


class ParagonSR2Release(SRNetwork):
    """ParagonSR2 of layouts v2-v9a, v2-v10, v2-release and the non-pro variants of v2-atd and v2-atd-norm1d.

    Args:
        scale: any integer >= 1.
        variant: block type.
        num_feat: feature channels.
        num_groups, num_blocks: groups and blocks in each group.
        alpha: strength of the base's pre-filter.
        layer_scale: realtime and stream blocks have a LayerScale (release layout).
        window_size: side of the attention windows; None builds blocks without attention ("export safe").
        rms: form of the norms of photo blocks.
        num_tokens, token_dim: dictionary size and query width of pro blocks.
    """

    @records_hyperparameters
    def __init__(
        self,
        *,
        scale: int,
        variant: BlockType,
        num_feat: int,
        num_groups: int,
        num_blocks: int,
        in_channels: int = 3,
        alpha: float = 0.0,
        layer_scale: bool = True,
        window_size: int | None = None,
        rms: RMSForm = "bias",
        num_tokens: int = 64,
        token_dim: int = 16,
    ) -> None:
        super().__init__()
        self.scale, self.alpha, self.variant, self.window_size = scale, alpha, variant, window_size

        def block(index: int) -> nn.Module:
            shift = window_size // 2 if window_size is not None and index % 2 else 0
            if variant == "realtime":
                return RealtimeBlock(num_feat, layer_scale=layer_scale)
            if variant == "stream":
                return StreamBlock(num_feat, layer_scale=layer_scale)
            if variant == "photo":
                return PhotoBlock(num_feat, window=window_size, shift=shift, rms=rms)
            return ProBlock(num_feat, window=window_size, shift=shift, tokens=num_tokens, reduced=token_dim)

        self.base = MagicResample(in_channels, scale=scale, alpha=alpha, keys="B")
        self.conv_in = conv(in_channels, num_feat)
        self.body = nn.Sequential(
            *(BlockGroup(*(block(group * num_blocks + j) for j in range(num_blocks))) for group in range(num_groups))
        )
        self.conv_mid = conv(num_feat, num_feat)
        self.up = nn.Sequential(conv(num_feat, num_feat * scale**2), nn.PixelShuffle(scale))
        self.conv_out = conv(num_feat, in_channels)
        self.detail_gain = nn.Parameter(torch.tensor(0.05 if variant == "realtime" else 0.1))

    @property
    def traits(self) -> Traits:
        windowed = self.window_size if self.variant in ("photo", "pro") else None
        return Traits(global_statistics=self.variant == "pro", window=windowed)

    def receptive_field(self) -> int | None:
        traits = self.traits
        if traits.global_statistics or traits.window is not None:
            return None
        radii = sum(module.radius for module in self.modules() if isinstance(module, RealtimeBlock | StreamBlock))
        radii += sum(module.radius for module in self.modules() if isinstance(module, PhotoBlock))
        # conv_in, conv_mid and up are one pixel each; conv_out reaches one output pixel further
        detail = 3 + radii + 1
        return max(detail, self.base.radius + -(-2 // self.scale))

    def forward(
        self,
        x: Tensor,
        prev_feat: Tensor | None = None,
        *,
        feature_tap: bool = False,
        blend: float = VIDEO_BLEND,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Upscale a batch.

        Args:
            x: ``(N, C, H, W)``, RGB in 0..1.
            prev_feat: shallow features ``(N, num_feat, H, W)`` of the previous video frame, blended in.
            feature_tap: also return this frame's (blended) shallow features.
            blend: weight of ``prev_feat``.
        """
        shallow = self.conv_in(x)
        if prev_feat is not None:
            shallow = (1 - blend) * shallow + blend * prev_feat
        deep = self.conv_mid(self.body(shallow))
        out = self.base(x) + self.conv_out(self.up(deep)) * self.detail_gain
        return (out, shallow) if feature_tap else out


class BlockGroup(nn.Module):
    """A plain chain of blocks under the key ``blocks``."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x)
