"""Load, fuse, save and info, with real models and a stand-in for ComfyUI."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from spandrel import ImageModelDescriptor

import paragon_arch
from nodes.blend_models import BlendModels
from nodes.fuse_model import FuseModel
from nodes.load_model import LoadModel
from nodes.model_info import ModelInfo
from nodes.save_model import SaveModel
from paragon_arch.errors import InvalidOptionError, OutputExistsError
from paragon_arch.networks.v1 import ParagonSR
from tests.engine_models import checkpoint, descriptor
from tests.nodes.stand_in import Host, foreign_model

MODEL = "2x_test.safetensors"


@pytest.fixture
def models(host: Host) -> Path:
    """ComfyUI's folder of upscale models, with one in it."""
    folder = host.base / "models/upscale_models"
    checkpoint(folder / MODEL, alpha=0.3)
    return folder


def fusible() -> paragon_arch.ParagonModelDescriptor:
    """A small network of the first generation, not fused."""
    torch.manual_seed(0)
    network = ParagonSR(scale=2, num_feat=8, num_groups=1, num_blocks=2, hidden=12, branch=1, band=7)
    return paragon_arch.load(network.state_dict())


@pytest.mark.usefixtures("models")
def test_loading_says_what_it_found() -> None:
    assert LoadModel.INPUT_TYPES()["required"]["model_name"][0] == [MODEL]
    answer = LoadModel().load(MODEL, alpha=0.25)
    model, text = answer["result"]
    assert model.scale == 2
    assert model.patcher.model is model.model
    assert "alpha: 0.25 (override)" in text
    badge = {"kind": "realtime", "scale": 2, "state": "ready", "origin": "", "details": text}
    assert answer["ui"] == {"paragonsr_badge": [badge]}


def test_a_replaced_file_is_loaded_again(models: Path) -> None:
    before = LoadModel.IS_CHANGED(MODEL, scale=0)
    assert LoadModel.IS_CHANGED(MODEL) == before
    os.utime(models / MODEL, ns=(0, 0))
    assert LoadModel.IS_CHANGED(MODEL) != before


@pytest.mark.usefixtures("host")
def test_fusing_returns_a_new_model() -> None:
    model = fusible()
    keys = set(model.model.state_dict())
    fused, message = FuseModel().fuse(model)
    assert fused.report.fused
    assert "training tensors" in message
    assert not model.report.fused
    assert set(model.model.state_dict()) == keys
    image = torch.rand(1, 3, 20, 24)
    torch.testing.assert_close(fused(image), model(image), rtol=0, atol=1e-5)
    assert FuseModel().fuse(fused)[1] == "the model is fused already; nothing was changed"


def test_saving_keeps_what_the_tensors_do_not_tell(host: Host) -> None:
    (path,) = SaveModel().save(descriptor(alpha=0.3), "mine/2x_saved", "output")
    assert Path(path) == host.base.resolve() / "output/mine/2x_saved.safetensors"
    alpha = paragon_arch.inspect(path).values["alpha"]
    assert (alpha.value, alpha.source) == (pytest.approx(0.3), "hint")


def test_saving_replaces_a_file_only_if_asked(models: Path) -> None:
    before = (models / MODEL).read_bytes()
    fused, _ = FuseModel().fuse(fusible())
    with pytest.raises(OutputExistsError, match=MODEL):
        SaveModel().save(fused, MODEL, "models/upscale_models")
    assert (models / MODEL).read_bytes() == before
    SaveModel().save(fused, MODEL, "models/upscale_models", overwrite=True)
    assert paragon_arch.inspect(models / MODEL).fused


def test_nothing_is_written_outside(host: Host) -> None:
    with pytest.raises(InvalidOptionError, match="leads out"):
        SaveModel().save(descriptor(), "../../escaped/model", "output")
    assert not list(host.base.rglob("escaped"))


@pytest.mark.usefixtures("host")
def test_another_familys_model_is_named_and_refused() -> None:
    model = foreign_model()
    for act in (lambda: FuseModel().fuse(model), lambda: SaveModel().save(model, "x", "output")):
        with pytest.raises(InvalidOptionError, match=model.architecture.name):
            act()
    (text,) = ModelInfo().describe(model)
    assert model.architecture.name in text
    assert f"scale: {model.scale}" in text


@pytest.mark.usefixtures("host")
def test_info_says_the_same_as_the_loader_and_more() -> None:
    model: ImageModelDescriptor[torch.nn.Module] = descriptor()
    (text,) = ModelInfo().describe(model)
    assert "scale: 2" in text
    assert "pixels around each pixel" in text
    assert "precisions: fp32" in text


@pytest.mark.usefixtures("host")
def test_blending_mixes_two_models_and_leaves_them() -> None:
    first, second = descriptor(seed=1), descriptor(seed=2)
    blended, info = BlendModels().blend(first, second, 0.25)
    assert info == f"0.75 of {first.report.name}, 0.25 of {second.report.name}"
    for key, value in blended.model.state_dict().items():
        a, b = first.model.state_dict()[key], second.model.state_dict()[key]
        torch.testing.assert_close(value, torch.lerp(a, b, 0.25), atol=1e-6, rtol=1e-5)
    with pytest.raises(InvalidOptionError, match="scale is 2"):
        BlendModels().blend(first, descriptor(scale=4), 0.5)
    with pytest.raises(InvalidOptionError, match=foreign_model().architecture.name):
        BlendModels().blend(first, foreign_model(), 0.5)
