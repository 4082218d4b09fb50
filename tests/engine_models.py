"""Small real models for the tests of the engine and the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]

import paragon_arch
from paragon_arch.networks.v2_release import ParagonSR2Release
from tests.devices import DEVICE


def network(*, scale: int = 2, seed: int = 0, **options: Any) -> ParagonSR2Release:
    """A realtime network with random weights that matter (a fresh one's detail is nearly zero)."""
    torch.manual_seed(seed)
    shape: dict[str, Any] = {"variant": "realtime", "num_feat": 16, "num_groups": 1, "num_blocks": 3, "alpha": 0.3}
    net = ParagonSR2Release(scale=scale, **(shape | options))
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if not name.startswith("base."):
                parameter.add_(torch.randn_like(parameter) * 0.05)
    return net.eval()


def state(**options: Any) -> dict[str, torch.Tensor]:
    """State dict of `network`."""
    return {key: tensor.clone() for key, tensor in network(**options).state_dict().items()}


def descriptor(**options: Any) -> paragon_arch.ParagonModelDescriptor:
    """`network`, loaded the way everybody loads, on the device of the tests."""
    window = options.get("window_size")
    return paragon_arch.load(state(**options), alpha=options.get("alpha", 0.3), window_size=window).to(DEVICE)


def checkpoint(path: Path, **options: Any) -> Path:
    """`network` as a file."""
    save_file(state(**options), path)
    return path
