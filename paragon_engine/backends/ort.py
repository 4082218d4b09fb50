"""ONNX Runtime: our ONNX graph on one of its execution providers."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
import torch
from torch import Tensor

from paragon_arch.errors import InvalidOptionError
from paragon_arch.networks.base import SRNetwork

from ..devices import device_failure
from ..packages import cache_folder, installed, require, version
from .base import Availability, Precision, Runner, check_request
from .forms import graph_of

_FLOAT16 = 10
"""ONNX's number of the type."""
ENGINE_SIDES = {"min": 32, "opt": 512, "max": 2048}
"""Sides of the images that TensorRT's engines take; they are fastest at the middle one."""


@dataclass(frozen=True)
class OnnxRuntimeBackend:
    """One execution provider."""

    name: str
    provider: str
    """ONNX Runtime's own name of it, without "ExecutionProvider"."""
    package: str
    """Distribution that has it."""
    devices: tuple[str, ...] = ("cpu",)
    options: tuple[tuple[str, str], ...] = ()
    """Options of the provider."""
    quick: bool = True
    precisions: tuple[Precision, ...] = ("fp32", "fp16")
    bound: bool = False
    """Images on the device go into the graph and come out of it there, without a way over the host."""

    def available(self) -> Availability:
        """Needs the packages onnx (to export) and an onnxruntime that has the provider."""
        for module, package in (("onnx", "onnx"), ("onnxruntime", self.package)):
            if not installed(module):
                return Availability(False, f"not installed: pip install {package}")
        found: list[str] = require("onnxruntime", self.name).get_available_providers()
        if self._full not in found:
            cure = f"pip uninstall {' '.join(_builds())}, then pip install {self.package}"  # side by side, one is dead
            return Availability(False, f"this onnxruntime has no {self.provider} provider: {cure}")
        return Availability(True, version("onnxruntime"))

    @property
    def _full(self) -> str:
        return f"{self.provider}ExecutionProvider"

    def prepare(self, network: SRNetwork, *, device: torch.device, precision: Precision) -> Runner:
        """See `Backend`."""
        check_request(self, device, precision)
        return self.runner(graph_of(network, "fp16" if precision == "fp16" else "fp32"), device)

    def runner(self, graph: bytes, device: torch.device) -> Runner:
        """Run a serialised graph whose input and output are FP32.

        Raises:
            InvalidOptionError: the provider cannot be started.
        """
        ort = require("onnxruntime", f"backend {self.name}")
        settings = ort.SessionOptions()
        settings.intra_op_num_threads, settings.log_severity_level = torch.get_num_threads(), 3
        options = dict(self.options) | ({"device_id": str(device.index or 0)} if device.type == "cuda" else {})
        if self.provider == "Tensorrt":
            options |= _engine_options(graph)
        session = ort.InferenceSession(graph, settings, providers=[(self._full, options)])
        if self._full not in session.get_providers():  # it falls back to the CPU without a word
            raise InvalidOptionError(f"backend {self.name} could not be started: its driver or libraries are missing")
        return BoundRunner(session, device) if self.bound else lambda x: _run(session, x)


def _builds() -> list[str]:
    """Distributions of ONNX Runtime that are installed."""
    return sorted(set(metadata.packages_distributions().get("onnxruntime", []))) or ["onnxruntime"]


