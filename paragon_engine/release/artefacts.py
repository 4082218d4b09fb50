"""Artefacts: checkpoints and ONNX files behind one interface, so that any can be compared with any."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

import paragon_arch
from paragon_arch.copying import private_copy
from paragon_arch.errors import CorruptCheckpointError, InvalidOptionError, OutputError
from paragon_arch.networks.base import SRNetwork

from ..devices import computing, resolve_device
from ..onnx_export import comparable, inferred_scale, properties, read_graph, with_rounding
from ..onnx_export.reading import minimum_size, stated_number
from ..onnx_export.trust import MAX_SCALE
from ..packages import require

Run = Callable[[Tensor], Tensor]
"""``(N, C, H, W)`` FP32 in 0..1 to ``(N, C, H*s, W*s)`` FP32, both on the CPU."""
VideoRun = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Image and previous features to output and features."""


@dataclass(frozen=True)
class Artefact:
    """Something that upscales."""

    name: str
    kind: str
    """"checkpoint" or "onnx"."""
    precision: str
    """"fp32", "fp16", "int8" or "fp8"."""
    scale: int
    run: Run
    channels: int = 3
    minimum_size: int = 1
    fixed_size: tuple[int, int] | None = None
    """Height and width, for a graph that takes no other."""
    video: VideoRun | None = None
    """For a graph with the feature tap, which `run` feeds with zeros."""
    network: SRNetwork | None = None
    """Of a checkpoint."""
    size: int = 0
    """Bytes of the file."""
    sha256: str = ""
    properties: Mapping[str, str] = field(default_factory=dict[str, str])
    """Metadata of an ONNX file."""


def open_artefact(path: Path | str, *, device: str = "cpu", **overrides: Any) -> Artefact:
    """Open a checkpoint or an ONNX file.

    Args:
        path: ``.onnx``, or any checkpoint that `paragon_arch.load` reads.
        device: where it runs.
        overrides: values for `paragon_arch.load`.

    Raises:
        CheckpointError: the file cannot be used.
        LayoutError, OptionError: see `paragon_arch.load`.
    """
    path = Path(path)
    if path.suffix.lower() == ".onnx":
        return graph_artefact(read_graph(path), name=path.name, device=device)
    model = paragon_arch.open_model(path, **overrides)
    return network_artefact(
        model.model, name=path.name, device=device, size=path.stat().st_size, sha256=file_sha256(path)
    )


def network_artefact(
    network: SRNetwork, *, name: str, device: str = "cpu", size: int = 0, sha256: str = ""
) -> Artefact:
    """A network, run by PyTorch in FP32; in the order of its graphs where that is not the same (`comparable`)."""
    where = resolve_device(device)
    network = cast("SRNetwork", private_copy(comparable(network), device=where))

    def run(x: Tensor) -> Tensor:
        with computing(where):
            return network(x.to(where)).float().cpu()

    def video(x: Tensor, previous: Tensor) -> tuple[Tensor, Tensor]:
        with computing(where):
            out, features = network(x.to(where), previous.to(where), feature_tap=True)
            return out.float().cpu(), features.float().cpu()

    return Artefact(
        name=name,
        kind="checkpoint",
        precision="fp32",
        scale=network.scale,
        run=run,
        channels=network.hyperparameters.get("in_channels", 3),
        minimum_size=network.minimum_size,
        video=video,
        network=network,
        size=size,
        sha256=sha256,
    )


