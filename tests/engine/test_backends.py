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

from paragon_arch import ParagonModelDescriptor
from paragon_arch.errors import InvalidOptionError, ParagonError
from paragon_arch.networks.base import Traits
from paragon_engine.backends import BACKENDS, Precision, Runner, backend, listing
from paragon_engine.backends.choose import cache_file, choose
from paragon_engine.backends.graph_file import open_graph
from paragon_engine.backends.guard import Guarded, ladder
from paragon_engine.backends.model import default_precision, with_backend
from paragon_engine.backends.network import GRAPH_MINIMUM
from paragon_engine.inference import inference_form
from paragon_engine.onnx_export import export_onnx
from paragon_engine.tiling import upscale_tensor
from tests.devices import DEVICE
from tests.engine_models import descriptor, network

CPU = torch.device("cpu")
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


def placed(name: str, **options: Any) -> ParagonModelDescriptor:
    """A model where a backend can run it: on the device of the tests, or else on the CPU."""
    model = descriptor(**options)
    return model if DEVICE.type in BACKENDS[name].devices else model.to(CPU)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (2, 2), (2, 9)])
def test_graphs_take_no_line_of_pixels_but_backends_do(name: str, size: tuple[int, int]) -> None:
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed: pip install {name}")
    model = placed(name, variant="realtime")
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(3)).to(model.device)
    found = with_backend(model, name)(image)
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
    model = placed(name, variant=variant)
    image = IMAGE.to(model.device)
    expected = model(image)
    found = with_backend(model, name, precision="fp32")(image)
    assert found.dtype == torch.float32
    assert (found - expected).abs().max().item() <= 1e-4


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_backend_works_in_tiles_of_any_size(name: str) -> None:
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed: pip install {name}")
    model = placed(name)
    run = with_backend(model, name)
    image = torch.rand(1, 3, 83, 101, generator=torch.Generator().manual_seed(1))
    expected = upscale_tensor(model, image, tile=0)
    assert (upscale_tensor(run, image, tile=48) - expected).abs().max().item() <= 1e-4


def test_the_original_model_is_left_alone() -> None:
    model = descriptor()
    before = model(IMAGE)
    with_backend(model, "torch", precision="bf16")(IMAGE)
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
            with_backend(placed("onnxruntime"), name)

    def test_a_missing_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "openvino", None)
        with pytest.raises(InvalidOptionError, match="pip install openvino"):
            with_backend(placed("openvino"), "openvino")

    def test_a_precision_that_a_backend_lacks(self) -> None:
        with pytest.raises(InvalidOptionError, match="has no bf16"):
            with_backend(placed("onnxruntime"), "onnxruntime", precision="bf16")

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


class TestGuard:
    def test_a_network_that_overflows_is_redone(self, log: pytest.LogCaptureFixture) -> None:
        model = descriptor()
        with torch.no_grad():  # features beyond FP16's 65504, brought back by the next layer
            model.model.get_parameter("conv_in.weight").mul_(1e6)
            model.model.get_parameter("conv_in.bias").mul_(1e6)
            model.model.get_parameter("up.0.weight").mul_(1e-6)
        expected = model(IMAGE)
        found = with_backend(model, "torch", precision="fp16")(IMAGE)
        assert torch.isfinite(found).all()
        assert (found - expected).abs().max().item() <= 0.05  # BF16 has eight bits
        assert "overflowed in fp16: redone in bf16" in log.text

    def test_in_tiles_only_those_that_overflow_are_redone(self, log: pytest.LogCaptureFixture) -> None:
        model = descriptor()
        with torch.no_grad():  # sums over a bright neighbourhood go beyond FP16's 65504, those over a dark one do not
            model.model.get_parameter("conv_in.weight").abs_().mul_(1e5)
            model.model.get_parameter("conv_in.bias").zero_()
            model.model.get_parameter("up.0.weight").mul_(1e-5)
        image = torch.zeros(1, 3, 64, 200)
        image[..., 150:] = 1
        found = upscale_tensor(with_backend(model, "torch", precision="fp16"), image, tile=64)
        assert torch.isfinite(found).all()
        dark = upscale_tensor(model, image, tile=0)[..., :200]
        assert (found[..., :200] - dark).abs().max().item() <= 5e-3
        assert 1 <= log.text.count("redone in bf16") <= 2

    def test_what_stays_finite_is_not_redone(self, log: pytest.LogCaptureFixture) -> None:
        model = descriptor()
        found = with_backend(model, "torch", precision="fp16")(IMAGE)
        assert (found - model(IMAGE)).abs().max().item() <= 5e-3
        assert "redone" not in log.text

    def test_each_tile_climbs_alone(self) -> None:
        made: list[Precision] = []

        def make(precision: Precision) -> Runner:
            made.append(precision)
            limit = {"fp16": 1.0, "bf16": 10.0, "fp32": 100.0}[precision]
            return lambda x: torch.where(x > limit, torch.inf, x)

        guard = Guarded(make, ("fp16", "bf16", "fp32"))
        for value in (0.5, 5.0, 0.5, 50.0):
            assert guard(torch.full((1, 1, 2, 2), value)).mean().item() == value
        assert made == ["fp16", "bf16", "fp32"]
        assert guard.redone == 3
        with pytest.raises(ParagonError, match="even in fp32"):
            guard(torch.full((1, 1, 2, 2), 500.0))

    def test_nan_counts_too(self) -> None:
        def make(precision: Precision) -> Runner:
            def run(x: Tensor) -> Tensor:
                return x * float("nan") if precision == "fp16" else x

            return run

        assert Guarded(make, ("fp16", "fp32"))(IMAGE).equal(IMAGE)

    @pytest.mark.parametrize(
        ("first", "bfloat16", "supported", "expected"),
        [
            ("fp16", True, ("fp32", "fp16", "bf16"), ("fp16", "bf16", "fp32")),
            ("fp16", False, ("fp32", "fp16", "bf16"), ("fp16", "fp32")),
            ("fp16", True, ("fp32", "fp16"), ("fp16", "fp32")),
            ("bf16", True, ("fp32", "fp16", "bf16"), ("bf16", "fp32")),
            ("fp32", True, ("fp32",), ("fp32",)),
        ],
    )
    def test_ladder(
        self, first: Precision, bfloat16: bool, supported: tuple[Precision, ...], expected: tuple[Precision, ...]
    ) -> None:
        assert ladder(first, Traits(bfloat16=bfloat16), supported) == expected

    def test_precision_by_device(self) -> None:
        assert default_precision(Traits(), CPU) == "fp32"
        assert default_precision(Traits(half=True), torch.device("cuda")) == "fp16"
        assert default_precision(Traits(half=False, bfloat16=False), torch.device("cuda")) == "fp32"
