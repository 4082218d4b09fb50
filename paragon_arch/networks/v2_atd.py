"""The pro variant of ParagonSR2 v2-atd (section 4.17), after the Adaptive Token Dictionary (Zhang et al. 2024)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import SRNetwork, Traits, records_hyperparameters
from .layers import conv, depthwise
from .magic import MagicResample
from .traced import at_most, is_traced, side
from .windows import (
    attend_in_windows,
    multi_head,
    parts,
    relative_position_bias,
    relative_position_index,
    roll,
    to_windows,
)

CATEGORY_GROUP = 256
"""Tokens that attend to each other after sorting by category."""
MASKED = -100.0
"""Added to the logits between tokens that a shift brought together from opposite sides of the image."""

UNTRACEABLE = (
    "v2-atd's pro sorts its pixels, and where PyTorch puts equal ones is up to the platform, so that this export would "
    "give other pictures in silence: use the node Export ONNX (ParagonSR) or the command `paragonsr export`, which fix "
    "that order and say so"
)


class DictionaryAttention(nn.Module):
    """Cross-attention from the tokens to the dictionary by cosine similarity."""

    def __init__(self, channels: int, *, tokens: int, reduced: int) -> None:
        super().__init__()
        self.wq = nn.Linear(channels, reduced)
        self.wk = nn.Linear(channels, reduced)
        self.wv = nn.Linear(channels, channels)
        self.scale = nn.Parameter(torch.ones(tokens))

    def forward(self, x: Tensor, dictionary: Tensor) -> tuple[Tensor, Tensor]:
        """Attended values ``(N, n, C)`` and the similarities ``(N, n, T)``, which sum to one over the dictionary."""
        query, key = F.normalize(self.wq(x), dim=-1), F.normalize(self.wk(dictionary), dim=-1)
        gain = 1 + self.scale.clamp(0, 1) * math.log(self.scale.shape[0])
        similarity = torch.softmax(query @ key.transpose(1, 2) * gain, dim=-1)
        return similarity @ self.wv(dictionary), similarity


class CategoryAttention(nn.Module):
    """Self-attention in groups of tokens that are most similar to the same dictionary entry.

    Inside a category the original left the order to torch.sort, which promises none: on a CPU it is that of the C++
    library. ``stable`` takes the order of the pixels instead, which every platform has.
    """

    def __init__(self, channels: int, *, heads: int) -> None:
        super().__init__()
        self.heads, self.stable = heads, False
        self.proj = nn.Linear(channels, channels)
        self.logit_scale = nn.Parameter(torch.full((1, 1), math.log(10)))

    def forward(self, qkv: Tensor, similarity: Tensor) -> Tensor:
        if is_traced():
            return self._traced(qkv, similarity)
        batch, length, width = qkv.shape
        order = torch.sort(similarity.argmax(dim=-1), dim=-1, stable=self.stable).indices
        ranks = torch.argsort(order, dim=-1)
        tokens = qkv.gather(1, order[..., None].expand(-1, -1, width))
        size = min(length, CATEGORY_GROUP)
        missing = -length % size
        if missing:  # the last group is completed by its own end, mirrored
            tokens = torch.cat((tokens, tokens[:, length - missing :].flip(1)), dim=1)
        q, k, v = parts(tokens.reshape(-1, size, width), 3, dim=-1)
        gain = self.logit_scale.clamp(max=math.log(100)).exp()
        out = multi_head(q * gain, k, v, heads=self.heads, scale=1.0)
        out = out.reshape(batch, length + missing, width // 3)
        return self.proj(out.gather(1, ranks[..., None].expand(-1, -1, width // 3)))

    def _traced(self, qkv: Tensor, similarity: Tensor) -> Tensor:
        """With the stable order: a key that no two tokens share has only one."""
        if not self.stable:
            raise NotImplementedError(UNTRACEABLE)
        batch, length, width = qkv.shape
        count, places = side(qkv, 1), torch.arange(length, device=qkv.device)[None]
        order = torch.sort(similarity.argmax(dim=-1) * count + places, dim=-1).indices
        ranks = torch.zeros_like(order).scatter(1, order, places.expand_as(order))
        size = at_most(length, CATEGORY_GROUP)
        padded = torch.arange((length + size - 1) // size * size, device=qkv.device)
        mirrored = torch.where(padded < count, padded, 2 * count - 1 - padded)  # as `forward` completes the last group
        order = order.index_select(1, mirrored)
        tokens = qkv.gather(1, order[..., None].expand(-1, -1, width)).reshape(-1, size, width)
        q, k, v = parts(tokens, 3, dim=-1)
        gain = self.logit_scale.clamp(max=math.log(100)).exp()
        out = multi_head(q * gain, k, v, heads=self.heads, scale=1.0).reshape(batch, -1, width // 3)
        return self.proj(out.gather(1, ranks[..., None].expand(-1, -1, width // 3)))


class MaskedWindowAttention(nn.Module):
    """Shifted-window self-attention with relative position bias (Liu et al. 2021) on given ``(N, H, W, 3C)`` qkv."""

    def __init__(self, channels: int, *, window: int, shift: int, heads: int) -> None:
        super().__init__()
        self.window, self.shift, self.heads = window, shift, heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.proj = nn.Linear(channels, channels)

    def forward(self, qkv: Tensor, index: Tensor) -> Tensor:
        bias = relative_position_bias(self.relative_position_bias_table, index)
        if self.shift:
            mask = shift_mask(qkv.shape[1], qkv.shape[2], self.window, self.shift).to(bias)
            bias = (bias + mask).repeat(qkv.shape[0], 1, 1, 1)
        q, k, v = parts(roll(qkv, -self.shift), 3, dim=-1)
        out = attend_in_windows(q, k, v, window=self.window, heads=self.heads, bias=bias)
        return self.proj(roll(out, self.shift))


def shift_mask(height: int, width: int, window: int, shift: int) -> Tensor:
    """Logit offsets ``(windows, 1, w*w, w*w)``: `MASKED` where two tokens were not neighbours before the shift."""

    def regions(length: int) -> Tensor:
        position = torch.arange(length)
        return (position >= length - window).int() + (position >= length - shift).int()

    region = regions(height)[:, None] * 3 + regions(width)
    tokens = to_windows(region[None, :, :, None], window)[..., 0]
    different = tokens[:, None, :, None] != tokens[:, None, None, :]
    return torch.where(different, MASKED, 0.0)


class ConvFFN(nn.Module):
    """Two-layer perceptron with a depthwise 5x5 between; works on ``(N, H, W, C)``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, 2 * channels)
        self.dwconv = nn.Sequential(depthwise(2 * channels, 5), nn.GELU())
        self.fc2 = nn.Linear(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.fc1(x)).permute(0, 3, 1, 2)
        return self.fc2(self.dwconv(x).permute(0, 2, 3, 1))


