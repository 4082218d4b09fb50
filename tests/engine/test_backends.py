"""Backends: the same picture from each, a choice that is remembered, and half precision that repairs itself."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from paragon_arch.errors import InvalidOptionError, NonFiniteError, ParagonError
from paragon_engine.backends import BACKENDS, backend, listing
from paragon_engine.backends.choose import cache_file, choose
from paragon_engine.backends.graph_file import open_graph
from paragon_engine.backends.precision import half_precisions, rungs
from paragon_engine.inference import inference_form
from paragon_engine.onnx_export import export_onnx
from paragon_engine.tiling import upscale_tensor
from paragon_engine.upscaler import GRAPH_MINIMUM
from tests.devices import DEVICE
from tests.engine_models import damaged, descriptor, network, overflowing, ready

CPU = torch.device("cpu")
ALL = ("fp16", "bf16", "fp32")
UNSUPPORTED = (
    "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED",
    "CUDA error: no kernel image is available for execution on the device",
    "\"slow_conv2d_cpu\" not implemented for 'BFloat16'",
)
IMAGE = torch.rand(1, 3, 45, 37, generator=torch.Generator().manual_seed(0)).to(DEVICE)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test touches the cache of the person who runs it."""
    monkeypatch.setenv("PARAGONSR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "backends.json"


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO, logger="paragonsr"):
        yield caplog


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (2, 2), (2, 9)])
def test_graphs_take_no_line_of_pixels_but_backends_do(name: str, size: tuple[int, int]) -> None:
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed: pip install {name}")
    model = descriptor(variant="realtime")
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(3)).to(DEVICE)
    found = ready(model, backend=name)(image)
    assert (found - model(image)).abs().max() <= 1e-5


def test_a_file_says_what_it_does_not_take(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    form = inference_form(network(variant="realtime"), target="graph")
    assert form.minimum_size == GRAPH_MINIMUM == 2
    path = tmp_path / "2x.onnx"
    export_onnx(form, path)
    opened = open_graph(path, "onnxruntime").model
    assert opened(torch.rand(1, 3, 2, 3)).shape == (1, 3, 4, 6)
    with pytest.raises(InvalidOptionError, match="2 x 2 pixels or more, and this one has 9 x 1"):
        opened(torch.rand(1, 3, 1, 9))


@pytest.mark.parametrize("name", ["torch", "onnxruntime", "openvino"])
@pytest.mark.parametrize("variant", ["realtime", "stream"])
def test_every_backend_gives_the_same_picture(name: str, variant: str) -> None:
    if name != "torch" and find_spec(name) is None:
        pytest.skip(f"{name} is not installed: pip install {name}")
    model = descriptor(variant=variant)
    expected = model(IMAGE)
    found = ready(model, backend=name)(IMAGE)
    assert found.dtype == torch.float32
    assert (found - expected).abs().max().item() <= 1e-4


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_backend_works_in_tiles_of_any_size(name: str) -> None:
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed: pip install {name}")
    model = descriptor()
    run = ready(model, backend=name)
    image = torch.rand(1, 3, 83, 101, generator=torch.Generator().manual_seed(1)).to(DEVICE)
    expected = model(image)
    assert (upscale_tensor(run, image, tile=48) - expected).abs().max().item() <= 1e-4


def test_the_original_model_is_left_alone() -> None:
    model = descriptor()
    before = model(IMAGE)
    ready(model, precision="bf16")(IMAGE)
    assert torch.equal(model(IMAGE), before)
    assert model.dtype == torch.float32


@pytest.mark.slow
def test_one_compilation_serves_every_size(monkeypatch: pytest.MonkeyPatch) -> None:
    item = BACKENDS["torch-compile"]
    if not item.available().usable:
        pytest.skip(item.available().detail)
    import torch._dynamo.config

    net = network(num_blocks=1, num_feat=4)
    run = item.prepare(net, device=CPU, precision="fp32")
    monkeypatch.setattr(torch._dynamo.config, "error_on_recompile", True)
    # a strip, just above the limit of what is compiled, just below it, a batch, and one pixel
    for batch, height, width in ((1, 96, 96), (1, 17, 530), (1, 6827, 1), (1, 64, 106), (2, 40, 40), (1, 1, 1)):
        image = torch.rand(batch, 3, height, width)
        assert (run(image) - net(image)).abs().max().item() <= 1e-4


class TestNames:
    def test_unknown(self) -> None:
        with pytest.raises(InvalidOptionError, match="choose auto, torch"):
            backend("cuda")

    def test_without_a_runner(self) -> None:
        with pytest.raises(InvalidOptionError, match="openvino or onnxruntime"):
            backend("ncnn")

    def test_not_here(self) -> None:
        name = "onnxruntime-directml"
        if BACKENDS[name].available().usable:
            pytest.skip("DirectML is here")
        with pytest.raises(InvalidOptionError, match="pip install onnxruntime"):
            ready(descriptor(), backend=name)

    def test_a_missing_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "openvino", None)
        with pytest.raises(InvalidOptionError, match="pip install openvino"):
            ready(descriptor(), backend="openvino")

    def test_a_precision_that_a_backend_lacks(self) -> None:
        with pytest.raises(InvalidOptionError, match="has no bf16"):
            ready(descriptor(), backend="onnxruntime", precision="bf16")

    def test_all_are_listed_with_a_version_or_a_cure(self) -> None:
        found = dict(listing())
        assert {"torch", "tensorrt", "ncnn", "onnxruntime-tensorrt", *BACKENDS} <= found.keys()
        for name, state in found.items():
            assert state.usable or "install" in state.detail, name


