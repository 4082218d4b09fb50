"""The reference form: the published operations in the published order, after the published fusion.

For comparison only. It differs from our networks, which are already a little leaner, in two places: LayerScale of the
first generation and of v2-magic permutes to channels-last, multiplies, and permutes back with copies; and layouts that
have an alpha blend the pre-filtered image in even at alpha 1.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from paragon_arch.fusion import fuse_network
from paragon_arch.networks.base import SRNetwork
from paragon_arch.networks.layers import LayerScale
from paragon_arch.networks.magic import MagicResample
from paragon_arch.networks.v1 import ParagonSR


class PermutedLayerScale(nn.Module):
    """``gamma * x`` in channels-last order, ``(N, C, H, W)`` to the same, contiguous again."""

    def __init__(self, gamma: nn.Parameter) -> None:
        super().__init__()
        self.gamma = gamma

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels."""
        scaled = x.permute(0, 2, 3, 1).contiguous() * self.gamma
        return scaled.permute(0, 3, 1, 2).contiguous()


class BlendingResample(nn.Module):
    """`MagicResample` that always blends: ``x + alpha * (S(x) - x)``."""

    def __init__(self, magic: MagicResample) -> None:
        super().__init__()
        self.magic = magic

    def forward(self, x: Tensor) -> Tensor:
        """Upsample ``(N, C, H, W)``."""
        magic = self.magic
        if magic.alpha > 0:
            x = x + magic.alpha * (magic.get_submodule(magic.first)(x) - x)
        if magic.scale != 1:
            x = F.interpolate(x, scale_factor=float(magic.scale), mode="nearest")
        return magic.get_submodule(magic.second)(x)


def reference_form(network: SRNetwork) -> SRNetwork:
    """A fused copy of a network with the published operations, in evaluation mode and without gradients.

    Args:
        network: any generator of the family; left as it is.
    """
    form = fuse_network(network, accept_identity=True).network
    blends = not isinstance(network, ParagonSR)  # the first generation has no alpha: its image is the filtered one
    for parent in list(form.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, LayerScale) and child.gamma.dim() == 1:
                setattr(parent, name, PermutedLayerScale(child.gamma))
            elif isinstance(child, MagicResample) and blends:
                setattr(parent, name, BlendingResample(child))
    return form.eval().requires_grad_(False)
