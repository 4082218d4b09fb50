"""What a host hangs on a network is freed by the host alone: no node copies it or takes it along."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import paragon_arch
from nodes.calibrate_model import CalibrateModel
from nodes.export_onnx import ExportOnnx
from nodes.fuse_model import FuseModel
from nodes.model_info import ModelInfo
from nodes.quantize_int8 import QuantizeInt8
from nodes.save_model import SaveModel
from nodes.upscale_frames import UpscaleFrames
from nodes.upscale_image import UpscaleImage
from nodes.upscale_video import UpscaleVideo
from paragon_arch.copying import private_copy
from paragon_engine import Upscaler
from tests.engine.exact_models import build
from tests.engine_models import descriptor
from tests.nodes.stand_in import VideoFromFile, foreign_model
from tests.nodes.test_upscale_node import WIDGETS
from tests.video_files import make_video

FREED: list[int] = []


class Handle:
    """Native memory, as ComfyUI's DynamicVRAM hangs it on networks: a copy has the same pointer and frees it, too."""

    def __init__(self, pointer: int) -> None:
        self.pointer = pointer

    def __del__(self) -> None:
        FREED.append(self.pointer)


@pytest.fixture(autouse=True)
def nothing_is_freed() -> Iterator[None]:
    """While the model is there."""
    FREED.clear()
    yield
    FREED.clear()


def with_handles(model: Any) -> Any:
    """The same model, with handles on its network and on every module in it."""
    for number, module in enumerate(model.model.modules()):
        module.dynamic_pins = {torch.device("cpu"): {"buffers": [Handle(number)]}}
        module.dynamic_patchers = {number}
        module.native = Handle(1000 + number)
    return model


def unfused() -> Any:
    return paragon_arch.load(build("v1-pixelshuffle").state_dict(), scale=2)


def dynamic() -> Any:
    return paragon_arch.load(build("v2-dynamic").state_dict(), scale=2)


def images(count: int = 1, side: int = 40) -> torch.Tensor:
    return torch.rand(count, side, side, 3, generator=torch.Generator().manual_seed(0))


def upscale_image(model: Any, _: Path) -> None:
    for tile in ("untiled", "128"):
        tiled: dict[str, Any] = WIDGETS | {"tile": tile}
        UpscaleImage().upscale(model, images(side=140), **tiled)
    half: dict[str, Any] = WIDGETS | {"precision": "bf16"}
    UpscaleImage().upscale(model, images(), **half)


def upscale_frames(model: Any, _: Path) -> None:
    UpscaleFrames().upscale(model, images(2), **WIDGETS, feedback=0.2)


def upscale_video(model: Any, folder: Path) -> None:
    source: Any = VideoFromFile(str(make_video(folder / "in.mp4", 2)))
    options: dict[str, Any] = {"feedback": 0.2, "container": "mp4", "codec": "auto", "quality": -1}
    UpscaleVideo().upscale(model, source, **WIDGETS, **options)


def fuse(model: Any, _: Path) -> None:
    fused, _text = FuseModel().fuse(model)
    assert_clean(fused.model)


def calibrate(model: Any, _: Path) -> None:
    result, _text = CalibrateModel().calibrate(model, images(2, 64), 4)
    assert_clean(result.model)


def export(model: Any, _: Path) -> None:
    ExportOnnx().export(model, "a", "output", overwrite=True, precision="fp32", opset=18)


def quantize(model: Any, _: Path) -> None:
    QuantizeInt8().quantize(model, images(4, 160), "b", "output", True, "minmax", 3.0, False)


def save(model: Any, _: Path) -> None:
    SaveModel().save(model, "c", "output", overwrite=True)


def info(model: Any, _: Path) -> None:
    ModelInfo().describe(model)


NODES = (upscale_image, upscale_frames, upscale_video, fuse, export, quantize, save, info)
ALL = (upscale_image, upscale_frames, upscale_video, info)
CASES = [
    *((node, descriptor) for node in NODES),
    (fuse, unfused),
    (calibrate, dynamic),
    *((node, foreign_model) for node in ALL),
]


def assert_clean(network: Any) -> None:
    for module in network.modules():
        assert not {name for name in module.__dict__ if name.startswith("dynamic_p") or name == "native"}


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(("node", "make"), CASES, ids=lambda item: item.__name__)
def test_a_node_frees_no_handle_of_the_host(
    node: Callable[[Any, Path], None], make: Callable[[], Any], tmp_path: Path
) -> None:
    model = with_handles(make())
    count = sum(1 for _ in model.model.modules())
    node(model, tmp_path)
    gc.collect()
    assert FREED == []
    del model
    gc.collect()
    assert sorted(FREED) == [*range(count), *range(1000, 1000 + count)]  # each one once: nobody else holds it


@pytest.mark.parametrize("make", [descriptor, unfused, dynamic])
def test_a_private_copy_of_a_network_of_ours_has_tensors_alone(make: Callable[[], Any]) -> None:
    model = with_handles(make())
    copy = private_copy(model.model)
    assert_clean(copy)
    assert all(torch.equal(a, b) for a, b in zip(copy.parameters(), model.model.parameters(), strict=True))
    assert not {x.data_ptr() for x in copy.parameters()} & {x.data_ptr() for x in model.model.parameters()}


def test_an_upscaler_does_not_keep_what_it_was_made_from() -> None:
    model = with_handles(descriptor())
    with Upscaler(model) as upscaler:
        del model
        gc.collect()
        assert FREED
        assert upscaler(torch.rand(1, 3, 8, 8)).shape == (1, 3, 16, 16)
