"""The inference form: a network rebuilt for speed, equal in exact arithmetic."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from paragon_arch.networks.v2_release import VIDEO_BLEND

from .borders import BorderedEnd
from .chains import Parts


class InferenceForm(nn.Module):
    """Upscales as the network it was built from, in evaluation mode and without gradients.

    Build it with `inference_form`. Its parameters are not those of a checkpoint; save the network instead.

    Attributes:
        scale: output pixels per input pixel along each side.
        applied: places that each pass changed, in the order of application; passes that matched nothing are missing.
        memory_format: layout of the feature maps.
        minimum_size: sides of the smallest image that a graph of it takes. The module itself takes what its network
            takes.
    """

    def __init__(self, parts: Parts, *, scale: int, minimum_size: int = 1) -> None:
        super().__init__()
        self.scale = scale
        self.shallow, self.deep, self.tail, self.base = parts.shallow, parts.deep, parts.tail, parts.base
        self.image_gate = parts.image_gate
        self.shuffle: nn.Module = nn.Identity()
        self.end: BorderedEnd | None = None
        self.minimum_size = minimum_size
        self.applied: dict[str, int] = {}
        self.memory_format = torch.contiguous_format

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
            prev_feat: shallow features of the previous video frame (layouts v2-v10 and v2-release only).
            feature_tap: also return this frame's shallow features.
            blend: weight of ``prev_feat``.

        Returns:
            ``(N, C, H*scale, W*scale)``, not clamped, and with ``feature_tap`` the features.
        """
        x = x.contiguous(memory_format=self.memory_format)
        shallow = self.shallow(x)
        if prev_feat is not None:
            shallow = (1 - blend) * shallow + blend * prev_feat
        out = self.joined(self.tail(self.deep(shallow)), x)
        return (out, shallow) if feature_tap else out

    def joined(self, out: Tensor, x: Tensor) -> Tensor:
        """The result, from that of the tail and the image."""
        if self.end is not None:
            return self.end(out, self.base(x))
        if self.image_gate is not None:
            out = out * self._interpolated_gate(x)
        if len(self.base):
            out = out + self.base(x)
        return self.shuffle(out)

    def _interpolated_gate(self, x: Tensor) -> Tensor:
        assert self.image_gate is not None
        factor = float(self.scale)
        return nn.functional.interpolate(self.image_gate(x), scale_factor=factor, mode="bilinear", align_corners=False)
