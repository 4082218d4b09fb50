"""The object that runs models: what it is made from, what it leaves alone, and what it costs beside the network."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from paragon_arch.errors import CheckpointNotFoundError, InvalidOptionError, NonFiniteError
from paragon_arch.networks.base import SRNetwork
from paragon_engine import (
    Picture,
    Upscaler,
    UpscaleSettings,
    read_image,
    upscale_file,
    upscale_files,
    upscale_picture,
    upscale_tensor,
    write_image,
)
from paragon_engine.backends import forms
from paragon_engine.backends.forms import graph_of
from paragon_engine.catalog import shipped_models
from paragon_engine.finite import is_finite
from paragon_engine.model_source import ModelSource
from paragon_engine.pictures import Pixels
from paragon_engine.tiling import make_plan, memory, memory_needed
from tests.engine_models import checkpoint, damaged, descriptor, network, upscaler
from tests.nodes.stand_in import foreign_model

X = torch.rand(1, 3, 20, 28, generator=torch.Generator().manual_seed(0))


def test_the_same_picture_from_a_path_a_descriptor_a_network_and_a_recipe(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "2x.safetensors")
    expected = descriptor()(X)
    makers = (
        Upscaler(path, alpha=0.3),
        Upscaler(str(path), alpha=0.3),
        Upscaler(descriptor()),
        Upscaler(network()),
        ModelSource(path, {"alpha": 0.3}, device="cpu").load(),
    )
    for made in makers:
        assert isinstance(made, Upscaler)
        assert (made(X) - expected).abs().max() <= 1e-6
        assert (made.scale, made.device, made.backend, made.precision) == (2, torch.device("cpu"), "torch", "fp32")


def test_a_shipped_model_by_its_name() -> None:
    model = shipped_models()[0]
    for name in (None, model.path.stem, model.path.name):
        with Upscaler(name) as made:
            assert made.scale == model.scale
    with pytest.raises(CheckpointNotFoundError, match="no model of this name ships"):
        Upscaler("2x-nothing")


def test_a_model_of_another_family() -> None:
    model = foreign_model()
    assert (Upscaler(model)(X) - model(X)).abs().max() <= 1e-6
    with pytest.raises(InvalidOptionError, match="runs ParagonSR models only"):
        Upscaler(model, backend="onnxruntime")
    with pytest.raises(InvalidOptionError, match="only ParagonSR models are exported"):
        Upscaler(model).graph()


def test_values_of_a_file_are_not_for_what_is_loaded() -> None:
    with pytest.raises(InvalidOptionError, match="alpha: for files only"):
        Upscaler(descriptor(), alpha=0.5)


def test_a_closed_one_says_so() -> None:
    with upscaler() as made:
        made(X)
    for use in (lambda: made(X), lambda: upscale_tensor(made, X, tile=32), lambda: made.channels):
        with pytest.raises(InvalidOptionError, match="was closed"):
            use()


def test_what_it_was_made_from_stays_as_it_was() -> None:
    model = descriptor()
    before = {key: (tensor.clone(), tensor.data_ptr()) for key, tensor in model.model.state_dict().items()}
    with Upscaler(model, precision="bf16") as made:
        upscale_tensor(made, X, tile=32)
        with torch.no_grad():
            next(model.model.parameters()).zero_()  # and what becomes of it later is no matter
        assert is_finite(made(X))
        next(model.model.parameters()).data.copy_(before[next(iter(dict(model.model.named_parameters())))][0])
    for key, tensor in model.model.state_dict().items():
        assert tensor.data_ptr() == before[key][1]
        assert torch.equal(tensor, before[key][0])


def test_a_graph_is_made_without_moving_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx")
    net = network()
    moved: list[str] = []

    def to(self: SRNetwork, *where: Any, **how: Any) -> SRNetwork:
        if self is net:
            moved.append(str(where))
        return self

    def cpu(self: SRNetwork) -> SRNetwork:
        return to(self, "cpu")

    monkeypatch.setattr(type(net), "to", to)
    monkeypatch.setattr(type(net), "cpu", cpu)
    before = [(name, parameter, parameter.data_ptr()) for name, parameter in net.named_parameters()]
    assert graph_of(net) == graph_of(net)
    assert moved == []
    after = [(name, parameter, parameter.data_ptr()) for name, parameter in net.named_parameters()]
    assert all(
        one[0] == two[0] and one[1] is two[1] and one[2] == two[2] for one, two in zip(before, after, strict=True)
    )
    assert forms.fused(net) is net  # nothing to fuse: what is exported is made from the very network


@pytest.mark.parametrize("options", [{"tile": 0}, {"tile": 32}, {"tile": 32, "tiling": "overlap"}])
def test_a_damaged_model_writes_nothing(options: dict[str, Any], tmp_path: Path) -> None:
    write_image(Picture(np.random.default_rng(0).random((48, 40, 3), dtype=np.float32)), tmp_path / "a.png")
    run, settings = Upscaler(damaged(descriptor())), UpscaleSettings(**options)
    with pytest.raises(NonFiniteError, match=r"a\.png: the model gives NaN or infinity even in fp32"):
        upscale_file(run, tmp_path / "a.png", tmp_path / "b.png", settings)
    summary = upscale_files(run, tmp_path / "a.png", tmp_path / "out", settings)
    ((source, error),) = summary.failed
    assert source == tmp_path / "a.png"
    assert isinstance(error, NonFiniteError)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["a.png"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_in_a_picture_is_black_and_named(value: float, caplog: pytest.LogCaptureFixture) -> None:
    pixels = np.random.default_rng(0).random((20, 28, 3), dtype=np.float32)
    clean = cast("Pixels", pixels.copy())
    pixels[3, 4, 1], clean[3, 4, 1] = value, 0
    alpha = np.full((20, 28), 0.5, np.float32)
    alpha[0, 0] = value
    run = upscaler()
    found = upscale_picture(run, Picture(pixels), name="a.tif")
    assert np.array_equal(found.pixels, upscale_picture(run, Picture(clean)).pixels)
    assert "a.tif: 1 values are NaN or infinite; they are replaced by 0" in caplog.text
    result = upscale_picture(run, Picture(clean, alpha), name="a.tif")
    assert result.alpha is not None
    assert np.isfinite(result.alpha).all()
    assert "a.tif, transparency: 1 values" in caplog.text
    assert np.isnan(pixels[3, 4, 1]) or np.isinf(pixels[3, 4, 1])  # the caller's own is not changed


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_cheap_check_is_right(dtype: torch.dtype) -> None:
    x = torch.rand(2, 3, 50, 40).to(dtype)
    assert is_finite(x)
    assert is_finite(torch.full((100, 100), torch.finfo(dtype).max, dtype=dtype))  # whose sum is not
    for value in (float("nan"), float("inf"), -float("inf")):
        bad = x.clone()
        bad[1, 2, 49, 39] = value
        assert not is_finite(bad)
    bad[0, 0, 0, 0] = float("inf")
    assert not is_finite(bad)


def test_a_plan_is_made_once_for_each_size(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[Any] = []
    on_meta = memory.on_meta

    def noted(module: Any, device: str) -> Any:
        counted.append(module)
        return on_meta(module, device)

    monkeypatch.setattr(memory, "on_meta", noted)
    run = upscaler(variant="photo", window_size=8)
    for _ in range(3):
        make_plan(run, X)
        upscale_tensor(run, X.repeat(1, 1, 2, 2), tile=32)
        memory_needed(run, X)
    once = len(counted)
    assert once > 0
    make_plan(run, X)
    upscale_tensor(run, X.repeat(1, 1, 2, 2), tile=32)
    assert len(counted) == once
    upscale_tensor(run, X.repeat(1, 1, 3, 3), tile=32)
    assert len(counted) > once


def test_planning_copies_no_weights() -> None:
    run = upscaler()
    twin = memory.on_meta(run.module(), "cpu")
    assert {parameter.device.type for parameter in twin.parameters()} == {"meta"}
    assert {parameter.device.type for parameter in run.module().parameters()} == {"cpu"}


def test_spandrel_is_not_needed_for_a_file(tmp_path: Path) -> None:
    """Nor torchvision, which it imports: a second of a command's start."""
    import subprocess

    path = checkpoint(tmp_path / "2x_model.safetensors")
    code = (
        "import sys\n"
        "from paragon_engine import Upscaler\n"
        f"Upscaler({str(path)!r}, device='cpu', alpha=0.3)\n"
        "print('spandrel' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_the_log_says_what_runs_where(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "paragonsr")
    upscaler()
    assert "scale 2: torch on cpu, fp32" in caplog.text


def test_other_errors_of_a_network_stay_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    run = upscaler()

    def broken(_: Tensor) -> Tensor:
        raise ValueError("broken")

    monkeypatch.setattr(run.module(), "forward", broken)
    with pytest.raises(ValueError, match="broken"):
        run(X)


def test_pictures_come_back_from_files(tmp_path: Path) -> None:
    write_image(Picture(np.full((16, 16, 3), 0.5, np.float32)), tmp_path / "a.png")
    with upscaler() as run:
        upscale_file(run, str(tmp_path / "a.png"), str(tmp_path / "b.png"))
    assert read_image(tmp_path / "b.png").size == (32, 32)
