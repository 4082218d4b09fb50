"""Our nodes in a real ComfyUI: the example workflows, and what goes wrong with real users."""

from __future__ import annotations

import importlib
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import paragon_arch
from paragon_engine.metrics import psnr_y
from paragon_engine.pictures import read_image
from paragon_engine.upscale import UpscaleSettings, upscale_picture
from tests.comfyui.server import Server
from tests.comfyui.subjects import FUSIBLE, RANDOM, SHIPPED, Levels, assert_saved, expected, saved
from tests.comfyui.workflows import EXAMPLES, nodes_of, to_api

av: Any = importlib.import_module("av")

pytestmark = [pytest.mark.comfyui, pytest.mark.slow]

UPSCALE = {
    "resize": "model scale",
    "factor": 2.0,
    "width": 0,
    "height": 0,
    "tile": "auto",
    "precision": "auto",
    "upscale_model": ["2", 0],
    "image": ["1", 0],
}


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def upscaling(prefix: str, *, model: str = RANDOM, image: str = "in.png", **inputs: Any) -> dict[str, Any]:
    """Load picture (1) and model (2), upscale (3), save (4)."""
    return {
        "1": node("LoadImage", image=image),
        "2": node("ParagonSRLoadModel", model_name=model),
        "3": node("ParagonSRUpscaleImage", **(UPSCALE | inputs)),
        "4": node("SaveImage", images=["3", 0], filename_prefix=prefix),
    }


def stored(server: Server, outputs: dict[str, Any], number: str = "4") -> Levels:
    """The picture that a SaveImage node stored."""
    return saved(server.base / "output" / outputs[number]["images"][0]["filename"])


def example(server: Server, name: str, *, image: str = "in.png", models: tuple[str, ...] = (RANDOM,)) -> dict[str, Any]:
    """An example workflow with our test picture and models in place of its own."""
    workflow = to_api(EXAMPLES / f"{name}.json", server.get("/object_info"))
    for number in nodes_of(workflow, "LoadImage"):
        workflow[number]["inputs"]["image"] = image
    loaders = nodes_of(workflow, "ParagonSRLoadModel") + nodes_of(workflow, "UpscaleModelLoader")
    for number, model in zip(loaders, models, strict=True):
        workflow[number]["inputs"]["model_name"] = model
    return workflow


def model_file(server: Server, name: str) -> Path:
    folder = "custom_nodes/ComfyUI-ParagonSR/models" if name == SHIPPED else "models/upscale_models"
    return server.base / folder / name


@pytest.mark.parametrize(("name", "model"), [("upscale_image", SHIPPED), ("core_nodes_only", RANDOM)])
def test_example_upscale(server: Server, name: str, model: str) -> None:
    workflow = example(server, name, models=(model,))
    outputs = server.run(workflow)
    (save,) = nodes_of(workflow, "SaveImage")
    assert_saved(stored(server, outputs, save), expected(model_file(server, model)))


def test_example_size_with_transparency(server: Server) -> None:
    workflow = example(server, "upscale_to_size_with_transparency", image="transparent.png")
    (upscale,), (save,) = nodes_of(workflow, "ParagonSRUpscaleImage"), nodes_of(workflow, "SaveImage")
    workflow[upscale]["inputs"]["width"] = 120
    result = stored(server, server.run(workflow), save)
    picture = read_image(server.base / "input/transparent.png")
    model = paragon_arch.load(model_file(server, RANDOM))
    exact = upscale_picture(model, picture, UpscaleSettings(size=(120, 90)))
    assert exact.alpha is not None
    assert result.shape == (90, 120, 4)
    assert_saved(result, np.concatenate([exact.pixels, exact.alpha[..., None]], axis=-1).astype(np.float64) * 255)


def test_example_restore(server: Server) -> None:
    workflow = example(server, "restore_then_upscale_to_size")
    (save,) = nodes_of(workflow, "SaveImage")
    assert stored(server, server.run(workflow), save).shape == (768, 1024, 3)


def test_example_compare(server: Server) -> None:
    workflow = example(server, "compare_two_models", models=(RANDOM, SHIPPED))
    (compare,) = nodes_of(workflow, "ParagonSRCompareImages")
    answer = server.run(workflow)[compare]
    shown = [saved(server.base / "temp" / answer[f"paragonsr_{side}"][0]["filename"]) for side in ("before", "after")]
    for pixels, model in zip(shown, (RANDOM, SHIPPED), strict=True):
        assert np.abs(pixels - expected(model_file(server, model))).max() < 0.52
    psnr = psnr_y(*(pixels.astype(np.uint8) for pixels in shown))
    assert answer["paragonsr_scores"][0].startswith(f"PSNR {psnr:.2f} dB, SSIM 0.")


