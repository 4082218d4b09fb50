"""Ways 2 and 3: `python -m deploy` from the root of a checkout, and pytest in both of its import modes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


def test_the_command_line_runs_from_the_root(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deploy", "--help"], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for command in ("inspect", "fuse", "upscale"):
        assert command in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["prepend", "importlib"])
def test_pytest_collects_in_both_import_modes(mode: str, tmp_path: Path, copy_checkout: Callable[[Path], Path]) -> None:
    checkout = copy_checkout(tmp_path / "comfyui-paragonsr-main")
    command = [sys.executable, "-m", "pytest", f"--import-mode={mode}", "-p", "no:cacheprovider", "-q"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    everything = subprocess.run(
        [*command, "--collect-only"], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    assert everything.returncode == 0, everything.stdout
    some = [*command, "tests/test_imports.py"]
    done = subprocess.run(some, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
