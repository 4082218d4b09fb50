"""Fixtures of the chaiNNer tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chainner.backend import Backend
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


@pytest.fixture(scope="session")
def real_environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Our wheel in a virtual environment on top of chaiNNer's dependencies, which stay as they are."""
    if not os.environ.get("CHAINNER_PATH"):
        pytest.skip("CHAINNER_PATH is not set; docs/chainner.md says how to get a chaiNNer for the tests")
    lender = os.environ.get("CHAINNER_PYTHON", sys.executable)
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    purelib = subprocess.run([lender, "-c", ask], check=True, capture_output=True, text=True).stdout.strip()
    environment = Environment(tmp_path_factory.mktemp("environment"), Path(lender))
    environment.unpack(wheel)
    environment.write("lender.pth", f"import site; site.addsitedir({purelib!r})\n")
    return environment


@pytest.fixture(scope="session")
def backend(real_environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """The worker, with chaiNNer's own checks of schemata, types and names at level error."""
    running = Backend(Path(os.environ["CHAINNER_PATH"]), real_environment.python, tmp_path_factory.mktemp("backend"))
    yield running
    running.stop()