class TestAuto:
    def test_measured_once_then_remembered(self, own_cache: Path, log: pytest.LogCaptureFixture) -> None:
        net = network()
        first = choose(net, device=CPU, precision="fp32")
        assert "chosen" in log.text
        log.clear()
        assert choose(net, device=CPU, precision="fp32") is first
        assert "chosen" not in log.text
        (entry,) = json.loads(own_cache.read_text()).values()
        assert entry["backend"] == first.name == min(entry["seconds"], key=entry["seconds"].get)

    def test_another_model_is_measured_anew(self, log: pytest.LogCaptureFixture) -> None:
        choose(network(), device=CPU, precision="fp32")
        log.clear()
        choose(network(seed=1), device=CPU, precision="fp32")
        assert "chosen" in log.text

    @pytest.mark.parametrize("content", ["", "not json", "[1, 2]", '{"a": 3}', "\x00\xff"])
    def test_a_damaged_cache_is_harmless(self, content: str, own_cache: Path) -> None:
        own_cache.parent.mkdir(parents=True)
        own_cache.write_text(content, encoding="latin-1")
        item = choose(network(), device=CPU, precision="fp32")
        assert item.name in [entry["backend"] for entry in json.loads(own_cache.read_text()).values()]

    def test_a_backend_that_has_gone_is_not_taken_from_the_cache(self, own_cache: Path) -> None:
        net = network()
        choose(net, device=CPU, precision="fp32")
        entries = json.loads(own_cache.read_text())
        for entry in entries.values():
            entry["backend"] = "onnxruntime-directml"
        own_cache.write_text(json.dumps(entries))
        assert choose(net, device=CPU, precision="fp32").available().usable

    def test_a_cache_that_cannot_be_written_is_harmless(self, tmp_path: Path) -> None:
        blocked = tmp_path / "file"
        blocked.write_text("")
        assert choose(network(), device=CPU, precision="fp32", cache=blocked / "backends.json").name in BACKENDS

    def test_where_the_cache_lies(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own_cache: Path) -> None:
        assert cache_file() == own_cache
        monkeypatch.delenv("PARAGONSR_CACHE")
        monkeypatch.setenv("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME", str(tmp_path))
        assert cache_file() == tmp_path / "paragonsr" / "backends.json"


