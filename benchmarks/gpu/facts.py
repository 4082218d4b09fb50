"""What the measurements were made on."""

from __future__ import annotations

import os
from importlib import metadata
from typing import Any, cast

import torch

from paragon_engine.doctor import as_dict, collect, findings

VARIABLES = ("CUDA_VISIBLE_DEVICES", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF", "OMP_NUM_THREADS")


def facts(device: torch.device) -> dict[str, Any]:
    """Card, driver, versions, settings."""
    known = collect()
    report = as_dict(known, findings(known))
    kept = ("ours", "python", "system", "packages", "torch_build", "cards", "devices", "findings")
    found: dict[str, Any] = {key: report[key] for key in kept}
    found["variables"] = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    found["threads"] = torch.get_num_threads()
    if device.type == "cuda":
        card = cast("Any", torch.cuda.get_device_properties(device))
        found["card"] = {
            "name": card.name,
            "capability": f"{card.major}.{card.minor}",
            "memory": card.total_memory,
            "multiprocessors": card.multi_processor_count,
            "cudnn": torch.backends.cudnn.version(),
            "tf32": {"matmul": torch.backends.cuda.matmul.allow_tf32, "cudnn": torch.backends.cudnn.allow_tf32},
            "nvidia packages": {
                item.name: item.version for item in metadata.distributions() if item.name.startswith("nvidia-")
            },
        }
    return found
