"""ONNX files as models: exported by us or by others, run by ONNX Runtime or OpenVINO."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from spandrel import Architecture, ImageModelDescriptor
from torch import Tensor, nn

from paragon_arch.errors import InvalidOptionError

from ..onnx_export import inferred_scale
from ..onnx_export.foresight import PROBE
from ..onnx_export.reading import minimum_size, properties, read_graph
from ..onnx_export.trust import MAX_SCALE
from ..packages import require
from ..progress import log
from . import BACKENDS
from .base import GraphBackend, Runner

GRAPH_BACKENDS = tuple(name for name, item in BACKENDS.items() if isinstance(item, GraphBackend))
"""Backends that can run a file."""
PREFERRED = {"cuda": ("onnxruntime-cuda", "onnxruntime-directml"), "cpu": ()}
"""What "auto" tries before the CPU, by type of the torch device. TensorRT builds for minutes: ask for it by name."""
CPU = torch.device("cpu")


class GraphNetwork(nn.Module):
    """An ONNX graph in place of a network. Its one parameter, which is empty, is where PyTorch says it is."""

    def __init__(self, run: Runner, scale: int, minimum_size: int = 1) -> None:
        super().__init__()
        self.run, self.scale, self.minimum_size = run, scale, minimum_size
        self.anchor = nn.Parameter(torch.zeros(0), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` in 0..1 to ``(N, C, H*scale, W*scale)``, not clamped.

        Raises:
            InvalidOptionError: the picture is smaller than the graph takes.
        """
        if min(x.shape[2:]) < self.minimum_size:
            raise InvalidOptionError(
                f"this ONNX graph takes pictures of {self.minimum_size} x {self.minimum_size} pixels or more, and this "
                f"one has {x.shape[3]} x {x.shape[2]}: use the checkpoint instead of the graph"
            )
        return self.run(x)

    def __deepcopy__(self, memo: dict[int, Any]) -> GraphNetwork:
        """Copies share the session, which has no state."""
        twin = GraphNetwork(self.run, self.scale, self.minimum_size)
        twin.anchor = copy.deepcopy(self.anchor, memo)
        return twin


class GraphArchitecture(Architecture[GraphNetwork]):
    """What spandrel wants to know of a model's origin. No state dict is of this kind."""

    def __init__(self) -> None:
        super().__init__(id="ParagonSR-ONNX", name="ONNX", detect=_never)

    def load(self, state_dict: Mapping[str, object]) -> ImageModelDescriptor[GraphNetwork]:
        """Graphs are opened by `open_graph`."""
        raise InvalidOptionError("an ONNX graph is not loaded from a state dict: give its file to open_graph")


@dataclass(frozen=True)
class OpenedGraph:
    """A model from an ONNX file, and what was done to run it."""

    model: ImageModelDescriptor[GraphNetwork]
    backend: str
    """The name of the one that runs it."""
    notes: tuple[str, ...]
    """Backends that could not be used and why, and what else the user should know."""
    properties: Mapping[str, str]
    """The file's own ``metadata_props``."""


def open_graph(path: Path | str, backend: str = "auto", *, device: torch.device = CPU) -> OpenedGraph:
    """Open an ONNX file that upscales.

    Args:
        path: the file. Its input is ``(N, C, H, W)`` in 0..1 and FP32, height and width open.
        backend: one of `GRAPH_BACKENDS`, or "auto". Where it cannot run the file, the CPU does, with a note.
        device: what "auto" and the GPU backends may use.

    Raises:
        CheckpointError: no such file, or not an ONNX model that stands for itself.
        InvalidOptionError: the graph does not upscale images of any size, no backend runs it, a package is missing.
    """
    if backend != "auto" and backend not in GRAPH_BACKENDS:
        raise InvalidOptionError(f"backend {backend!r} runs no ONNX files: choose auto, {', '.join(GRAPH_BACKENDS)}")
    graph = read_graph(path)
    channels, scale = _shape(graph, path)
    wanted = PREFERRED.get(device.type, ()) if backend == "auto" else (backend,)
    name, run, notes = _start(graph, [*dict.fromkeys((*wanted, "onnxruntime", "openvino"))], device, channels)
    for note in notes:
        log.warning("%s: %s", Path(path).name, note)
    facts = properties(graph)
    network = GraphNetwork(run, scale, minimum_size(facts, str(path)))
    model = ImageModelDescriptor(
        network,
        network.state_dict(),
        architecture=GraphArchitecture(),
        purpose="Restoration" if scale == 1 else "SR",
        tags=[name],
        supports_half=False,  # tensors go in and come out in FP32, whatever the graph computes in
        supports_bfloat16=False,
        scale=scale,
        input_channels=channels,
        output_channels=channels,
    )
    return OpenedGraph(model, name, tuple(notes), facts)


def _shape(graph: bytes, path: Path | str) -> tuple[int, int]:
    """Channels and scale of a graph."""
    model = require("onnx", "reading an ONNX file").load_from_string(graph)
    dims = model.graph.input[0].type.tensor_type.shape.dim
    channels = dims[1].dim_value if len(dims) == 4 else 0
    if channels not in (1, 3):
        raise InvalidOptionError(f"{path}: its input is not a batch of pictures (N, 1 or 3, H, W)")
    if dims[2].dim_value or dims[3].dim_value:
        size = f"{dims[3].dim_value} x {dims[2].dim_value}"
        raise InvalidOptionError(f"{path}: takes pictures of {size} only: export it with open height and width")
    scale = inferred_scale(graph, PROBE)
    if scale is None or scale < 1 or scale != int(scale):
        raise InvalidOptionError(f"{path}: its output is not a whole number of times as large as its input")
    if scale > MAX_SCALE:
        raise InvalidOptionError(f"{path}: enlarges by {scale:g}, and {MAX_SCALE} is the most that is supported")
    return channels, int(scale)


def _start(graph: bytes, names: Sequence[str], device: torch.device, channels: int) -> tuple[str, Runner, list[str]]:
    """The first backend that runs a picture, and why those before it did not."""
    notes = [*_shadowed()]
    for name in names:
        item = BACKENDS[name]
        assert isinstance(item, GraphBackend)
        place = device if device.type in item.devices else torch.device(item.devices[0])
        availability = item.available()
        try:
            if not availability.usable:
                raise InvalidOptionError(availability.detail)
            run = item.runner(graph, place)
            run(torch.zeros(1, channels, PROBE, PROBE))
        except Exception as error:  # the runtimes' errors share no base class
            notes.append(f"{name} cannot be used ({str(error)[:200]})")
            continue
        return name, run, notes
    raise InvalidOptionError("no backend runs this file: " + "; ".join(notes))


def _shadowed() -> Iterator[str]:
    """Two builds of ONNX Runtime in one environment are one module, of which the one installed last is left."""
    builds = sorted(set(metadata.packages_distributions().get("onnxruntime", [])))
    if len(builds) > 1:
        yield (
            f"{' and '.join(builds)} are both installed and overwrite each other: uninstall all of them and install "
            "only the one for your hardware"
        )


def _never(_state_dict: object) -> bool:
    return False
