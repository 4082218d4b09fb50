"""The nodes, in a stand-in for chaiNNer; test_real_backend.py runs them in the real one."""

from __future__ import annotations

import gc
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.modules import module as torch_modules

import paragon_arch
from paragon_arch import ParagonModelDescriptor
from paragon_arch.errors import FusionError, InvalidOptionError, NonFiniteError, OutputExistsError, QualityError
from paragon_arch.networks.dynamic import TrackedTransformer
from paragon_chainner.models import memory_limit, runnable
from paragon_chainner.nodes import NODES
from paragon_chainner.pictures import to_picture
from paragon_engine.pictures import Picture
from paragon_engine.tiling import make_plan
from tests.chainner.real_models import SHIPPED, scenes
from tests.chainner.real_models import network as layout_network
from tests.chainner.standin_host import Context, Host, inside_chainner
from tests.engine_models import checkpoint, descriptor

pytestmark = pytest.mark.filterwarnings("ignore::paragon_arch.errors.ParagonWarning")


FREED: list[int] = []


class Handle:
    """Native memory that a host hangs on a network: a copy would free it, too."""

    def __init__(self, pointer: int) -> None:
        self.pointer = pointer

    def __del__(self) -> None:
        FREED.append(self.pointer)


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with inside_chainner() as host:
        yield host


@pytest.fixture
def model() -> ParagonModelDescriptor:
    return descriptor()


def load(name: str) -> ParagonModelDescriptor:
    """One of the networks of all layouts."""
    network = layout_network(name)
    return paragon_arch.load(network.state_dict(), scale=network.scale)


def image(*shape: int) -> NDArray[np.float32]:
    """As chaiNNer's images are; read-only, as those that it caches should be treated."""
    pixels = np.random.default_rng(0).random(shape, dtype=np.float32)
    pixels.setflags(write=False)
    return pixels


def weights(model: ParagonModelDescriptor) -> dict[str, torch.Tensor]:
    return {key: tensor.clone() for key, tensor in model.model.state_dict().items()}


def unchanged(model: ParagonModelDescriptor, before: dict[str, torch.Tensor]) -> bool:
    after = model.model.state_dict()
    same = {
        key: torch.equal(tensor, before[key]) and tensor.dtype == before[key].dtype for key, tensor in after.items()
    }
    return after.keys() == before.keys() and all(same.values())


class TestSchemata:
    def test_the_group(self, host: Host) -> None:
        assert [group.name for group in host.category.groups] == ["ParagonSR"]
        files = [Path(inspect.getfile(node["run"])).stem for node in host.nodes.values()]
        assert files == list(NODES)

    def test_names_follow_chainners_rule(self, host: Host) -> None:
        for node in host.nodes.values():
            name = node["name"].lower().replace(" ", "_").replace("(", "").replace(")", "")
            assert node["run"].__name__ == f"{name}_node"
            assert Path(inspect.getfile(node["run"])).stem == name

    def test_inputs_have_ids_and_arguments(self, host: Host) -> None:
        for node in host.nodes.values():
            ids: list[int] = []
            for item in node["inputs"]:  # a group is a list
                ids += [part.id for part in (cast("list[Any]", item) if isinstance(item, list) else [item])]
            assert len(set(ids)) == len(ids)
            assert min(ids) >= 0
            arguments = list(inspect.signature(node["run"]).parameters)
            assert len(arguments) == len(ids) + bool(node.get("node_context"))
            assert not node["outputs"] or {item.id for item in node["outputs"]} != {-1}


class TestLoad:
    def test_overrides(self, host: Host, tmp_path: Path) -> None:
        file = checkpoint(tmp_path / "model.safetensors")
        loaded, folder, name, _ = host.run("load_model", file, True, 2, True, 0.25)
        assert (loaded.scale, loaded.model.alpha, folder, name) == (2, 0.25, tmp_path, "model")
        assert not loaded.model.training
        assert not any(parameter.requires_grad for parameter in loaded.model.parameters())

    def test_values_that_are_not_set_do_not_matter(self, host: Host, tmp_path: Path) -> None:
        file = checkpoint(tmp_path / "model.safetensors")
        loaded = host.run("load_model", file, False, 3, False, 0.9)[0]
        assert (loaded.scale, loaded.report.values["alpha"].source) == (2, "default")

    def test_the_apps_precision(self, host: Host, tmp_path: Path) -> None:
        file = checkpoint(tmp_path / "model.safetensors")
        loaded = host.run("load_model", file, False, 2, False, 0, context=Context(use_fp16=True))[0]
        assert loaded.dtype == torch.float16

    def test_a_contradiction(self, host: Host, tmp_path: Path) -> None:
        file = checkpoint(tmp_path / "model.safetensors")
        with pytest.raises(InvalidOptionError, match="scale"):
            host.run("load_model", file, True, 3, False, 0)