class TestPrecisions:
    def test_what_overflows_is_redone_and_so_is_the_rest_of_the_run(self, log: pytest.LogCaptureFixture) -> None:
        model = overflowing(descriptor())
        run = ready(model, precision="fp16")
        for _ in range(3):
            found = run(IMAGE)
            assert (found - model(IMAGE)).abs().max().item() <= 0.05  # BF16 has eight bits
        assert run.precision == "bf16"
        assert log.text.count("overflowed in fp16: redone in bf16") == 1

    @pytest.mark.parametrize("variant", ["realtime", "photo"])
    def test_in_tiles_too(self, variant: str, log: pytest.LogCaptureFixture) -> None:
        window = {"window_size": 8} if variant == "photo" else {}
        model = overflowing(descriptor(variant=variant, **window))
        image = torch.rand(1, 3, 64, 80, generator=torch.Generator().manual_seed(2))
        run = ready(model, precision="fp16")
        found = upscale_tensor(run, image, tile=32)
        assert (found - model(image)).abs().max().item() <= 0.05
        assert log.text.count("overflowed in fp16") == 1

    def test_what_stays_finite_is_not_redone(self, log: pytest.LogCaptureFixture) -> None:
        model = descriptor()
        run = ready(model, precision="fp16")
        assert (run(IMAGE) - model(IMAGE)).abs().max().item() <= 5e-3
        assert run.precision == "fp16"
        assert "redone" not in log.text

    @pytest.mark.parametrize("text", UNSUPPORTED)
    def test_a_precision_that_the_device_lacks_is_a_failed_step(
        self, text: str, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
    ) -> None:
        """Not a device that stopped working; and it is not asked again."""
        calls = list[str]()
        run = ready(descriptor(), precision="bf16")

        def refuse(*_: Any) -> Tensor:
            calls.append(text)
            raise RuntimeError(text)

        monkeypatch.setattr(run.module("bf16"), "forward", refuse)
        for _ in range(3):
            assert torch.isfinite(upscale_tensor(run, IMAGE, tile=0)).all()
        assert (len(calls), run.precision) == (1, "fp32")
        assert log.text.count("has no bf16") == 1

    @pytest.mark.parametrize("text", UNSUPPORTED[:2])
    def test_in_fp32_it_is_no_reason_to_start_again(self, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
        run = ready(descriptor())

        def refuse(*_: Any) -> Tensor:
            raise RuntimeError(f"CUDA error: {text}")

        monkeypatch.setattr(run.module(), "forward", refuse)
        with pytest.raises(ParagonError, match="install a build for it"):
            upscale_tensor(run, IMAGE, tile=0)

    @pytest.mark.parametrize("name", ["torch", "onnxruntime", "openvino"])
    @pytest.mark.parametrize("options", [{"tile": 0}, {"tile": 32}, {"tile": 32, "tiling": "overlap"}])
    def test_a_damaged_model_is_an_error(self, name: str, options: dict[str, Any]) -> None:
        if name != "torch" and find_spec(name) is None:
            pytest.skip(f"{name} is not installed: pip install {name}")
        run = ready(damaged(descriptor()), backend=name)
        with pytest.raises(NonFiniteError, match="NaN or infinity even in fp32"):
            upscale_tensor(run, IMAGE, **options)

    @pytest.mark.parametrize(
        ("choice", "layout", "device", "computes", "expected"),
        [
            ("auto", ALL, ALL, ALL, ("fp16", "bf16", "fp32")),
            ("auto", ("fp16",), ALL, ALL, ("fp16", "fp32")),
            ("auto", ALL, ("fp16",), ALL, ("fp16", "fp32")),
            ("auto", ALL, ALL, ("fp16", "fp32"), ("fp16", "fp32")),
            ("auto", ("bf16",), ("fp16",), ALL, ("fp32",)),
            ("auto", ALL, (), ALL, ("fp32",)),
            ("bf16", ALL, ALL, ALL, ("bf16", "fp32")),
            ("fp32", ALL, ALL, ALL, ("fp32",)),
        ],
    )
    def test_the_order(self, choice: Any, layout: Any, device: Any, computes: Any, expected: Any) -> None:
        found = rungs(choice, layout=layout, device=device, backend=computes, prefer_half=True)
        assert found == expected
        if choice == "auto":
            assert rungs("auto", layout=layout, device=device, backend=computes, prefer_half=False) == ("fp32",)

    @pytest.mark.parametrize(
        ("name", "capability", "expected"),
        [
            ("NVIDIA GeForce RTX 3060", (8, 6), ("fp16", "bf16")),
            ("NVIDIA H100 80GB HBM3", (9, 0), ("fp16", "bf16")),
            ("NVIDIA GeForce RTX 2080", (7, 5), ("fp16",)),
            ("Tesla T4", (7, 5), ("fp16",)),
            ("NVIDIA GeForce GTX 1660 Ti", (7, 5), ()),
            ("NVIDIA T1000 8GB", (7, 5), ()),
            ("NVIDIA GeForce MX450", (7, 5), ()),
            ("NVIDIA GeForce GTX 1080", (6, 1), ()),
            ("Tesla P100-PCIE-16GB", (6, 0), ("fp16",)),
        ],
    )
    def test_cards(
        self, name: str, capability: tuple[int, int], expected: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """PyTorch says yes to BF16 wherever it can emulate it."""

        def capability_of(_: object) -> tuple[int, int]:
            return capability

        def name_of(_: object) -> str:
            return name

        def always(*_: object, **__: object) -> bool:
            return True

        monkeypatch.setattr(torch.cuda, "get_device_capability", capability_of)
        monkeypatch.setattr(torch.cuda, "get_device_name", name_of)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", always)
        monkeypatch.setattr(torch.version, "hip", None)
        assert half_precisions(torch.device("cuda")) == expected

    def test_a_choice_that_nothing_holds_is_refused(self) -> None:
        with pytest.raises(InvalidOptionError, match="this device does not hold fp16; choose auto or bf16 or fp32"):
            ready(descriptor(), precision="fp16", halves=("bf16",))
        wrong: Any = "fp8"
        with pytest.raises(InvalidOptionError, match="unknown"):
            ready(descriptor(), precision=wrong)
