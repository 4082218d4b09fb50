"""The groups of PyTorch nodes."""

from __future__ import annotations

from .. import pytorch_category

io_group = pytorch_category.add_node_group("Input & Output")
