"""The pack in a real ComfyUI: our loader is there, and core's own nodes upscale with our checkpoints."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.comfyui.server import Server
from tests.comfyui.subjects import NANO, PACK, RANDOM, SHIPPED, Levels, assert_saved, expected

pytestmark = [pytest.mark.comfyui, pytest.mark.slow]


def upscale(server: Server, loader: dict[str, Any], prefix: str) -> Levels:
    """The picture that core's nodes save with the model that `loader` (an API-form node) loads."""
    outputs = server.run(
        {
            "1": {"class_type": "LoadImage", "inputs": {"image": "in.png"}},
            "2": loader,
            "3": {"class_type": "ImageUpscaleWithModel", "inputs": {"upscale_model": ["2", 0], "image": ["1", 0]}},
            "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": prefix}},
        }
    )
    saved = outputs["4"]["images"][0]
    return np.asarray(Image.open(server.base / "output" / saved["filename"]).convert("RGB")).astype(np.float64)


def test_our_node_stands_beside_cores(server: Server) -> None:
    nodes = server.get("/object_info")
    assert "UpscaleModelLoader" in nodes
    assert "ParagonSRLoadModel" in nodes, server.tail()
    ours = nodes["ParagonSRLoadModel"]
    assert ours["display_name"] == "Load ParagonSR Model"
    assert ours["python_module"] == f"custom_nodes.{PACK}"
    assert ours["output"] == ["UPSCALE_MODEL", "STRING"]
    for loader in ("ParagonSRLoadModel", "UpscaleModelLoader"):
        form, *rest = nodes[loader]["input"]["required"]["model_name"]
        assert {RANDOM, SHIPPED} <= set(rest[0]["options"] if form == "COMBO" else form)


@pytest.mark.parametrize("loader", ["UpscaleModelLoader", "ParagonSRLoadModel"])
def test_cores_upscale_node_gives_our_result(server: Server, loader: str) -> None:
    result = upscale(server, {"class_type": loader, "inputs": {"model_name": RANDOM}}, loader)
    assert result.shape == (72, 96, 3)
    assert_saved(result, expected(server.base / "models/upscale_models" / RANDOM))


def test_core_loads_an_original_checkpoint_from_its_tensors_alone(server: Server, shared: Path) -> None:
    models = server.base / "models/upscale_models"
    shutil.copy(shared / "checkpoints" / NANO, models / "model.safetensors")  # the name must not give the scale away
    loader = {"class_type": "UpscaleModelLoader", "inputs": {"model_name": "model.safetensors"}}
    result = upscale(server, loader, "nano")
    assert result.shape == (72, 96, 3)
    assert_saved(result, expected(shared / "checkpoints" / NANO))


def test_our_loader_refuses_a_scale_that_the_file_contradicts(server: Server) -> None:
    node = {"class_type": "ParagonSRLoadModel", "inputs": {"model_name": RANDOM, "scale": 4}}
    with pytest.raises(RuntimeError, match="InvalidOptionError"):
        upscale(server, node, "wrong")
