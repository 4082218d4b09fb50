"""ONNX Runtime: our ONNX graph on one of its execution providers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from paragon_arch.errors import InvalidOptionError
from paragon_arch.networks.base import SRNetwork

from ..devices import device_failure
from ..packages import installed, require, version
from .base import Availability, Precision, Runner, check_request
from .forms import graph_of


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

    def available(self) -> Availability:
        """Needs the packages onnx (to export) and an onnxruntime that has the provider."""
        for module, package in (("onnx", "onnx"), ("onnxruntime", self.package)):
            if not installed(module):
                return Availability(False, f"not installed: pip install {package}")
        found: list[str] = require("onnxruntime", self.name).get_available_providers()
        if self._full not in found:
            return Availability(False, f"this onnxruntime has no {self.provider} provider: pip install {self.package}")
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
        session = ort.InferenceSession(graph, settings, providers=[(self._full, options)])
        if self._full not in session.get_providers():  # it falls back to the CPU without a word
            raise InvalidOptionError(f"backend {self.name} could not be started: its driver or libraries are missing")
        return lambda x: _run(session, x)


def _run(session: Any, x: Tensor) -> Tensor:
    try:
        image = x.detach().to("cpu", torch.float32).contiguous().numpy()
        return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: image})[0]).to(x.device)
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
        options=(("arena_extend_strategy", "kSameAsRequested"),),  # else memory grows with every new tile size
    ),
    OnnxRuntimeBackend("onnxruntime-tensorrt", "Tensorrt", "onnxruntime-gpu", devices=("cuda",), quick=False),
    OnnxRuntimeBackend("onnxruntime-openvino", "OpenVINO", "onnxruntime-openvino"),
    OnnxRuntimeBackend("onnxruntime-directml", "Dml", "onnxruntime-directml", devices=("cpu", "cuda")),
)