def test_example_fuse_and_export(server: Server) -> None:
    workflow = example(server, "fuse_and_export_for_release", models=(FUSIBLE,))
    (save,), (export,) = nodes_of(workflow, "ParagonSRSaveModel"), nodes_of(workflow, "ParagonSRExportONNX")
    workflow[save]["inputs"]["file_name"] = workflow[export]["inputs"]["file_name"] = "mine/2x_fused"
    workflow[export]["inputs"].update(folder="models/onnx", precision="fp32")
    server.run(workflow)
    file = server.base / "output/mine/2x_fused.safetensors"
    assert paragon_arch.inspect(file).fused
    exact = expected(model_file(server, FUSIBLE))
    np.testing.assert_allclose(expected(file), exact, rtol=0, atol=0.01)
    result = upscaling("graph")
    result["2"] = node("ParagonSRLoadONNX", model_name="mine/2x_fused_op18_fp32.onnx", provider="auto")
    assert_saved(stored(server, server.run(result)), exact)


def test_example_video(server: Server) -> None:
    workflow = example(server, "upscale_video")
    (load,), (save,) = nodes_of(workflow, "LoadVideo"), nodes_of(workflow, "SaveVideo")
    workflow[load]["inputs"]["file"] = "in.mp4"
    workflow[save]["inputs"]["filename_prefix"] = "video"
    server.run(workflow)
    (file,) = (server.base / "output").glob("video*.mp4")
    with av.open(str(file)) as container:
        shapes = [frame.to_ndarray(format="rgb24").shape for frame in container.decode(video=0)]
    assert shapes == [(72, 96, 3)] * 3


def test_every_example_has_a_picture_and_is_tested() -> None:
    names = {file.stem for file in EXAMPLES.glob("*.json")}
    assert names == {file.stem for file in EXAMPLES.glob("*.jpg")}
    source = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{name}"' in source for name in names)


def test_cancelling_stops_the_work_and_the_next_run_works(server: Server) -> None:
    number = server.submit(upscaling("cancelled", image="large.png", tile="256"))
    time.sleep(1.5)
    server.post("/interrupt", {})
    began = time.monotonic()
    entry = server.wait(number)
    assert time.monotonic() - began < 3  # a second, and what a busy machine adds
    assert entry["status"]["messages"][-1][0] == "execution_interrupted"
    assert not list((server.base / "output").glob("cancelled*"))
    assert_saved(stored(server, server.run(upscaling("after"))), expected(model_file(server, RANDOM)))


def test_running_out_of_memory_shrinks_the_tiles_and_not_the_quality(server: Server) -> None:
    workflow = upscaling("memory", image="medium.png")
    workflow["5"] = node("TestOutOfMemory", image=["1", 0], elements=16 * 64 * 64)
    workflow["3"]["inputs"]["image"] = ["5", 0]
    try:
        outputs = server.run(workflow)
    finally:
        server.run(upscaling("enough") | {"5": node("TestOutOfMemory", image=["1", 0], elements=0)} | {
            "6": node("PreviewImage", images=["5", 0])
        })  # fmt: skip
    pixels = read_image(server.base / "input/medium.png").pixels
    assert_saved(stored(server, outputs), expected(model_file(server, RANDOM), np.round(pixels * 255).astype(np.uint8)))
    assert "out of memory on cpu: going on with tiles of" in server.tail()


def test_the_card_of_a_model_can_be_opened(server: Server) -> None:
    with urllib.request.urlopen(f"{server.url}/paragonsr/card?model={SHIPPED}", timeout=60) as answer:
        text = answer.read().decode()
    assert "layout v2-release" in text
    assert "PSNR" in text


def test_a_broken_model_file_is_named(server: Server) -> None:
    with pytest.raises(RuntimeError, match=r"CorruptCheckpointError: .*broken\.safetensors"):
        server.run(upscaling("broken", model="broken.safetensors"))


def test_a_hostile_output_path_writes_nothing(server: Server) -> None:
    save = node(
        "ParagonSRSaveModel", upscale_model=["2", 0], file_name="../../escaped", folder="output", overwrite=True
    )
    with pytest.raises(RuntimeError, match="leads out of"):
        server.run({"2": node("ParagonSRLoadModel", model_name=RANDOM), "3": save})
    assert not list(server.base.parent.rglob("escaped*"))


def test_the_same_prompt_twice_runs_once(server: Server) -> None:
    workflow = upscaling("twice", resize="factor", factor=1.7)
    server.run(workflow)
    entry = server.wait(server.submit(workflow))
    cached = next(body for kind, body in entry["status"]["messages"] if kind == "execution_cached")
    assert set(cached["nodes"]) == {"1", "2", "3", "4"}


def test_branches_that_share_a_model_do_not_change_it(server: Server) -> None:
    workflow = upscaling("shared", model=FUSIBLE, precision="bf16")
    workflow |= {
        "5": node("ParagonSRFuseModel", upscale_model=["2", 0]),
        "6": node("ParagonSRUpscaleImage", **(UPSCALE | {"upscale_model": ["5", 0]})),
        "7": node("SaveImage", images=["6", 0], filename_prefix="shared_fused"),
        "8": node("ParagonSRUpscaleImage", **UPSCALE),
        "9": node("SaveImage", images=["8", 0], filename_prefix="shared_plain"),
    }
    outputs, exact = server.run(workflow), expected(model_file(server, FUSIBLE))
    for number in ("7", "9"):
        assert_saved(stored(server, outputs, number), exact)
    assert np.abs(stored(server, outputs) - exact).max() < 8  # BF16 has eight bits
