"""The MUNet discriminators: U-Nets with spectral normalisation and one logit per pixel (section 9).

Spectral normalisation (Miyato et al. 2018) is torch's parametrization: in ``train()`` every forward refines the
stored singular vectors by one power iteration, in ``eval()`` they are used as stored.

The original construction overwrote its own frozen Magic kernels with random numbers, so a checkpoint's kernels are
noise that the trained weights expect: load them. Networks built here start with the true kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from .magic import RESAMPLE_TAPS, SHARPEN_TAPS, SeparableFilter

LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G and B in the grey image of the gradient and frequency branches (BT.601)."""


def sn_conv(
    channels_in: int, channels_out: int, kernel: int = 3, *, stride: int = 1, padding: int | None = None, bias: bool
) -> nn.Module:
    """A spectrally normalised convolution; keeps the size unless told otherwise."""
    pad = kernel // 2 if padding is None else padding
    layer = nn.Conv2d(channels_in, channels_out, kernel, stride=stride, padding=pad, bias=bias)
    return spectral_norm(layer)


def sn_pair(channels_in: int, hidden: int, channels_out: int, slope: float) -> nn.Sequential:
    """Two normalised 3x3 convolutions without bias, each with a leaky ReLU."""
    return nn.Sequential(
        sn_conv(channels_in, hidden, bias=False),
        nn.LeakyReLU(slope),
        sn_conv(hidden, channels_out, bias=False),
        nn.LeakyReLU(slope),
    )


def luma(x: Tensor) -> Tensor:
    """Grey image ``(N, 1, H, W)`` of an RGB image."""
    red, green, blue = x.unbind(1)
    return (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue).unsqueeze(1)


def gradients(grey: Tensor) -> Tensor:
    """Forward differences along x and y as two channels; the last column or row repeats its neighbour's."""
    dx = F.pad(grey[..., 1:] - grey[..., :-1], (0, 1, 0, 0), mode="replicate")
    dy = F.pad(grey[..., 1:, :] - grey[..., :-1, :], (0, 0, 0, 1), mode="replicate")
    return torch.cat((dx, dy), dim=1)


def log_spectrum(grey: Tensor) -> Tensor:
    """``log(|FFT| + 1e-8)`` of each image, orthonormal, zero frequency at (0, 0)."""
    spectrum = torch.fft.fft2(grey, norm="ortho")  # pyright: ignore[reportUnknownVariableType]
    return torch.log(spectrum.abs() + 1e-8)  # pyright: ignore[reportUnknownArgumentType]  torch.fft has no types


class MagicResize(nn.Module):
    """The Magic resampler at full pre-filter strength, to a given size instead of by a whole factor."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        names = ("conv_h", "conv_v")
        self.sharpen = SeparableFilter(channels, SHARPEN_TAPS, names=names, buffer=None)
        self.resample_conv = SeparableFilter(channels, RESAMPLE_TAPS, names=names, buffer=None)

    def forward(self, x: Tensor, size: tuple[int, int], *, by_factor: bool) -> Tensor:
        """Resize to ``size`` = (H, W).

        With ``by_factor`` source indices follow the given ratio, as the later versions do; rounding can then leave
        the result one pixel short.
        """
        x = self.sharpen(x)
        height, width = x.shape[-2:]
        if (height, width) != size:
            if by_factor:
                x = F.interpolate(x, scale_factor=(size[0] / height, size[1] / width), mode="nearest")
            else:
                x = F.interpolate(x, size=size, mode="nearest")
        return self.resample_conv(x)


class UpBlock(nn.Module):
    """Upsample to the skip's size, project to its width, concatenate, fuse."""

    def __init__(self, channels: int, skip: int, slope: float, *, by_factor: bool) -> None:
        super().__init__()
        self.by_factor = by_factor
        self.magic_upsample = MagicResize(channels)
        self.post_upsample_conv = sn_conv(channels, skip, bias=False)
        self.fusion_conv = nn.Sequential(sn_conv(2 * skip, skip, bias=False), nn.LeakyReLU(slope))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        size = (skip.shape[-2], skip.shape[-1])
        x = self.post_upsample_conv(self.magic_upsample(x, size, by_factor=self.by_factor))
        if x.shape[-2:] != skip.shape[-2:]:
            x = F.interpolate(x, size=size, mode="nearest")
        return self.fusion_conv(torch.cat((x, skip), dim=1))


