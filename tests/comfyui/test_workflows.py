"""Our nodes in a real ComfyUI: the example workflows, and what goes wrong with real users."""

from __future__ import annotations

import importlib
import json
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

import paragon_arch
from paragon_engine import Upscaler
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


@pytest.mark.parametrize(
    ("name", "model"), [("1 Upscale an image", SHIPPED), ("7 Upscale with core nodes only", RANDOM)]
)
def test_example_upscale(server: Server, name: str, model: str) -> None:
    workflow = example(server, name, models=(model,))
    outputs = server.run(workflow)
    (save,) = nodes_of(workflow, "SaveImage")
    assert_saved(stored(server, outputs, save), expected(model_file(server, model)))


def test_example_screen_size(server: Server) -> None:
    workflow = example(server, "2 Upscale to a screen size")
    (save,) = nodes_of(workflow, "SaveImage")
    assert stored(server, server.run(workflow), save).shape == (1080, 1440, 3)


def test_example_transparency(server: Server) -> None:
    workflow = example(server, "3 Upscale with transparency", image="transparent.png")
    (upscale,), (save,) = nodes_of(workflow, "ParagonSRUpscaleImage"), nodes_of(workflow, "SaveImage")
    workflow[upscale]["inputs"]["longest_side"] = 120
    result = stored(server, server.run(workflow), save)
    picture = read_image(server.base / "input/transparent.png")
    upscaler = Upscaler(model_file(server, RANDOM), device="cpu")
    exact = upscale_picture(upscaler, picture, UpscaleSettings(size=(120, 90)))
    assert exact.alpha is not None
    assert result.shape == (90, 120, 4)
    assert_saved(result, np.concatenate([exact.pixels, exact.alpha[..., None]], axis=-1).astype(np.float64) * 255)


def test_example_compare(server: Server) -> None:
    workflow = example(server, "4 Compare two models", models=(RANDOM, SHIPPED))
    (compare,) = nodes_of(workflow, "ParagonSRCompareImages")
    answer = server.run(workflow)[compare]
    shown = [saved(server.base / "temp" / answer[f"paragonsr_{side}"][0]["filename"]) for side in ("before", "after")]
    for pixels, model in zip(shown, (RANDOM, SHIPPED), strict=True):
        assert np.abs(pixels - expected(model_file(server, model))).max() < 0.52
    psnr = psnr_y(*(pixels.astype(np.uint8) for pixels in shown))
    assert answer["paragonsr_scores"][0].startswith(f"PSNR {psnr:.2f} dB, SSIM 0.")


def test_example_export(server: Server) -> None:
    workflow = example(server, "6 Export a model to ONNX", models=(FUSIBLE,))
    (export,) = nodes_of(workflow, "ParagonSRExportONNX")
    assert workflow[export]["inputs"]["overwrite"] is False
    workflow[export]["inputs"].update(file_name="mine/2x_fused", folder="models/onnx", precision="fp32")
    server.run(workflow)
    result = upscaling("graph")
    result["2"] = node("ParagonSRLoadONNX", model_name="mine/2x_fused_op18_fp32.onnx", provider="auto")
    assert_saved(stored(server, server.run(result)), expected(model_file(server, FUSIBLE)))
    with pytest.raises(RuntimeError, match="OutputExistsError"):
        server.run(workflow | {"9": node("PreviewAny", source=[export, 0])})


def test_a_fused_model_is_saved(server: Server) -> None:
    workflow = {
        "1": node("ParagonSRLoadModel", model_name=FUSIBLE),
        "2": node("ParagonSRFuseModel", upscale_model=["1", 0]),
        "3": node(
            "ParagonSRSaveModel", upscale_model=["2", 0], file_name="mine/2x_fused", folder="output", overwrite=True
        ),
    }
    server.run(workflow)
    file = server.base / "output/mine/2x_fused.safetensors"
    assert paragon_arch.inspect(file).fused
    np.testing.assert_allclose(expected(file), expected(model_file(server, FUSIBLE)), rtol=0, atol=0.01)