class ATDLayer(nn.Module):
    """Window, dictionary and category attention side by side, then a `ConvFFN`; refines the dictionary."""

    def __init__(self, channels: int, *, window: int, shift: int, heads: int, tokens: int, reduced: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.norm3 = nn.InstanceNorm1d(tokens, affine=True)
        self.sigma = nn.Parameter(torch.zeros(tokens, 1))
        self.wqkv = nn.Linear(channels, 3 * channels)
        self.attn_win = MaskedWindowAttention(channels, window=window, shift=shift, heads=heads)
        self.attn_atd = DictionaryAttention(channels, tokens=tokens, reduced=reduced)
        self.attn_aca = CategoryAttention(channels, heads=heads)
        self.convffn = ConvFFN(channels)

    def forward(self, x: Tensor, dictionary: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """New ``(N, H, W, C)`` map and ``(N, T, C)`` dictionary."""
        normed = self.norm1(x)
        qkv = self.wqkv(normed)
        attended, similarity = self.attn_atd(normed.flatten(1, 2), dictionary)
        attended = attended + self.attn_aca(qkv.flatten(1, 2), similarity)
        x = x + self.attn_win(qkv, index) + attended.reshape(x.shape)
        x = x + self.convffn(self.norm2(x))
        keep = torch.sigmoid(self.sigma)
        share = torch.softmax(self.norm3(similarity.transpose(1, 2)), dim=-1)
        return x, keep * dictionary + (1 - keep) * (share @ x.flatten(1, 2))


class ATDGroup(nn.Module):
    """Layers around one learned dictionary; pads the map by reflection to whole windows."""

    relative_position_index_SA: Tensor  # noqa: N815 - the stored name

    def __init__(self, channels: int, layers: int, *, window: int, heads: int, tokens: int, reduced: int) -> None:
        super().__init__()
        self.window = window
        self.td = nn.Parameter(torch.randn(tokens, channels))
        self.register_buffer("relative_position_index_SA", relative_position_index(window))
        self.layers = nn.ModuleList(
            ATDLayer(
                channels,
                window=window,
                shift=window // 2 if index % 2 else 0,
                heads=heads,
                tokens=tokens,
                reduced=reduced,
            )
            for index in range(layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        x = F.pad(x, (0, -width % self.window, 0, -height % self.window), mode="reflect").permute(0, 2, 3, 1)
        dictionary = self.td.expand(x.shape[0], -1, -1)
        for layer in self.layers:
            x, dictionary = layer(x, dictionary, self.relative_position_index_SA)
        return x[:, :height, :width].permute(0, 3, 1, 2)


class ParagonSR2ATD(SRNetwork):
    """ParagonSR2 pro of layouts v2-atd and v2-atd-norm1d.

    Tokens are grouped by an argmax, so the function is not continuous: rounding can move a token to another group.

    Args:
        scale: any integer >= 1.
        num_feat: feature channels.
        num_groups, num_blocks: groups and layers in each group.
        alpha: strength of the base's pre-filter.
        window_size: side of the attention windows.
        heads: attention heads.
        num_tokens, token_dim: dictionary size and query width.
    """

    @records_hyperparameters
    def __init__(
        self,
        *,
        scale: int,
        num_feat: int,
        num_groups: int,
        num_blocks: int,
        alpha: float = 0.5,
        window_size: int = 8,
        heads: int = 4,
        num_tokens: int = 64,
        token_dim: int = 4,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        self.scale, self.alpha, self.window_size = scale, alpha, window_size
        # reflection cannot reach further than the map
        self.minimum_size = window_size // 2 + 1
        sizes = {"window": window_size, "heads": heads, "tokens": num_tokens, "reduced": token_dim}
        self.base = MagicResample(in_channels, scale=scale, alpha=alpha, keys="B")
        self.conv_in = conv(in_channels, num_feat)
        self.body = nn.Sequential(*(ATDGroup(num_feat, num_blocks, **sizes) for _ in range(num_groups)))
        self.conv_mid = conv(num_feat, num_feat)
        self.up = nn.Sequential(conv(num_feat, num_feat * scale**2), nn.PixelShuffle(scale))
        self.conv_out = conv(num_feat, in_channels)
        self.detail_gain = nn.Parameter(torch.tensor(0.1))

    @property
    def traits(self) -> Traits:
        return Traits(global_statistics=True, window=self.window_size, half=False, bfloat16=False)

    def receptive_field(self) -> int | None:
        return None

    def forward(self, x: Tensor) -> Tensor:
        """Upscale ``(N, C, H, W)`` to ``(N, C, H*scale, W*scale)``."""
        deep = self.conv_mid(self.body(self.conv_in(x)))
        return self.base(x) + self.conv_out(self.up(deep)) * self.detail_gain