class MUNet(nn.Module):
    """Layout munet-unet: ``(N, C, H, W)`` images in 0..1 to one logit per pixel, ``(N, 1, H, W)``.

    Height and width must be at least ``2 ** len(ch_mult)``.

    Args:
        in_channels: channels of the image; 3 in the sub-classes, which form a grey image.
        num_feat: feature channels f at full resolution.
        ch_mult: width of each halved resolution, as multiples of f.
        slope: negative slope of the leaky ReLUs.
    """

    norm_in_conv = False
    """``in_conv`` is spectrally normalised."""
    by_factor = False
    """See `MagicResize.forward`."""

    def __init__(
        self,
        *,
        in_channels: int = 3,
        num_feat: int = 64,
        ch_mult: Sequence[int] = (1, 2, 4, 8),
        slope: float = 0.2,
    ) -> None:
        super().__init__()
        self.slope = slope
        widths = [num_feat, *(num_feat * mult for mult in ch_mult)]
        self.in_conv = self._in_conv(in_channels, num_feat)
        self.down_blocks = nn.ModuleList(
            nn.Sequential(sn_conv(a, b, 4, stride=2, padding=1, bias=False), nn.LeakyReLU(slope))
            for a, b in pairwise(widths)
        )
        self.mid_conv = sn_pair(widths[-1], widths[-1], widths[-1], slope)
        self.up_blocks = nn.ModuleList(
            UpBlock(wide, skip, slope, by_factor=self.by_factor)
            for wide, skip in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.out_conv = sn_conv(num_feat, 1, bias=True)

    def _in_conv(self, channels: int, num_feat: int) -> nn.Module:
        if self.norm_in_conv:
            return sn_conv(channels, num_feat, bias=True)
        layer = nn.Conv2d(channels, num_feat, 3, padding=1)
        nn.init.kaiming_normal_(layer.weight, a=self.slope)
        return layer

    def encode(self, x: Tensor) -> list[Tensor]:
        """Features at every resolution, the full one (not activated) first, then the bottleneck."""
        features = [self.in_conv(x)]
        for block in self.down_blocks:
            features.append(block(features[-1]))
        return [*features, self.mid_conv(features[-1])]

    def decode(self, features: list[Tensor]) -> Tensor:
        """Full-resolution features ``(N, f, H, W)`` from the bottleneck (last) and the skips."""
        *skips, _, x = features
        for block, skip in zip(self.up_blocks, reversed(skips), strict=True):
            x = block(x, skip)
        return x

    def features(self, x: Tensor) -> list[Tensor]:
        """All features from the first to the one that the logits are made of, for feature matching."""
        features = self.encode(x)
        return [*features, self.decode(features)]

    def forward(self, x: Tensor) -> Tensor:
        return self.out_conv(self.features(x)[-1])


class MUNet3Branch(MUNet):
    """Layout munet-3branch: the decoder, the spectrum and the upsampled bottleneck, concatenated and fused."""

    norm_in_conv = True

    def __init__(self, *, num_feat: int = 64, ch_mult: Sequence[int] = (1, 2, 4, 8), slope: float = 0.2) -> None:
        super().__init__(num_feat=num_feat, ch_mult=ch_mult, slope=slope)
        f = num_feat
        self.freq_luma = nn.Conv2d(3, 1, 1, bias=False)
        weight = torch.tensor(LUMA).reshape(1, 3, 1, 1)
        self.freq_luma.weight = nn.Parameter(weight, requires_grad=False)
        self.freq_proc = sn_pair(1, f // 2, f, slope)
        self.patch_reduce = nn.Sequential(sn_conv(f * ch_mult[-1], f, 1, bias=False), nn.LeakyReLU(slope))
        self.patch_upsample = sn_pair(f, f, f, slope)
        self.fusion_conv = sn_pair(3 * f, f, f, slope)

    def features(self, x: Tensor) -> list[Tensor]:
        features = self.encode(x)
        spatial = self.decode(features)
        frequency = self.freq_proc(log_spectrum(self.freq_luma(x)))
        patch = F.interpolate(self.patch_reduce(features[-1]), size=x.shape[-2:], mode="nearest")
        branches = [spatial, frequency, self.patch_upsample(patch)]
        return [*features, *branches, self.fusion_conv(torch.cat(branches, dim=1))]


class SelfAttention(nn.Module):
    """Attention among all positions, added with a learned weight that starts at 0 (Zhang et al. 2019, scaled).

    Written out rather than by the fused kernel, which has no second derivative for gradient penalties.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        reduced = max(1, channels // 8)
        self.query = sn_conv(channels, reduced, 1, bias=True)
        self.key = sn_conv(channels, reduced, 1, bias=True)
        self.value = sn_conv(channels, channels, 1, bias=True)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (layer(x).flatten(2) for layer in (self.query, self.key, self.value))  # (N, c, H*W)
        weights = torch.softmax(query.transpose(1, 2) @ key / query.shape[1] ** 0.5, dim=-1)
        return x + self.gamma * (value @ weights.transpose(1, 2)).reshape(x.shape)


class AttentionFusion(nn.Module):
    """Per-pixel softmax weights over the branches, their weighted sum, then two convolutions."""

    def __init__(self, channels: int, branches: int, slope: float) -> None:
        super().__init__()
        self.attention_conv = nn.Sequential(
            sn_conv(branches * channels, channels, 1, bias=True),
            nn.LeakyReLU(slope),
            sn_conv(channels, branches, 1, bias=True),
        )
        self.fusion_conv = sn_pair(channels, channels, channels, slope)

    def forward(self, branches: list[Tensor]) -> Tensor:
        weights = torch.softmax(self.attention_conv(torch.cat(branches, dim=1)), dim=1)
        mixed = (torch.stack(branches, dim=1) * weights.unsqueeze(2)).sum(dim=1)
        return self.fusion_conv(mixed)


class MUNet4Branch(MUNet):
    """Layout munet-4branch: decoder, gradients, spectrum and bottleneck, mixed by attention.

    Args:
        num_feat, ch_mult, slope: as in `MUNet`.
        compat_batch_shift: roll the spectra along the batch by N // 2 as the original does by mistake, so that a
            sample is judged by another's spectrum. Off by default; without effect for a single image.
    """

    norm_in_conv = True
    by_factor = True

    def __init__(
        self,
        *,
        num_feat: int = 64,
        ch_mult: Sequence[int] = (1, 2, 4, 8),
        slope: float = 0.2,
        compat_batch_shift: bool = False,
    ) -> None:
        super().__init__(num_feat=num_feat, ch_mult=ch_mult, slope=slope)
        self.compat_batch_shift = compat_batch_shift
        f, deepest = num_feat, num_feat * ch_mult[-1]
        self.self_attn = SelfAttention(deepest)
        self.grad_conv = sn_pair(2, f // 2, f, slope)
        self.freq_proc = sn_pair(1, f // 2, f, slope)
        self.patch_reduce = nn.Sequential(sn_conv(deepest, f, 1, bias=True), nn.LeakyReLU(slope))
        self.patch_upsample = nn.Sequential(sn_conv(f, f, bias=True), nn.LeakyReLU(slope))
        self.attention_fusion = AttentionFusion(f, 4, slope)

    def encode(self, x: Tensor) -> list[Tensor]:
        *features, bottleneck = super().encode(x)
        return [*features, self.self_attn(bottleneck)]

    def spectrum(self, grey: Tensor) -> Tensor:
        """Log spectrum with the zero frequency in the middle."""
        spectrum = log_spectrum(grey)
        batch, _, height, width = spectrum.shape
        spectrum = torch.roll(spectrum, (height // 2, width // 2), dims=(2, 3))
        return torch.roll(spectrum, batch // 2, dims=0) if self.compat_batch_shift else spectrum

    def features(self, x: Tensor) -> list[Tensor]:
        features = self.encode(x)
        grey = luma(x)
        patch = F.interpolate(self.patch_reduce(features[-1]), size=x.shape[-2:], mode="nearest")
        branches = [
            self.decode(features),
            self.grad_conv(gradients(grey)),
            self.freq_proc(self.spectrum(grey)),
            self.patch_upsample(patch),
        ]
        return [*features, *branches, self.attention_fusion(branches)]
