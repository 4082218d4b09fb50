"""A ComfyUI with DynamicVRAM (0.23 and later): our nodes free none of its native memory."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.comfyui.server import interpreter

pytestmark = pytest.mark.comfyui
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("loader", ["ours", "core"])
def test_a_model_of_dynamic_vram_survives_our_nodes(loader: str) -> None:
    source = os.environ.get("COMFYUI_PATH")
    if not source:
        pytest.skip("COMFYUI_PATH is not set; `python tests/comfyui/install.py FOLDER` makes a ComfyUI")
    patcher = (Path(source) / "comfy/model_patcher.py").read_text(encoding="utf-8")
    if "ModelPatcherDynamic" not in patcher:
        pytest.skip("this ComfyUI has no DynamicVRAM: 0.23 or later is needed")
    program = Path(__file__).with_name("dynamic_vram.py")
    command = [str(interpreter()), str(program), source, str(ROOT), loader]
    result = subprocess.run(command, capture_output=True, text=True, cwd=source, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.strip().endswith("survived")
