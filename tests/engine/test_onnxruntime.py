"""How ONNX Runtime is asked to run on NVIDIA's cards, without one: its options, and images that stay on the device."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from paragon_arch.errors import ParagonError
from paragon_engine.backends import BACKENDS
from paragon_engine.backends.forms import graph_of
from paragon_engine.backends.ort import BoundRunner, OnnxRuntimeBackend
from tests.engine_models import network

pytest.importorskip("onnx", reason="onnx is not installed")


@pytest.fixture(scope="module")
def graphs() -> dict[str, bytes]:
    net = network()
    return {"fp32": graph_of(net, "fp32"), "fp16": graph_of(net, "fp16")}


class Runtime:
    """A stand-in for the module `onnxruntime` of a machine with a card."""

    def __init__(self, provider: str) -> None:
        self.provider, self.asked = provider, dict[str, str]()
        self.SessionOptions = SimpleNamespace

    def get_available_providers(self) -> list[str]:
        return [self.provider, "CPUExecutionProvider"]

    def InferenceSession(self, graph: bytes, settings: Any, providers: list[tuple[str, dict[str, str]]]) -> Any:  # noqa: N802
        assert providers[0][0] == self.provider
        self.asked = providers[0][1]
        names = [SimpleNamespace(name="input")]
        return SimpleNamespace(
            get_providers=lambda: [self.provider], get_inputs=lambda: names, get_outputs=lambda: names
        )


def asked(name: str, graph: bytes, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The options that a backend gives to its provider."""
    item = BACKENDS[name]
    assert isinstance(item, OnnxRuntimeBackend)
    runtime = Runtime(f"{item.provider}ExecutionProvider")
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)  # pyright: ignore[reportArgumentType]
    assert isinstance(item.runner(graph, torch.device("cuda", 1)), BoundRunner)
    return runtime.asked


def test_cuda_searches_no_algorithms_and_rounds_nothing(
    graphs: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = asked("onnxruntime-cuda", graphs["fp32"], monkeypatch)
    assert options["cudnn_conv_algo_search"] == "HEURISTIC"
    assert options["use_tf32"] == "0"
    assert options["device_id"] == "1"


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_tensorrt_keeps_its_engines_and_serves_all_sizes(
    precision: str, graphs: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PARAGONSR_CACHE", str(tmp_path))
    options = asked("onnxruntime-tensorrt", graphs[precision], monkeypatch)
    assert options["trt_engine_cache_enable"] == options["trt_timing_cache_enable"] == "1"
    assert options["trt_engine_cache_path"] == options["trt_timing_cache_path"] == str(tmp_path / "tensorrt")
    assert (tmp_path / "tensorrt").is_dir()
    assert options["trt_profile_min_shapes"] == "input:1x3x32x32"
    assert options["trt_profile_opt_shapes"] == "input:1x3x512x512"
    assert options["trt_profile_max_shapes"] == "input:1x3x2048x2048"
    assert options.get("trt_fp16_enable") == ("1" if precision == "fp16" else None)


def test_a_cache_that_cannot_be_made_is_harmless(
    graphs: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PARAGONSR_CACHE", str(tmp_path / "file"))
    assert "trt_profile_opt_shapes" in asked("onnxruntime-tensorrt", graphs["fp32"], monkeypatch)


def test_a_bound_session_gives_the_same_picture(graphs: dict[str, bytes]) -> None:
    """Binding works on the CPU as well, so that it can be tried here; tiles of other sizes and batches included."""
    ort: Any = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    session = ort.InferenceSession(graphs["fp32"], providers=["CPUExecutionProvider"])
    run, net = BoundRunner(session, torch.device("cpu")), network()
    for shape in ((1, 3, 20, 24), (1, 3, 20, 24), (1, 3, 7, 33), (2, 3, 16, 16)):
        x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            expected = net(x)
        assert (run(x) - expected).abs().max() <= 1e-4
        assert (run(x.transpose(2, 3).contiguous().transpose(2, 3)) - expected).abs().max() <= 1e-4  # other strides


def test_errors_of_a_bound_session_are_ours(graphs: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("CUDA failure 719: unspecified launch failure")

    names = [SimpleNamespace(name="input")]
    session = SimpleNamespace(
        get_inputs=lambda: names, get_outputs=lambda: names, run=fail, get_providers=lambda: ["CUDAExecutionProvider"]
    )
    with pytest.raises(ParagonError, match="stopped working"):
        BoundRunner(session, torch.device("cpu"))(torch.rand(1, 3, 8, 8))


def test_the_cure_leaves_one_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two builds side by side write into one folder, and what works then is chance."""
    runtime = SimpleNamespace(get_available_providers=lambda: ["CPUExecutionProvider"])
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr("paragon_engine.backends.ort.installed", bool)
    monkeypatch.setattr("paragon_engine.backends.ort._builds", lambda: ["onnxruntime"])
    detail = BACKENDS["onnxruntime-cuda"].available().detail
    assert "pip uninstall onnxruntime, then pip install onnxruntime-gpu" in detail
