"""Way 1: a folder inside ComfyUI's custom_nodes. tests/comfyui does the same in a real server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LOADER = Path(__file__).with_name("fake_comfyui.py")


def load_pack(pack: Path, *options: str) -> dict[str, Any]:
    """Import `pack` in a fresh interpreter whose working folder is not the checkout."""
    command = [sys.executable, str(LOADER), str(pack), *options]
    done = subprocess.run(command, cwd=pack.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module", params=["ComfyUI-ParagonSR", "comfyui-paragonsr v0.1"])
def pack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, copy_checkout: Callable[[Path], Path]
) -> Path:
    """A copy of the checkout under a name that is no Python identifier."""
    return copy_checkout(tmp_path_factory.mktemp("custom_nodes") / str(request.param))


@pytest.fixture(scope="module")
def loaded(pack: Path) -> dict[str, Any]:
    """What importing the pack brought about."""
    return load_pack(pack)


def test_nodes_and_architectures_are_registered(loaded: dict[str, Any]) -> None:
    assert "ParagonSRLoadModel" in loaded["nodes"]
    assert loaded["nodes"] == loaded["names"]
    assert any("paragonsr" in identifier.lower() for identifier in loaded["ids"])


def test_the_models_of_the_pack_are_listed(pack: Path, loaded: dict[str, Any]) -> None:
    assert loaded["model_folders"] == [["onnx", "models/onnx"], ["upscale_models", str(pack / "models")]]


def test_libraries_come_from_the_pack_and_the_hosts_modules_stay(pack: Path, loaded: dict[str, Any]) -> None:
    assert Path(loaded["arch_file"]) == pack / "paragon_arch" / "__init__.py"
    assert Path(loaded["engine_file"]) == pack / "paragon_engine" / "__init__.py"
    assert loaded["host_nodes"] == "the host's own"
    assert loaded["path_unchanged"]
    assert not {"deploy", "training", "tests", "paragonsr"} & set(loaded["top_level"])


def test_a_folder_that_browsers_cannot_load_from_is_said(pack: Path, loaded: dict[str, Any]) -> None:
    said = [line for line in loaded["log"] if "browsers cannot load" in line]
    assert bool(said) == (" " in pack.name)


def test_of_two_copies_one_is_used_and_both_are_named(pack: Path, copy_checkout: Callable[[Path], Path]) -> None:
    other = copy_checkout(pack.with_name(f"{pack.name}-2"))
    found = load_pack(other, "--after", str(pack))
    assert found["nodes"] == []
    assert found["web"] is None
    (line,) = [line for line in found["log"] if "installed twice" in line]
    assert str(pack) in line
    assert str(other) in line


def test_a_missing_package_is_named_with_its_cure(pack: Path) -> None:
    message = load_pack(pack, "--block", "spandrel")["error"]
    assert "'spandrel'" in message
    assert "pip install -r" in message


def test_another_version_of_the_library_is_refused_by_name(pack: Path, tmp_path: Path) -> None:
    other = tmp_path / "paragon_arch" / "__init__.py"
    other.parent.mkdir()
    other.write_text("__version__ = '0.0.1'\n", encoding="utf-8")
    message = load_pack(pack, "--preload", str(other))["error"]
    assert "paragon_arch 0.0.1" in message
    assert str(other.parent) in message
    assert "pip uninstall" in message


def test_outside_comfyui_nothing_is_loaded(root: Path) -> None:
    code = "import sys, runpy; runpy.run_path('__init__.py'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
