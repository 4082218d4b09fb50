"""The group that our nodes are in, and what they have in common."""

from __future__ import annotations

from typing import cast

from .. import host
from ..interfaces import NodeGroup

ICON = "PyTorch"
SAME_MODEL = """
    PyTorchModel {
        scale: Input0.scale,
        inputChannels: Input0.inputChannels,
        outputChannels: Input0.outputChannels,
        arch: Input0.arch,
        subType: Input0.subType,
        tiling: Input0.tiling,
    }
"""
"""navi type of a model with other weights than the one that came in: everything but its tags."""

group = cast("NodeGroup", host.package.pytorch_category.add_node_group("ParagonSR"))
