"""OpenVINO: our ONNX graph through Intel's runtime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from paragon_arch.networks.base import SRNetwork

from ..packages import installed, require, version
from .base import Availability, Precision, Runner, check_request
from .forms import graph_of


@dataclass(frozen=True)
class OpenVinoBackend:
    """One of OpenVINO's devices."""

    name: str
    target: str
    """OpenVINO's own name of the device: "CPU", "GPU"."""
    devices: tuple[str, ...] = ("cpu",)
    precisions: tuple[Precision, ...] = ("fp32",)
    quick: bool = True

    def available(self) -> Availability:
        """Needs the packages onnx (to export) and openvino."""
        for module in ("onnx", "openvino"):
            if not installed(module):
                return Availability(False, f"not installed: pip install {module}")
        if self.target != "CPU" and self.target not in _core().available_devices:
            return Availability(False, f"OpenVINO finds no {self.target} here: install its driver")
        return Availability(True, version("openvino"))

    def prepare(self, network: SRNetwork, *, device: torch.device, precision: Precision) -> Runner:
        """See `Backend`."""
        check_request(self, device, precision)
        return self.runner(graph_of(network), device)

    def runner(self, graph: bytes, device: torch.device) -> Runner:
        """Run a serialised graph whose input and output are FP32."""
        settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if self.target == "CPU":
            settings["INFERENCE_NUM_THREADS"] = str(torch.get_num_threads())
        core = _core()
        compiled = core.compile_model(core.read_model(model=graph), self.target, settings)
        request = compiled.create_infer_request()
        return lambda x: _run(request, x)


def _core() -> Any:
    return require("openvino", "backend openvino").Core()


def _run(request: Any, x: Tensor) -> Tensor:
    image = x.detach().to("cpu", torch.float32).contiguous().numpy()
    # copied, because the request writes its next result to the same place
    return torch.from_numpy(request.infer([image], share_inputs=True)[0].copy()).to(x.device)