class TestFuseAndInfo:
    def test_a_new_model_with_the_same_pictures(self, host: Host) -> None:
        model = load("v1-pixelshuffle")
        before = weights(model)
        fused, message = host.run("fuse_model", model, False)
        assert unchanged(model, before)
        assert fused.report.fused
        assert re.fullmatch(
            r"fused: [\d,]+ weights became [\d,]+; pictures change by [\d.e-]+ of 255 levels at most", message
        )
        x = torch.rand(1, 3, 20, 17)
        torch.testing.assert_close(fused(x), model(x), rtol=0, atol=1e-5)
        assert host.run("model_info", model)[5] == "not fused"
        assert host.run("model_info", fused)[1:] == (
            "v1-pixelshuffle",
            "custom size",
            2,
            fused.report.parameters,
            "fused",
            "none",
        )

    def test_info(self, host: Host, model: ParagonModelDescriptor) -> None:
        text, layout, _, scale, parameters, state, alpha = host.run("model_info", model)
        assert (layout, scale, state) == ("v2-release", 2, "nothing to fuse")
        assert re.fullmatch(r"[\d.]+ \([a-z ]+\)", alpha)
        assert f"{parameters:,}" in text
        assert "precisions: fp32" in text

    def test_never_tracked_kernels_need_consent(self, host: Host) -> None:
        model = untracked()
        with pytest.raises(FusionError, match="put Calibrate ParagonSR Model before this node, or turn on Accept"):
            host.run("fuse_model", model, False)
        assert host.run("fuse_model", model, True)[0].report.fused


class TestSave:
    def test_what_the_weights_do_not_show_is_kept(self, host: Host, tmp_path: Path) -> None:
        model = host.run("load_model", checkpoint(tmp_path / "model.safetensors"), False, 2, True, 0.25)[0]
        host.run("save_model", model, tmp_path / "new", "sub/saved", False)
        file = tmp_path / "new" / "sub" / "saved.safetensors"
        assert paragon_arch.load(file).model.alpha == 0.25
        with pytest.raises(OutputExistsError, match="turn on Overwrite"):
            host.run("save_model", model, tmp_path / "new", "sub/saved", False)
        host.run("save_model", paragon_arch.load(file, alpha=0.5), tmp_path / "new", "sub/saved", True)
        assert paragon_arch.load(file).model.alpha == 0.5


