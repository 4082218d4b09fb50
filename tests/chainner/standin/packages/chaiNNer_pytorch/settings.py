"""The app's settings for PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from api import NodeContext


@dataclass(frozen=True)
class PyTorchSettings:
    """As in chaiNNer, on a machine without a GPU."""

    use_fp16: bool = False
    budget_limit: int = 0
    force_cache_wipe: bool = False

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")


def get_settings(context: NodeContext) -> PyTorchSettings:
    return context.settings
