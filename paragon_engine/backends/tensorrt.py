"""TensorRT: our ONNX graph as an engine of this machine, built once and kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from paragon_arch.errors import CorruptCheckpointError, InvalidOptionError, ParagonError
from paragon_arch.networks.base import SRNetwork

from ..engines import Profile, cached_engine, tensorrt_usable
from ..packages import cache_folder, installed, require, version
from .base import Availability, Precision, Runner, check_request
from .forms import graph_of

TILES = Profile((2, 2), (512, 512), (2048, 2048))
"""Sizes of the images that engines take: all that tiles have, and pictures up to 4 megapixels at once."""


@dataclass(frozen=True)
class TensorRTBackend:
    """NVIDIA's own runtime, versions 10 and 11."""

    name: str = "tensorrt"
    devices: tuple[str, ...] = ("cuda",)
    precisions: tuple[Precision, ...] = ("fp32", "fp16")
    quick: bool = False

    def available(self) -> Availability:
        """Needs the packages onnx (to export) and tensorrt, and an NVIDIA card."""
        if not installed("onnx"):
            return Availability(False, "not installed: pip install onnx")
        missing = tensorrt_usable()
        return Availability(True, version("tensorrt")) if missing is None else Availability(False, missing)

    def prepare(self, network: SRNetwork, *, device: torch.device, precision: Precision) -> Runner:
        """See `Backend`; takes minutes the first time."""
        check_request(self, device, precision)
        return self.runner(graph_of(network, "fp16" if precision == "fp16" else "fp32"), device)

    def runner(self, graph: bytes, device: torch.device) -> Runner:
        """Run a serialised graph whose input and output are FP32.

        Raises:
            InvalidOptionError: TensorRT or a card is missing.
            OutputError: TensorRT refuses the graph.
        """
        engine, _ = cached_engine(graph, cache_folder() / "tensorrt", TILES)
        return EngineRunner(engine.read_bytes(), device)


class EngineRunner:
    """Runs an engine with one input and one output.

    Args:
        plan: a serialised engine that was built for this machine.
        device: the card.

    Raises:
        CorruptCheckpointError: TensorRT cannot load it.
    """

    def __init__(self, plan: bytes, device: torch.device) -> None:
        trt = require("tensorrt", "backend tensorrt")
        self._logger = trt.Logger(trt.Logger.ERROR)
        self._runtime = trt.Runtime(self._logger)
        self._engine: Any = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise CorruptCheckpointError("TensorRT cannot load the engine: delete it, so that it is built again")
        self._context: Any = self._engine.create_execution_context()
        if self._context is None:
            raise MemoryError("out of memory in TensorRT, before the first image")
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        modes = {name: self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT for name in names}
        (self._input,) = [name for name in names if modes[name]]
        (self._output,) = [name for name in names if not modes[name]]
        self._device = device

    def __call__(self, x: Tensor) -> Tensor:
        """See `Runner`. A batch goes through image by image, as engines are built for one.

        Raises:
            InvalidOptionError: an image is larger than the engine takes.
            ParagonError: TensorRT failed.
        """
        image = x.detach().to(self._device, torch.float32).contiguous()
        parts = [self._one(image[index : index + 1]) for index in range(len(image))]
        return torch.cat(parts).to(x.device)

    def _one(self, image: Tensor) -> Tensor:
        if not self._context.set_input_shape(self._input, tuple(image.shape)):
            height, width = image.shape[2:]
            most = " x ".join(map(str, reversed(TILES.maximum)))
            raise InvalidOptionError(f"the engine takes {most} pixels at most, not {width} x {height}: use tiles")
        result = torch.empty(
            tuple(self._context.get_tensor_shape(self._output)), dtype=torch.float32, device=self._device
        )
        self._context.set_tensor_address(self._input, image.data_ptr())
        self._context.set_tensor_address(self._output, result.data_ptr())
        # on PyTorch's own stream, so that what is behind and before it in the queue waits for it
        stream = torch.cuda.current_stream(self._device).cuda_stream if self._device.type == "cuda" else 0
        if not self._context.execute_async_v3(stream):
            raise ParagonError("TensorRT could not run the engine; its messages above say why (often: little memory)")
        return result
