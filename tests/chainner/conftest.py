"""Fixtures of the chaiNNer tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chainner.hook_environment import SPANDREL, SUPPORT, Environment


@pytest.fixture
def standin(tmp_path: Path, wheel: Path) -> Environment:
    """An environment with the wheel, where spandrel and paragon_arch are stand-ins that import at once."""
    environment = Environment(tmp_path / "environment")
    environment.unpack(wheel)
    environment.write("spandrel/__init__.py", SPANDREL)
    environment.write("paragon_arch/__init__.py", "")
    environment.write("paragon_arch/spandrel_support.py", SUPPORT)
    return environment