def graph_artefact(graph: bytes, *, name: str, device: str = "cpu", simulate: bool = True) -> Artefact:
    """A serialised ONNX model in ONNX Runtime, with inputs and outputs of any floating type.

    Args:
        graph: the model.
        name: for messages.
        device: "cuda" needs an onnxruntime with that provider.
        simulate: on a CPU, round every FP16 tensor as hardware would (see `with_rounding`); ONNX Runtime does not.

    Raises:
        OutputError: ONNX Runtime refuses the graph.
        CorruptCheckpointError: it is not a graph that upscales.
    """
    facts, session = properties(graph), _session(graph, name, device)
    found = guessed_precision(graph)
    if simulate and found == "fp16" and resolve_device(device).type == "cpu":
        session = _session(with_rounding(graph), name, device, optimise=False)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    shape: list[Any] = inputs[0].shape
    for item in inputs:
        if len(item.shape) != 4 or not isinstance(item.shape[1], int):
            raise CorruptCheckpointError(f"{name}: an input is not an image (N, C, H, W) but {item.shape}")
    fixed = (shape[2], shape[3]) if isinstance(shape[2], int) and isinstance(shape[3], int) else None
    kinds = [np.float16 if item.type == "tensor(float16)" else np.float32 for item in inputs]

    def feed(*tensors: Tensor) -> list[Tensor]:
        arrays = {i.name: t.numpy().astype(k) for i, t, k in zip(inputs, tensors, kinds, strict=True)}
        results = _run(session, arrays, name)
        return [torch.from_numpy(item.astype(np.float32)) for item in results]  # pyright: ignore[reportUnknownMemberType]

    def run(x: Tensor) -> Tensor:
        extra = [torch.zeros(x.shape[0], item.shape[1], *x.shape[2:]) for item in inputs[1:]]
        return feed(x, *extra)[0]

    def video(x: Tensor, previous: Tensor) -> tuple[Tensor, Tensor]:
        out, features = feed(x, previous)
        return out, features

    return Artefact(
        name=name,
        kind="onnx",
        precision=facts.get("paragonsr.precision") or found,
        scale=_scale(graph, facts, name, fixed),
        run=run,
        channels=shape[1],
        minimum_size=minimum_size(facts, name),
        fixed_size=fixed,
        video=video if len(inputs) == 2 and len(outputs) == 2 else None,
        size=len(graph),
        sha256=hashlib.sha256(graph).hexdigest(),
        properties=facts,
    )


def guessed_precision(graph: bytes) -> str:
    """The precision of a graph that does not say it, from its operators and weights."""
    onnx = require("onnx", "reading an ONNX file")
    model = onnx.load_from_string(graph)
    kinds = {item.data_type for item in model.graph.initializer}
    if kinds & {onnx.TensorProto.FLOAT8E4M3FN, onnx.TensorProto.FLOAT8E5M2}:
        return "fp8"
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear", "QLinearConv") for node in model.graph.node):
        return "int8"
    return "fp16" if onnx.TensorProto.FLOAT16 in kinds else "fp32"


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _session(graph: bytes, name: str, device: str, *, optimise: bool = True) -> Any:
    ort = require("onnxruntime", "running an ONNX graph")
    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, torch.get_num_threads()
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    providers = ["CPUExecutionProvider"]
    if resolve_device(device).type == "cuda":
        if "CUDAExecutionProvider" not in ort.get_available_providers():
            raise InvalidOptionError(
                "this onnxruntime has no CUDA provider: pip install onnxruntime-gpu, or use the CPU"
            )
        providers.insert(0, "CUDAExecutionProvider")
    try:
        return ort.InferenceSession(graph, options, providers=providers)
    except Exception as error:  # onnxruntime's errors share no base class
        raise OutputError(f"{name}: ONNX Runtime refuses the graph: {str(error)[:200]}") from error


def _run(session: Any, arrays: dict[str, Any], name: str) -> list[Any]:
    try:
        return session.run(None, arrays)
    except Exception as error:  # onnxruntime's errors share no base class
        size = "x".join(map(str, next(iter(arrays.values())).shape))
        raise OutputError(f"{name}: fails on an input of {size}: {str(error)[:200]}") from error


def _scale(graph: bytes, facts: Mapping[str, str], name: str, fixed: tuple[int, int] | None) -> int:
    found = inferred_scale(graph, 64 if fixed is None else fixed[0])
    if found is None:
        found = stated_number(facts, "paragonsr.scale", MAX_SCALE)
    if found is None or found != int(found) or not 1 <= found <= MAX_SCALE:
        raise CorruptCheckpointError(f"{name}: no integer scale can be inferred: not a graph that upscales images")
    return int(found)
