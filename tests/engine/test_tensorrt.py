"""TensorRT's runner against a stand-in for its Python module that computes: pointers, shapes, failures, the cache."""

from __future__ import annotations

import ctypes
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from paragon_arch.errors import CorruptCheckpointError, InvalidOptionError, ParagonError
from paragon_engine import engines
from paragon_engine.backends import BACKENDS, backend
from paragon_engine.backends.forms import graph_of
from paragon_engine.backends.tensorrt import EngineRunner, TensorRTBackend
from tests.engine_models import network

CPU = torch.device("cpu")


class Context:
    """An execution context of an engine that enlarges by nearest neighbours."""

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()
        self.places = dict[str, int]()
        self.works = True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert name == "input"
        self.shape = shape
        return shape[0] == 1 and max(shape[2:]) <= 2048

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        assert name == "output"
        return (*self.shape[:2], 2 * self.shape[2], 2 * self.shape[3])

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.places[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        assert stream == 0
        if not self.works:
            return False
        size = int(torch.Size(self.shape).numel())
        given = torch.frombuffer((ctypes.c_float * size).from_address(self.places["input"]), dtype=torch.float32)
        result = F.interpolate(given.view(self.shape), scale_factor=2).contiguous()
        ctypes.memmove(self.places["output"], result.data_ptr(), 4 * result.numel())
        return True


class Engine:
    num_io_tensors = 2

    def __init__(self, context: Context | None) -> None:
        self.context = context

    def get_tensor_name(self, index: int) -> str:
        return ("output", "input")[index]

    def get_tensor_mode(self, name: str) -> str:
        return name

    def create_execution_context(self) -> Context | None:
        return self.context


class Logger:
    ERROR, WARNING = 1, 2

    def __init__(self, level: int) -> None:
        self.level = level


class TensorRT(ModuleType):
    """The module, and what was done with it."""

    __version__ = "11.0"

    def __init__(self) -> None:
        super().__init__("tensorrt")
        self.__spec__ = ModuleSpec("tensorrt", None)
        self.context: Context | None = Context()
        self.built: list[tuple[Any, ...]] = []
        self.Logger = Logger
        self.TensorIOMode = SimpleNamespace(INPUT="input")
        self.MemoryPoolType = SimpleNamespace(WORKSPACE=0)

    def Runtime(self, _logger: object) -> Any:  # noqa: N802
        def load(plan: bytes) -> Engine | None:
            return Engine(self.context) if plan.startswith(b"plan") else None

        return SimpleNamespace(deserialize_cuda_engine=load)

    def OnnxParser(self, _network: object, _logger: object) -> Any:  # noqa: N802
        return SimpleNamespace(parse=bool)

    def Builder(self, _logger: object) -> Any:  # noqa: N802
        def nothing(*_: object) -> None:
            pass

        def build(*_: object) -> bytes:
            return b"plan of an engine"

        def set_shape(*shapes: Any) -> None:
            self.built.append(shapes)

        profile = SimpleNamespace(set_shape=set_shape)
        config = SimpleNamespace(set_memory_pool_limit=nothing, add_optimization_profile=nothing)
        return SimpleNamespace(
            create_network=nothing,
            create_builder_config=lambda: config,
            create_optimization_profile=lambda: profile,
            build_serialized_network=build,
        )


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TensorRT:
    module = TensorRT()
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    monkeypatch.setattr(engines, "tensorrt_usable", lambda: None)
    monkeypatch.setenv("PARAGONSR_CACHE", str(tmp_path))
    return module


@pytest.mark.parametrize("shape", [(1, 3, 8, 9), (1, 3, 2, 2), (3, 3, 5, 4)])
def test_an_engine_reads_and_writes_the_tensors_themselves(trt: TensorRT, shape: tuple[int, ...]) -> None:
    x = torch.rand(shape).transpose(2, 3)  # whose values do not lie in order
    assert torch.equal(EngineRunner(b"plan", CPU)(x), F.interpolate(x, scale_factor=2))


def test_results_do_not_share_memory(trt: TensorRT) -> None:
    run, x = EngineRunner(b"plan", CPU), torch.rand(1, 3, 4, 4)
    first = run(x)
    kept = first.clone()
    run(x + 1)
    assert torch.equal(first, kept)


def test_an_image_that_is_too_large_names_the_cure(trt: TensorRT) -> None:
    with pytest.raises(InvalidOptionError, match="2048 x 2048 pixels at most, not 2049 x 4: use tiles"):
        EngineRunner(b"plan", CPU)(torch.rand(1, 3, 4, 2049))


def test_failures_are_ours(trt: TensorRT) -> None:
    with pytest.raises(CorruptCheckpointError, match="built again"):
        EngineRunner(b"torn", CPU)
    assert trt.context is not None
    trt.context.works = False
    with pytest.raises(ParagonError, match="could not run"):
        EngineRunner(b"plan", CPU)(torch.rand(1, 3, 4, 4))
    trt.context = None
    with pytest.raises(MemoryError, match="out of memory"):
        EngineRunner(b"plan", CPU)


def test_an_engine_is_built_once_for_each_graph_and_machine(
    trt: TensorRT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed")
    graph = graph_of(network())
    for _ in range(2):
        TensorRTBackend().runner(graph, CPU)
        assert trt.built == [("input", (1, 3, 2, 2), (1, 3, 512, 512), (1, 3, 2048, 2048))]
    (kept,) = (tmp_path / "tensorrt").glob("*.engine")
    assert kept.with_suffix(".json").is_file()
    monkeypatch.setattr(engines, "_driver", lambda: "999.1")
    TensorRTBackend().runner(graph, CPU)
    assert len(trt.built) == 2, "another driver needs another engine"


def test_it_is_a_backend_like_any_other() -> None:
    assert backend("tensorrt") is BACKENDS["tensorrt"]
    assert not BACKENDS["tensorrt"].quick, "auto must not build for minutes"
    state = BACKENDS["tensorrt"].available()
    assert state.usable or "install" in state.detail or "no NVIDIA GPU" in state.detail
