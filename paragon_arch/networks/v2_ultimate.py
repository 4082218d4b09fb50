"""ParagonSR2 ultimate (section 4.19): gated convolutions, then routed window attention, then routed token attention."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import SRNetwork, Traits, records_hyperparameters
from .layers import LayerScale, WindowAttention, conv, depthwise, gated_product
from .magic import MagicResample
from .v2_release import BlockGroup, TokenAttention

FIRST_WINDOW_BLOCK = 24
"""From this block on, two of three blocks have window attention; from `FIRST_TOKEN_BLOCK` on all have."""
FIRST_TOKEN_BLOCK = 48
"""From this block on, every block also has token attention."""


class GatedConv(nn.Module):
    """Pointwise to four times the width, depthwise 3x3, product of the two halves, pointwise back."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv(channels, 4 * channels, 1)
        self.dw = depthwise(4 * channels)
        self.conv2 = conv(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(gated_product(self.dw(self.conv1(x))))


class ImageNorm(nn.Module):
    """Norm over channels, height and width of each sample, then gain and offset per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The normed features, and the strength ``(N, 1, H, W)`` of each pixel: its RMS before gain and offset."""
        centred = x - x.mean(dim=(1, 2, 3), keepdim=True)
        unit = centred * torch.rsqrt(centred.square().mean(dim=(1, 2, 3), keepdim=True) + 1e-6)
        strength = torch.sqrt(unit.square().mean(dim=1, keepdim=True) + 1e-6)
        return self.weight * unit + self.bias, strength


class Affine(nn.Module):
    """Gain and offset per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x + self.bias


class Router(nn.Module):
    """How much of an attention branch each region gets, 0..1, from its mean strength."""

    def __init__(self, region: int) -> None:
        super().__init__()
        self.region = region
        self.weight = nn.Parameter(torch.ones(1))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, strength: Tensor) -> Tensor:
        regions = F.avg_pool2d(strength, self.region)
        mean = F.interpolate(regions, size=strength.shape[2:], mode="nearest")
        return torch.sigmoid(self.weight * mean + self.bias)


class UltimateBlock(nn.Module):
    """Gated convolution; with ``window`` also window attention, with ``tokens`` also token attention at half size."""

    def __init__(self, channels: int, *, window: int | None, shift: int, tokens: int | None, reduced: int) -> None:
        super().__init__()
        self.gated_conv = GatedConv(channels)
        self.scale1 = LayerScale(channels)
        self.windowed, self.tokenised = window is not None, tokens is not None
        if window is not None:
            self.norm2 = ImageNorm(channels)
            self.window_attn = WindowAttention(channels, window=window, shift=shift)
            self.router2 = Router(window)
            self.scale2 = LayerScale(channels)
        if tokens is not None:
            self.norm3 = ImageNorm(channels)
            self.token_ca = TokenAttention(channels, tokens=tokens, reduced=reduced)
            self.router3 = Router(2)
            self.scale3 = LayerScale(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.scale1(self.gated_conv(x))
        if self.windowed:
            normed, strength = self.norm2(x)
            x = x + self.scale2(self.window_attn(normed) * self.router2(strength))
        if self.tokenised:
            normed, strength = self.norm3(x)
            coarse = self.token_ca(F.avg_pool2d(normed, 2))
            attended = F.interpolate(coarse, size=x.shape[2:], mode="bilinear", align_corners=False)
            x = x + self.scale3(attended * self.router3(strength))
        return x


def has_window(index: int) -> bool:
    """Whether the block of this number, counted through all groups, has window attention."""
    return index >= FIRST_TOKEN_BLOCK or (index >= FIRST_WINDOW_BLOCK and index % 3 != 0)


class ParagonSR2Ultimate(SRNetwork):
    """ParagonSR2 of layout v2-ultimate.

    Args:
        scale: any integer >= 1.
        num_feat: feature channels.
        num_groups, num_blocks: groups and blocks in each group.
        alpha: strength of the base's pre-filter.
        window_size: side of the attention windows, and of the regions that are routed to them.
        num_tokens, token_dim: dictionary size and query width of the token attention.
    """

    @records_hyperparameters
    def __init__(
        self,
        *,
        scale: int,
        num_feat: int,
        num_groups: int,
        num_blocks: int,
        alpha: float = 0.2,
        window_size: int = 12,
        num_tokens: int = 32,
        token_dim: int = 16,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        self.scale, self.alpha, self.window_size = scale, alpha, window_size
        self.minimum_size = max(2, window_size)

        def block(index: int) -> UltimateBlock:
            return UltimateBlock(
                num_feat,
                window=window_size if has_window(index) else None,
                shift=window_size // 2 if index % 2 else 0,
                tokens=num_tokens if index >= FIRST_TOKEN_BLOCK else None,
                reduced=token_dim,
            )

        self.base = MagicResample(in_channels, scale=scale, alpha=alpha, keys="B")
        self.conv_in = conv(in_channels, num_feat)
        self.body = nn.Sequential(
            *(BlockGroup(*(block(group * num_blocks + j) for j in range(num_blocks))) for group in range(num_groups))
        )
        self.conv_mid = conv(num_feat, num_feat)
        self.final_norm = Affine(num_feat)
        self.up = nn.Sequential(conv(num_feat, num_feat * scale**2), nn.PixelShuffle(scale))
        self.conv_out = conv(num_feat, in_channels)
        self.detail_gain = nn.Parameter(torch.tensor(0.7))

    @property
    def traits(self) -> Traits:
        windowed = any(module.windowed for module in self.modules() if isinstance(module, UltimateBlock))
        return Traits(global_statistics=windowed, window=self.window_size if windowed else None, half=not windowed)

    def receptive_field(self) -> int | None:
        if self.traits.global_statistics:
            return None
        blocks = sum(1 for module in self.modules() if isinstance(module, UltimateBlock))
        # conv_in, conv_mid and up are one pixel each; conv_out reaches one output pixel further
        return max(3 + blocks + 1, self.base.radius + -(-2 // self.scale))

    def forward(self, x: Tensor) -> Tensor:
        """Upscale ``(N, C, H, W)`` to ``(N, C, H*scale, W*scale)``."""
        deep = self.final_norm(self.conv_mid(self.body(self.conv_in(x))))
        return self.base(x) + self.conv_out(self.up(deep)) * self.detail_gain
