"""Nodes without ComfyUI."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from tests.nodes.stand_in import Host


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """The stand-in, in place of ComfyUI's modules; as there, everything runs in PyTorch's inference mode."""
    made = Host(tmp_path / "comfyui")
    for name, attributes in made.modules().items():
        module = ModuleType(name)
        vars(module).update(attributes)
        monkeypatch.setitem(sys.modules, name, module)
    with torch.inference_mode():
        yield made