class TestUpscale:
    def test_tiles_give_the_whole_pictures_result(self, host: Host) -> None:
        model, pixels = load("v2-hybrid-gn"), image(70, 53, 3)
        before = weights(model)
        context = Context()
        parts = upscaled(host, pixels, model, context, tile=CUSTOM, custom=32)
        assert np.array_equal(parts, upscaled(host, pixels, model, tile=32))
        whole = upscaled(host, pixels, model, tile=WHOLE)
        assert unchanged(model, before)
        assert np.abs(parts - whole).max() < 1e-4
        assert context.progress == sorted(context.progress)
        assert context.progress[-1] == 1
        x = torch.from_numpy(np.ascontiguousarray(pixels[..., ::-1])).permute(2, 0, 1)[None]
        expected = model(x)[0].permute(1, 2, 0).numpy()[..., ::-1]
        assert np.abs(whole - expected).max() < 1e-4, "chaiNNer's channels are blue, green, red"

    @pytest.mark.parametrize("shape", [(20, 30), (20, 30, 1), (20, 30, 3), (20, 30, 4)])
    def test_channels_stay(self, host: Host, model: ParagonModelDescriptor, shape: tuple[int, ...]) -> None:
        result = upscaled(host, image(*shape), model)
        assert result.shape[:2] == (40, 60)
        assert result.dtype == np.float32
        assert (result.shape[2] if result.ndim == 3 else 1) == (shape[2] if len(shape) == 3 else 1)
        assert result.flags.c_contiguous

    def test_opaque_stays_opaque_and_empty_empty(self, host: Host, model: ParagonModelDescriptor) -> None:
        pixels = np.array(image(24, 32, 4))
        pixels[:, :16, 3], pixels[:, 16:, 3] = 1, 0
        alpha = upscaled(host, pixels, model)[..., 3]
        assert (alpha[:, :30] == 1).all()
        assert (alpha[:, 34:] == 0).all()

    @pytest.mark.parametrize("scale", [1, 3, 4])
    def test_another_scale(self, host: Host, model: ParagonModelDescriptor, scale: int) -> None:
        pixels = image(20, 30, 3)
        result = upscaled(host, pixels, model, scale=scale)
        assert result.shape == (20 * scale, 30 * scale, 3)
        if scale == 4:
            assert np.abs(result - upscaled(host, upscaled(host, pixels, model), model)).max() < 1e-6

    def test_wrapping_makes_a_texture_join(self, host: Host, model: ParagonModelDescriptor) -> None:
        """Its result is the middle of three by three copies, in tiles too."""
        pixels = image(64, 72, 3)
        copies = upscaled(host, np.tile(pixels, (3, 3, 1)), model)[128:256, 144:288]
        for tile in (WHOLE, 32):
            assert np.abs(upscaled(host, pixels, model, padding="WRAP", tile=tile) - copies).max() < 1e-4
        assert np.abs(upscaled(host, pixels, model) - copies).max() > 1e-2, "without it there is an edge"

    @pytest.mark.parametrize("padding", ["REFLECT_MIRROR", "WRAP", "REPLICATE"])
    @pytest.mark.parametrize("shape", [(9, 12), (20, 30, 4)])
    def test_padding_keeps_size_and_channels(
        self, host: Host, model: ParagonModelDescriptor, padding: str, shape: tuple[int, ...]
    ) -> None:
        result = upscaled(host, image(*shape), model, padding=padding, scale=3)
        assert result.shape == (3 * shape[0], 3 * shape[1], *shape[2:])

    def test_separate_alpha_is_a_picture_of_its_own(self, host: Host, model: ParagonModelDescriptor) -> None:
        pixels = image(20, 24, 4)
        result = upscaled(host, pixels, model, separate=True)
        assert np.array_equal(result[..., :3], upscaled(host, np.ascontiguousarray(pixels[..., :3]), model))
        assert np.array_equal(result[..., 3], upscaled(host, np.ascontiguousarray(pixels[..., 3]), model))
        assert not np.array_equal(result, upscaled(host, pixels, model))

    def test_strength_of_a_restoring_model(self, host: Host) -> None:
        model = descriptor(scale=1)
        pixels = image(20, 24, 3)
        whole, half, none = (upscaled(host, pixels, model, strength=value) for value in (100, 50, 0))
        assert np.allclose(half, (whole + pixels) / 2, atol=1e-6)
        assert np.array_equal(none, pixels)
        assert np.abs(whole - pixels).max() > 1e-2

    def test_a_tile_that_is_too_small(self, host: Host, model: ParagonModelDescriptor) -> None:
        with pytest.raises(InvalidOptionError, match="choose Auto"):
            upscaled(host, image(64, 64, 3), model, tile=CUSTOM, custom=8)

    def test_stopping(self, host: Host, model: ParagonModelDescriptor) -> None:
        before = weights(model)
        context = Context(abort_after=4)
        with pytest.raises(import_module("api").Aborted):
            upscaled(host, image(64, 64, 3), model, context)
        assert context.looks == 5, "every layer looks at the button"
        assert unchanged(model, before)
        assert not torch_modules._global_forward_pre_hooks  # pyright: ignore[reportPrivateUsage]

    def test_the_copy_that_runs_is_kept_for_the_next_picture(self, host: Host, model: ParagonModelDescriptor) -> None:
        settings, half = Context().settings, Context(use_fp16=True).settings
        first = runnable(model, settings)
        assert runnable(model, settings) is first
        assert runnable(model, half) is not first
        assert model.dtype == torch.float32

    def test_cleaning_up(self, host: Host, model: ParagonModelDescriptor) -> None:
        for wipe, after in ((False, "chain"), (True, "node")):
            context = Context(force_cache_wipe=wipe)
            upscaled(host, image(16, 16, 3), model, context)
            assert context.cleanups == [after]

    def test_the_memory_limit_decides_on_tiles(self, model: ParagonModelDescriptor) -> None:
        assert memory_limit(Context().settings) is None
        limit = memory_limit(Context(budget_limit=1).settings)
        assert limit == 2**30
        upscaler = runnable(model, Context().settings)
        assert make_plan(upscaler, torch.empty(1, 3, 64, 64), memory_limit=limit).kind == "untiled"
        large = torch.empty(1, 3, 3000, 4000, device="meta")
        plans = [make_plan(upscaler, large, memory_limit=bytes_) for bytes_ in (limit // 4, limit // 2)]
        assert [plan.kind for plan in plans] == ["exact", "exact"]
        assert 0 < plans[0].tile <= plans[1].tile

    def test_a_damaged_model_is_an_error(self, host: Host, model: ParagonModelDescriptor) -> None:
        with torch.no_grad():
            for parameter in model.model.parameters():
                parameter.mul_(1e30)
        with pytest.raises(NonFiniteError, match="the picture: the model gives NaN"):
            upscaled(host, image(16, 16, 3), model)

    def test_no_handle_of_the_app_is_copied(self, host: Host, model: ParagonModelDescriptor) -> None:
        cast("Any", model.model).native = Handle(1)
        FREED.clear()
        upscaled(host, image(16, 16, 3), model)
        host.run("fuse_model", model, True)
        gc.collect()
        assert FREED == []


AUTO, WHOLE, LARGEST, CUSTOM = 0, -1, -2, -3
"""Values of chaiNNer's dropdown of tile sizes."""


def upscaled(
    host: Host,
    pixels: Any,
    model: Any,
    context: Context | None = None,
    *,
    tile: int = AUTO,
    custom: int = 256,
    scale: int | None = None,
    padding: str = "NONE",
    separate: bool = False,
    strength: int = 100,
) -> Any:
    """The upscaling node's result."""
    border = import_module("nodes.impl.upscale.basic_upscale").PaddingType[padding]
    values = (scale is not None, scale or 4, strength, tile, custom, border, separate)
    return host.run("upscale_image", pixels, model, *values, context=context)


def opset(host: Host) -> Any:
    """The default."""
    group = host.nodes["export_onnx"]["inputs"][2]
    return group[0].options["default"].__class__(18)


def choices(host: Host, node: str, position: int) -> Any:
    """The enumeration of a dropdown."""
    return host.nodes[node]["inputs"][position].options["default"].__class__


def untracked() -> ParagonModelDescriptor:
    """A dynamic model as it is before training."""
    network = layout_network("v2-dynamic")
    for block in network.modules():
        if isinstance(block, TrackedTransformer):
            block.tracked_kernel.zero_()
            block.tracked_initialized.fill_(False)
    return paragon_arch.load(network.state_dict(), scale=network.scale)


class TestCalibrate:
    def test_kernels_become_the_mean_over_the_images(self, host: Host) -> None:
        model = untracked()
        before = weights(model)
        pictures = [image(40, 30, 3), image(33, 52, 3) * 0.5, image(60, 20)]
        collector = host.run("calibrate_model", model, None)
        for picture in pictures:
            collector.on_iterate(picture)
        calibrated, count = collector.on_complete()
        assert count == 3
        assert unchanged(model, before)
        single = [host.run("calibrate_model", model, None) for _ in pictures]
        kernels: list[torch.Tensor] = []
        for one, picture in zip(single, pictures, strict=True):
            one.on_iterate(picture)
            kernels.append(first_kernel(one.on_complete()[0]))
        torch.testing.assert_close(first_kernel(calibrated), torch.stack(kernels).mean(dim=0))
        assert not calibrated.model.training
        fused = host.run("fuse_model", calibrated, False)[0]
        x = torch.rand(1, 3, 16, 16)
        torch.testing.assert_close(fused(x), calibrated(x), rtol=0, atol=1e-5)

    def test_without_images(self, host: Host) -> None:
        with pytest.raises(InvalidOptionError, match="no image"):
            host.run("calibrate_model", untracked(), None).on_complete()

    def test_a_model_without_dynamic_kernels(self, host: Host, model: ParagonModelDescriptor) -> None:
        with pytest.raises(InvalidOptionError, match="no dynamic kernels"):
            host.run("calibrate_model", model, None)


def first_kernel(model: ParagonModelDescriptor) -> torch.Tensor:
    """Of the first block: it depends on nothing but the image."""
    return next(block.tracked_kernel for block in model.model.modules() if isinstance(block, TrackedTransformer))


class TestExport:
    @pytest.mark.parametrize("precision", ["fp32", "fp16"])
    def test_a_graph_that_was_checked(self, host: Host, model: ParagonModelDescriptor, precision: str) -> None:
        pytest.importorskip("onnxruntime")
        before = weights(model)
        kind = choices(host, "export_onnx", 1)
        exported, text = host.run("export_onnx", model, kind(precision), opset(host), False, 1, 1, None)
        assert unchanged(model, before)
        assert len(exported.bytes) > 1000
        assert precision.upper() in text

    @pytest.mark.parametrize("fixed", [False, True])
    def test_windows_by_the_size_of_the_image(self, host: Host, fixed: bool) -> None:
        pytest.importorskip("onnxruntime")
        fp32, model = choices(host, "export_onnx", 1).FP32, load("v2-hybrid-attn-window")
        assert "levels at most" in host.run("export_onnx", model, fp32, opset(host), fixed, 64, 48, None)[1]

    def test_int8_is_calibrated_and_measured(self, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("onnxruntime.quantization")
        monkeypatch.setenv("PARAGONSR_CACHE", str(tmp_path / "cache"))
        model, int8, context = paragon_arch.load(SHIPPED), choices(host, "export_onnx", 1).INT8, Context()
        values = (model, int8, None, None, None, None, scenes(tmp_path / "scenes"))
        exported, text = host.run("export_onnx", *values, context=context)
        assert b"QuantizeLinear" in exported.bytes
        assert float(re.findall(r"(\d+) % of the work", text)[0]) > 50
        assert float(re.findall(r"([0-9.]+) dB", text)[0]) <= 0.25
        assert context.progress == sorted(context.progress)
        with pytest.raises(import_module("api").Aborted):
            host.run("export_onnx", *values, context=Context(abort_after=3))
        with pytest.raises(InvalidOptionError, match="choose a folder"):
            host.run("export_onnx", *values[:-1], None)

    def test_fp16_with_norms_over_the_whole_image(self, host: Host) -> None:
        model = load("v1-pixelshuffle")
        text = host.run("export_onnx", model, choices(host, "export_onnx", 1).FP16, opset(host), False, 1, 1, None)[1]
        assert float(re.findall(r"([\d.]+) dB between", text)[0]) > 60

    def test_fp16_that_loses_too_much(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(import_module("paragon_chainner.nodes.export_onnx_paragonsr"), "LEAST_PSNR", 200.0)
        with pytest.raises(QualityError, match="choose FP32"):
            host.run("export_onnx", descriptor(), choices(host, "export_onnx", 1).FP16, opset(host), False, 1, 1, None)


def test_pictures_are_copies() -> None:
    pixels = image(5, 6, 4)
    picture = to_picture(pixels)
    assert isinstance(picture, Picture)
    assert not np.shares_memory(picture.pixels, pixels)
    assert to_picture(np.full((2, 2), 3, np.float32)).pixels.max() == 1


def test_a_foreign_model_is_refused_by_name(host: Host) -> None:
    class Foreign:
        architecture = type("Architecture", (), {"name": "ESRGAN"})

    for node, values in (("fuse_model", (False,)), ("model_info", ()), ("calibrate_model", (None,))):
        with pytest.raises(InvalidOptionError, match="ESRGAN"):
            host.run(node, Foreign(), *values)
