"""Small networks of every layout that has a chain form, with parameters that all have a say."""

from __future__ import annotations

from typing import Any

import torch

from paragon_arch.layouts import LAYOUTS
from paragon_arch.networks.base import SRNetwork
from paragon_arch.networks.dynamic import TrackedTransformer
from paragon_arch.networks.layers import LayerScale, RMSNorm

_SMALL: dict[str, Any] = {"num_feat": 16, "num_groups": 1, "num_blocks": 2}
_CONTEXT: dict[str, Any] = {**_SMALL, "hidden": 24, "branch": 2, "band": 7}
_MAGIC: dict[str, Any] = {**_CONTEXT, "transformer": "tracked"}

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "release-realtime-x2": ("v2-release", {**_SMALL, "variant": "realtime", "scale": 2, "alpha": 0.3}),
    "release-realtime-x1": ("v2-release", {**_SMALL, "variant": "realtime", "scale": 1, "alpha": 0.3}),
    "release-stream-x3": ("v2-release", {**_SMALL, "variant": "stream", "scale": 3}),
    "release-photo-x2": ("v2-release", {**_SMALL, "variant": "photo", "scale": 2, "alpha": 0.4, "window_size": 8}),
    "release-pro-x4": ("v2-release", {**_SMALL, "variant": "pro", "scale": 4, "alpha": 0.4, "window_size": 8}),
    "v10-stream-x2": ("v2-v10", {**_SMALL, "variant": "stream", "scale": 2, "layer_scale": False}),
    "magic-x2": ("v2-magic", {**_MAGIC, "scale": 2, "alpha": 1.0}),
    "magic-x3": ("v2-magic", {**_MAGIC, "scale": 3, "alpha": 0.5}),
    "magic-x1": ("v2-magic", {**_MAGIC, "scale": 1, "alpha": 0.0}),
    "magic-hr-x2": ("v2-magic-hr", {**_MAGIC, "scale": 2, "alpha": 0.5, "tail": "magic-hr", "hr_blocks": 2}),
    "magic-hr-x2-one-block": (
        "v2-magic-hr",
        {**_MAGIC, "scale": 2, "alpha": 0.5, "tail": "magic-hr", "hr_blocks": 1},
    ),
    "magic-hr-x3-one-block": (
        "v2-magic-hr",
        {**_MAGIC, "scale": 3, "alpha": 1.0, "tail": "magic-hr", "hr_blocks": 1},
    ),
    "magic-hr-x4-no-head": ("v2-magic-hr", {**_MAGIC, "scale": 4, "alpha": 0.5, "tail": "magic-hr", "hr_blocks": 0}),
    "v1-magic-x2": ("v1-magic", {**_CONTEXT, "scale": 2, "tail": "magic"}),
    "v1-magic-x4": ("v1-magic", {**_CONTEXT, "scale": 4, "tail": "magic"}),
    "v1-pixelshuffle-x2": ("v1-pixelshuffle", {**_CONTEXT, "scale": 2}),
    "rgbgate-stream-x2": (
        "v2-dualpath-rgbgate",
        {**_SMALL, "revision": "rgbgate", "block": "gate", "scale": 2, "alpha": 0.35},
    ),
    "v6-nano-x4": ("v2-dualpath-v6", {**_SMALL, "revision": "v6", "block": "nano", "scale": 4}),
    "v6-paragon-x2": (
        "v2-dualpath-v6",
        {**_SMALL, "revision": "v6", "block": "paragon", "scale": 2, "band": 7, "window_size": 8},
    ),
    "hybrid-gn-x2": ("v2-hybrid-gn", {}),
}
"""Layout and constructor's arguments; {} stands for the layout's smallest official variant at x2."""

SIZES = ((1, 1), (1, 13), (11, 1), (2, 3), (4, 4), (17, 13), (8, 29))


def build(name: str) -> SRNetwork:
    """A case in double precision."""
    layout_id, options = CASES[name]
    layout = next(layout for layout in LAYOUTS if layout.id == layout_id)
    if not options:
        options = {**layout.variants[0].shape, "scale": 2}
    torch.manual_seed(0)
    network = layout.network(**options).eval().requires_grad_(False)
    shake(network)
    return network.double()


def shake(network: SRNetwork) -> None:
    """Randomise what is initialised to zero, one or nearly zero, where a mistake would hide."""
    for module in network.modules():
        if isinstance(module, LayerScale):
            module.gamma.data.uniform_(0.3, 1)
        elif isinstance(module, RMSNorm) or (isinstance(module, torch.nn.GroupNorm) and module.affine):
            for parameter in module.parameters():
                parameter.data.uniform_(0.5, 1.5)
        elif isinstance(module, TrackedTransformer):
            module.tracked_kernel.normal_(0, 0.33)
            module.tracked_initialized.fill_(True)


def worst_difference(first: torch.nn.Module, second: torch.nn.Module, dtype: torch.dtype) -> float:
    """Largest difference of outputs over `SIZES`, relative to the larger of 1 and the largest output."""
    generator = torch.Generator().manual_seed(1)
    worst = 0.0
    for height, width in SIZES:
        batch = 2 if height == 17 else 1
        image = torch.rand(batch, 3, height, width, generator=generator, dtype=torch.float64).to(dtype)
        expected, found = first(image), second(image)
        assert expected.shape == found.shape
        difference = (expected - found).abs().max() / expected.abs().max().clamp(min=1)
        assert torch.isfinite(difference)
        worst = max(worst, difference.item())
    return worst