def test_example_video(server: Server) -> None:
    workflow = example(server, "5 Upscale a video")
    (load,), (save,) = nodes_of(workflow, "LoadVideo"), nodes_of(workflow, "SaveVideo")
    workflow[load]["inputs"]["file"] = "in.mp4"
    workflow[save]["inputs"]["filename_prefix"] = "video"
    server.run(workflow)
    (file,) = (server.base / "output").glob("video*.mp4")
    with av.open(str(file)) as container:
        shapes = [frame.to_ndarray(format="rgb24").shape for frame in container.decode(video=0)]
    assert shapes == [(72, 96, 3)] * 3


def video(server: Server, prefix: str, source: dict[str, dict[str, Any]], last: str) -> list[tuple[int, ...]]:
    """Shapes of the frames that Upscale Video makes of a VIDEO, output 0 of node ``last``."""
    widgets = {"resize": "model scale", "container": "mp4"}
    workflow = source | {
        "m": node("ParagonSRLoadModel", model_name=RANDOM),
        "u": node("ParagonSRUpscaleVideo", upscale_model=["m", 0], video=[last, 0], **widgets),
        "s": node("SaveVideo", video=["u", 0], filename_prefix=prefix, format="auto", codec="auto"),
    }
    server.run(workflow)
    (file,) = (server.base / "output").glob(f"{prefix}*.mp4")
    with av.open(str(file)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert container.streams.video[0].pix_fmt == "yuv420p"
        return [frame.to_ndarray(format="rgb24").shape for frame in container.decode(video=0)]


def test_a_created_video_is_upscaled(server: Server) -> None:
    source = {
        "1": node("LoadImage", image="in.png"),
        "2": node("RepeatImageBatch", image=["1", 0], amount=4),
        "3": node("CreateVideo", images=["2", 0], fps=10.0),
    }
    assert video(server, "created", source, "3") == [(72, 96, 3)] * 4


def test_a_trimmed_video_is_upscaled_as_it_is_trimmed(server: Server) -> None:
    if "Video Slice" not in server.get("/object_info"):
        pytest.skip("this core has no Trim Video")
    source = {
        "1": node("LoadVideo", file="in.mp4"),
        "2": node("Video Slice", video=["1", 0], start_time=0.1, duration=0.1, strict_duration=False),
    }
    assert video(server, "trimmed", source, "2") == [(72, 96, 3)]


def test_every_example_has_a_picture_a_note_and_a_test() -> None:
    names = {file.stem for file in EXAMPLES.glob("*.json")}
    assert names == {file.stem for file in EXAMPLES.glob("*.jpg")}
    source = Path(__file__).read_text(encoding="utf-8")
    for name in names:
        assert f'"{name}"' in source
        stored = json.loads((EXAMPLES / f"{name}.json").read_text(encoding="utf-8"))
        assert any(one["type"] == "MarkdownNote" for one in stored["nodes"])
        assert all("title" in one for one in stored["nodes"])
        assert not [one for one in stored["nodes"] if one["type"] == "ParagonSRSaveModel" and one["widgets_values"][2]]


def test_examples_and_their_pictures_are_served(server: Server) -> None:
    names = server.get("/workflow_templates")["ComfyUI-ParagonSR"]
    assert {file.stem for file in EXAMPLES.glob("*.json")} == set(names)
    for name in names:
        for kind in ("json", "jpg"):
            place = quote(f"/api/workflow_templates/ComfyUI-ParagonSR/{name}.{kind}")
            with urllib.request.urlopen(server.url + place, timeout=60) as answer:
                assert answer.status == 200


@pytest.mark.parametrize("place", ["ParagonSRUpscaleImage.md", "ParagonSRUpscaleImage/de.md", "../texts/ja.json"])
def test_help_and_texts_are_served(server: Server, place: str) -> None:
    with urllib.request.urlopen(f"{server.url}/extensions/ComfyUI-ParagonSR/docs/{place}", timeout=60) as answer:
        assert answer.status == 200


def test_names_and_search_words_reach_the_front_end(server: Server) -> None:
    said = server.get("/i18n")
    assert said["zh"]["nodeDefs"]["ParagonSRUpscaleImage"]["inputs"]["resize"]["name"] == "输出尺寸"
    assert said["ja"]["settings"]["ParagonSR_Precision"]["name"] == "既定の精度"
    ours = server.get("/object_info")["ParagonSRUpscaleImage"]
    if "search_aliases" in ours:  # cores since January 2026
        assert {"super resolution", "esrgan", "放大"} <= set(ours["search_aliases"])


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
