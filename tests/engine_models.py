"""Small real models for the tests of the engine and the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]

import paragon_arch
from paragon_arch.networks.v2_release import ParagonSR2Release
from paragon_engine import Upscaler
from paragon_engine.backends import BACKENDS
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


def upscaler(**options: Any) -> Upscaler:
    """`descriptor`, ready to run."""
    return ready(descriptor(**options))


def ready(model: Any, **options: Any) -> Upscaler:
    """Any model, ready to run on the device of the tests, or on the CPU where a backend cannot work there."""
    name = options.get("backend", "torch")
    place = torch.device("cpu") if name in BACKENDS and DEVICE.type not in BACKENDS[name].devices else DEVICE
    usual: dict[str, Any] = {"device": place, "halves": ("fp16", "bf16")}
    return Upscaler(model, **(usual | options))


def damaged(model: paragon_arch.ParagonModelDescriptor) -> paragon_arch.ParagonModelDescriptor:
    """The same model, whose weights are finite and whose results are not."""
    with torch.no_grad():
        for parameter in model.model.parameters():
            parameter.mul_(1e30)
    return model


def overflowing(model: paragon_arch.ParagonModelDescriptor) -> paragon_arch.ParagonModelDescriptor:
    """The same model, whose features go beyond FP16's 65504 and are brought back by the next layer."""
    with torch.no_grad():
        for name, factor in (("conv_in.weight", 1e6), ("conv_in.bias", 1e6), ("up.0.weight", 1e-6)):
            model.model.get_parameter(name).mul_(factor)
    return model


def checkpoint(path: Path, **options: Any) -> Path:
    """`network` as a file."""
    save_file(state(**options), path)
    return path
