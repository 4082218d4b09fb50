"""Every layout as a small network whose parameters all matter: the golden files where present, else random ones."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

import paragon_arch
from paragon_arch.errors import ParagonWarning
from paragon_arch.networks.base import SRNetwork
from paragon_arch.networks.v1 import ParagonSR
from paragon_arch.networks.v2_dualpath import ParagonSR2DualPath
from paragon_arch.networks.v2_hybrid import ParagonSR2Hybrid
from paragon_arch.networks.v2_magic import ParagonSR2Magic
from paragon_arch.networks.v2_release import ParagonSR2Release
from paragon_arch.networks.v2_static import ParagonSR2Static
from paragon_arch.networks.v2_ultimate import ParagonSR2Ultimate
from tests.devices import DEVICE
from tests.golden import Golden

V1: dict[str, Any] = {"num_feat": 16, "num_groups": 2, "num_blocks": 1, "hidden": 24, "branch": 2}
V2: dict[str, Any] = {"num_feat": 16, "num_groups": 1, "num_blocks": 2}

NETWORKS: dict[str, tuple[type[SRNetwork], dict[str, Any]]] = {
    "v1-pixelshuffle": (ParagonSR, V1 | {"scale": 2}),
    "v1-magic": (ParagonSR, V1 | {"scale": 3, "tail": "magic"}),
    "v1-nearest": (ParagonSR, V1 | {"scale": 2, "tail": "nearest", "fused": True}),
    "v1-ln": (ParagonSR, V1 | {"scale": 2, "norm": "layer", "mixer": "cached"}),
    "v2-pixelshuffle": (ParagonSR2Magic, V1 | {"scale": 2, "tail": "pixelshuffle"}),
    "v2-magic": (ParagonSR2Magic, V1 | {"scale": 2, "alpha": 0.7}),
    "v2-magic-hr": (ParagonSR2Magic, V1 | {"scale": 3, "tail": "magic-hr", "hr_blocks": 2}),
    "v2-dynamic": (
        ParagonSR2Magic,
        V1 | {"scale": 2, "tail": "magic-hr", "hr_blocks": 2, "use_norm": True, "transformer": "full"},
    ),
    "v2-static": (ParagonSR2Static, V1 | {"scale": 2}),
    "v2-hybrid-gn": (ParagonSR2Hybrid, V1 | {"scale": 2, "attention": None, "content_gain": True}),
    "v2-hybrid-dense": (ParagonSR2Hybrid, V1 | {"scale": 2, "attention": None, "dense": True, "num_blocks": 2}),
    "v2-hybrid-rms": (ParagonSR2Hybrid, V1 | {"scale": 4, "attention": None, "norm": "rms"}),
    "v2-hybrid-attn-global": (ParagonSR2Hybrid, V1 | {"scale": 2, "attention": "global", "num_groups": 1}),
    "v2-hybrid-attn-window": (ParagonSR2Hybrid, V1 | {"scale": 2, "attention": "window", "num_groups": 1}),
    "v2-dualpath-rgbgate": (
        ParagonSR2DualPath,
        V2 | {"scale": 2, "revision": "rgbgate", "block": "paragon", "window_size": 8},
    ),
    "v2-dualpath-v6-photo": (
        ParagonSR2DualPath,
        V2 | {"scale": 4, "revision": "v6", "block": "paragon", "window_size": 16},
    ),
    "v2-dualpath-v6-stream": (ParagonSR2DualPath, V2 | {"scale": 8, "revision": "v6", "block": "gate"}),
    "v2-dualpath-v8-photo": (
        ParagonSR2DualPath,
        V2 | {"scale": 2, "revision": "v8", "block": "paragon", "window_size": 8},
    ),
    "v2-release-realtime": (ParagonSR2Release, V2 | {"scale": 2, "variant": "realtime", "alpha": 0.5}),
    "v2-release-stream": (ParagonSR2Release, V2 | {"scale": 4, "variant": "stream"}),
    "v2-release-photo": (ParagonSR2Release, V2 | {"scale": 3, "variant": "photo", "window_size": 8}),
    "v2-release-pro": (ParagonSR2Release, V2 | {"scale": 2, "variant": "pro", "window_size": 16}),
    "v2-ultimate": (ParagonSR2Ultimate, {"scale": 2, "num_feat": 8, "num_groups": 1, "num_blocks": 51}),
}
"""One or more networks of each kind of block, tail and statistic."""


def build(name: str, seed: int = 0) -> SRNetwork:
    """One of `NETWORKS` on the device of the tests; residual branches, norms and gates have their full strength."""
    kind, options = NETWORKS[name]
    torch.manual_seed(seed)
    network = kind(**options).eval().requires_grad_(False)
    strength = 0.05 if kind is ParagonSR2Ultimate else 0.3
    for module in network.modules():
        for key, parameter in module.named_parameters(recurse=False):
            if "gamma" in key or not isinstance(module, nn.Conv2d | nn.Linear):
                parameter.add_(torch.rand_like(parameter).sub_(0.5) * 2 * strength)
    return network.to(DEVICE)


def load_golden(golden: Golden) -> SRNetwork:
    """The network of a golden file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ParagonWarning)
        return paragon_arch.load(golden.state, tracked="keep", **golden.options).model.to(DEVICE)


def image(height: int, width: int, seed: int = 0) -> Tensor:
    """Smooth ramps with noise on them, ``(1, 3, height, width)`` in 0..1."""
    generator = torch.Generator().manual_seed(seed)
    ramp = torch.linspace(0, 0.6, height)[:, None] + torch.linspace(0, 0.2, width)
    return (ramp + 0.2 * torch.rand(1, 3, height, width, generator=generator)).to(DEVICE)