def _engine_options(graph: bytes) -> dict[str, str]:
    """Engines and timings are kept between runs, and one engine serves all sizes that tiles have.

    Without a range of sizes TensorRT would build, for minutes, another engine for every new one.
    """
    model = require("onnx", "reading the graph's inputs").load_from_string(graph)
    options = {"trt_engine_cache_enable": "1", "trt_timing_cache_enable": "1", "trt_builder_optimization_level": "3"}
    folder = cache_folder() / "tensorrt"
    with suppress(OSError):  # then it builds anew every time
        folder.mkdir(parents=True, exist_ok=True)
    options |= {"trt_engine_cache_path": str(folder), "trt_timing_cache_path": str(folder)}
    if any(item.data_type == _FLOAT16 for item in model.graph.initializer):
        options["trt_fp16_enable"] = "1"
    dims = {item.name: item.type.tensor_type.shape.dim for item in model.graph.input}
    if all(len(dim) == 4 and dim[2].dim_param for dim in dims.values()):
        for name, side in ENGINE_SIDES.items():
            shapes = (f"{image}:1x{dim[1].dim_value}x{side}x{side}" for image, dim in dims.items())
            options[f"trt_profile_{name}_shapes"] = ",".join(shapes)
    return options


class BoundRunner:
    """Runs a session whose provider computes on the device that the images are on, or are brought to.

    The first image says how large an output is; from then on both lie in PyTorch's tensors and are only pointed at.
    """

    def __init__(self, session: Any, device: torch.device) -> None:
        self._session, self._device = session, device
        self._input, self._output = session.get_inputs()[0].name, session.get_outputs()[0].name
        self._like: tuple[int, int] | None = None
        """Channels of an output, and its pixels along a side for each pixel of an input."""

    def __call__(self, x: Tensor) -> Tensor:
        """See `Runner`."""
        if self._like is None:
            result = _run(self._session, x)
            self._like = result.shape[1], result.shape[2] // x.shape[2]
            return result
        image = x.detach().to(self._device, torch.float32).contiguous()
        channels, scale = self._like
        shape = (image.shape[0], channels, image.shape[2] * scale, image.shape[3] * scale)
        result = torch.empty(shape, dtype=torch.float32, device=self._device)
        with _errors(self._session):
            binding = self._session.io_binding()
            place = self._device.type, self._device.index or 0
            binding.bind_input(self._input, *place, np.float32, tuple(image.shape), image.data_ptr())
            binding.bind_output(self._output, *place, np.float32, shape, result.data_ptr())
            if self._device.type == "cuda":
                torch.cuda.current_stream(self._device).synchronize()  # the session has a stream of its own
            self._session.run_with_iobinding(binding)
        return result.to(x.device)


def _run(session: Any, x: Tensor) -> Tensor:
    with _errors(session):
        image = x.detach().to("cpu", torch.float32).contiguous().numpy()
        return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: image})[0]).to(x.device)


@contextmanager
def _errors(session: Any) -> Generator[None, None, None]:
    """Turn what ONNX Runtime raises into errors of ours."""
    try:
        yield
    except Exception as error:  # onnxruntime's errors share no base class
        if "allocat" in str(error).lower():
            raise MemoryError(f"out of memory in ONNX Runtime: {str(error)[:200]}") from error
        failure = device_failure(error, f"the device of ONNX Runtime ({session.get_providers()[0]})")
        if failure is not None:
            raise failure from error
        raise


PROVIDERS = (
    OnnxRuntimeBackend("onnxruntime", "CPU", "onnxruntime"),
    OnnxRuntimeBackend(
        "onnxruntime-cuda",
        "CUDA",
        "onnxruntime-gpu",
        devices=("cuda",),
        options=(
            ("arena_extend_strategy", "kSameAsRequested"),  # else memory grows with every new tile size
            ("cudnn_conv_algo_search", "HEURISTIC"),  # else every new tile size is searched for seconds
            ("use_tf32", "0"),  # FP32 is FP32, as in PyTorch
        ),
        bound=True,
    ),
    OnnxRuntimeBackend("onnxruntime-tensorrt", "Tensorrt", "onnxruntime-gpu", ("cuda",), quick=False, bound=True),
    OnnxRuntimeBackend("onnxruntime-openvino", "OpenVINO", "onnxruntime-openvino"),
    OnnxRuntimeBackend("onnxruntime-directml", "Dml", "onnxruntime-directml", devices=("cpu", "cuda")),
)
