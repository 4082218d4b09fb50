"""The pack in a real ComfyUI: our node is there, and core's own nodes upscale with our checkpoints.

Runs where COMFYUI_PATH names a ComfyUI folder (and COMFYUI_PYTHON its interpreter); `install.py` here makes both.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]

import paragon_arch
from paragon_arch.networks.v2_release import ParagonSR2Release
from tests.comfyui.server import Server, interpreter

pytestmark = [pytest.mark.comfyui, pytest.mark.slow]

PACK = "ComfyUI-ParagonSR"
RANDOM = "2x_random_realtime.safetensors"
NANO = "2xParagonSR2_Nano_Pretrain.safetensors"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, copy_checkout: Callable[[Path], Path]) -> Iterator[Server]:
    """A server with our pack, two upscale models and a picture."""
    source = os.environ.get("COMFYUI_PATH")
    if not source:
        pytest.skip("COMFYUI_PATH is not set; `python tests/comfyui/install.py FOLDER` makes a ComfyUI")
    base = tmp_path_factory.mktemp("comfyui")
    for folder in ("models/upscale_models", "models/checkpoints", "input", "output", "user", "temp"):
        (base / folder).mkdir(parents=True)
    copy_checkout(base / "custom_nodes" / PACK)
    save_random_model(base / "models/upscale_models" / RANDOM)
    Image.fromarray(picture()).save(base / "input/in.png")
    running = Server(Path(source), interpreter(), base)
    yield running
    running.stop()


def picture() -> NDArray[np.uint8]:
    """Gradients and hard edges, 48 x 36, RGB."""
    rows, columns = np.mgrid[0:36, 0:48]
    checks = (rows // 6 + columns // 6) % 2 * 255
    return np.stack([rows * 7, columns * 5, checks], axis=-1).astype(np.uint8)


def save_random_model(path: Path) -> None:
    """A 2x release-layout realtime network with seeded weights."""
    torch.manual_seed(0)
    network = ParagonSR2Release(variant="realtime", scale=2, num_feat=16, num_groups=1, num_blocks=3)
    for parameter in network.body.parameters():  # a fresh LayerScale would hide the body
        torch.nn.init.normal_(parameter, std=0.3)
    save_file(network.state_dict(), path)


def expected(path: Path) -> NDArray[np.float64]:
    """Our own result for `picture`, in 0..255."""
    model = paragon_arch.load(path)
    image = torch.from_numpy(picture()).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        result = model(image)[0].clamp(0, 1).permute(1, 2, 0)
    return result.double().numpy() * 255


def upscale(server: Server, loader: dict[str, Any], prefix: str) -> NDArray[np.float64]:
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


def assert_saved(saved: NDArray[np.float64], exact: NDArray[np.float64]) -> None:
    """Core's SaveImage cuts fractions of a level off; beyond that, the two agree."""
    lost = exact - saved
    assert lost.min() > -0.02
    assert lost.max() < 1.02


def test_our_node_stands_beside_cores(server: Server) -> None:
    nodes = server.get("/object_info")
    assert "UpscaleModelLoader" in nodes
    assert "ParagonSRLoadModel" in nodes, server.tail()
    ours = nodes["ParagonSRLoadModel"]
    assert ours["display_name"] == "Load ParagonSR Model"
    assert ours["python_module"] == f"custom_nodes.{PACK}"
    assert ours["output"] == ["UPSCALE_MODEL", "STRING"]
    assert RANDOM in ours["input"]["required"]["model_name"][0]


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
