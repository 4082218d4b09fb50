"""Choosing what an FP16 graph keeps in FP32, by measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..onnx_export import Precision, to_half
from ..onnx_export.half import LARGEST, REDUCTIONS
from ..packages import require
from ..progress import Progress, log
from .artefacts import graph_artefact

HEADROOM = 8.0
"""A tensor whose largest value comes this close to what FP16 holds stays in FP32: other pictures have larger ones."""
MARGIN = 3.0
"""dB above the limit that the search aims at, for the same reason."""
MAX_GROUPS = 4
"""Groups of operations that the search moves to FP32 before it gives up."""


@dataclass(frozen=True)
class HalfGraph:
    """An FP16 graph and how it was chosen."""

    graph: bytes
    psnr: float
    """Against the FP32 graph, the worst of the inputs, in dB."""
    large: int
    """Nodes kept in FP32 because of the size of their values."""
    groups: tuple[str, ...]
    """Operations kept in FP32 because that raised the PSNR, in words."""

    @property
    def kept(self) -> str:
        """What is in FP32, in words."""
        parts = ["reductions over the image"]
        parts += [f"{self.large} operations with large values"] if self.large else []
        parts += [f"operations {group}" for group in self.groups]
        return ", ".join(parts)


def half_graph(
    graph: bytes,
    inputs: Sequence[Tensor],
    *,
    target: float = 60.0,
    io: Precision = "fp32",
    others: Sequence[Tensor] = (),
    progress: Progress | None = None,
) -> HalfGraph:
    """Convert an FP32 graph to FP16, with as much of it in FP16 as the target allows.

    Measured with every FP16 tensor rounded as hardware would round it.

    Args:
        graph: serialised, FP32.
        inputs: images to measure on.
        target: PSNR against the FP32 graph in dB.
        io: type of the graph's inputs and outputs.
        others: images on which only the size of the values inside is measured, which is quick.
        progress: may cancel.
    """
    progress = progress or Progress()
    expected = [graph_artefact(graph, name="FP32 graph").run(x) for x in inputs]

    def quality(keep: frozenset[str]) -> float:
        progress.raise_if_cancelled()
        converted = graph_artefact(to_half(graph, keep=keep), name="FP16 graph")
        return min(_psnr(first, converted.run(x)) for first, x in zip(expected, inputs, strict=True))

    large = _large_nodes(graph, [*inputs, *others])
    keep, best = large, quality(large)
    groups, chosen = _groups(graph), list[str]()
    while best < target + MARGIN and groups and len(chosen) < MAX_GROUPS:
        scores = {name: quality(keep | nodes) for name, nodes in groups.items()}
        enough = [name for name, score in scores.items() if score >= target + MARGIN]
        # the smallest group that suffices, else the one that helps most
        name = min(enough, key=lambda key: len(groups[key])) if enough else max(scores, key=lambda key: scores[key])
        if scores[name] <= best + 0.1:
            break
        log.info("FP16: %.1f dB; with %s in FP32 %.1f dB", best, name, scores[name])
        keep, best = keep | groups.pop(name), scores[name]
        chosen.append(name)
    return HalfGraph(to_half(graph, keep=keep, io=io), best, len(large), tuple(chosen))


def _groups(graph: bytes) -> dict[str, frozenset[str]]:
    """Names of nodes by place, in parts of the graph, and by type, of those that compute without weights."""
    nodes = require("onnx", "converting to FP16").load_from_string(graph).graph.node
    kinds = sorted({node.op_type for node in nodes} - REDUCTIONS - _NOT_ALONE)
    groups = {f"of type {kind}": frozenset(node.name for node in nodes if node.op_type == kind) for kind in kinds}
    names = [node.name for node in nodes]
    for part in range(PARTS):
        start, end = (round(edge * len(names) / PARTS) for edge in (part, part + 1))
        groups[f"in part {part + 1} of {PARTS}"] = frozenset(names[start:end])
    return {text: members for text, members in groups.items() if members}


PARTS = 6
"""Equal parts of a graph, in the order of its nodes."""
_NOT_ALONE = frozenset(
    (
        *("Conv", "MatMul", "Gemm"),  # all the weights: then it would not be an FP16 graph
        *("Cast", "Concat", "Constant", "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "Pad", "Reshape"),
        *("Resize", "Shape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"),  # these move values
    )
)


def _large_nodes(graph: bytes, inputs: Sequence[Tensor]) -> frozenset[str]:
    """Nodes that read or write values that FP16 holds hardly or not at all."""
    onnx = require("onnx", "converting to FP16")
    model = onnx.load_from_string(graph)
    inferred = onnx.shape_inference.infer_shapes(model).graph
    number = onnx.TensorProto.FLOAT
    real = [v.name for v in (*inferred.value_info, *inferred.output) if v.type.tensor_type.elem_type == number]
    largest = _largest_values(model, real, inputs)
    wide = {name for name, value in largest.items() if not value <= LARGEST / HEADROOM}
    return frozenset(node.name for node in model.graph.node if wide.intersection([*node.input, *node.output]))


def _largest_values(model: Any, names: Sequence[str], inputs: Sequence[Tensor]) -> dict[str, float]:
    """The largest magnitude of every tensor of that name; the graph itself reduces them, so that none is kept."""
    onnx, ort = require("onnx", "converting to FP16"), require("onnxruntime", "converting to FP16")
    measured = onnx.ModelProto()
    measured.CopyFrom(model)
    del measured.graph.output[:]
    for name in names:
        size, top = f"{name}_magnitude", f"{name}_largest"
        measured.graph.node.append(onnx.helper.make_node("Abs", [name], [size]))
        measured.graph.node.append(onnx.helper.make_node("ReduceMax", [size], [top], keepdims=0))
        measured.graph.output.append(onnx.helper.make_tensor_value_info(top, onnx.TensorProto.FLOAT, []))
    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, torch.get_num_threads()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(measured.SerializeToString(), options, providers=["CPUExecutionProvider"])
    largest = dict.fromkeys(names, 0.0)
    for x in inputs:
        arrays = {"input": x.numpy(), **_features(session, x)}
        for name, value in zip(names, session.run(None, arrays), strict=True):
            largest[name] = max(largest[name], float(value))
    return largest


def _features(session: Any, x: Tensor) -> dict[str, Any]:
    extra = session.get_inputs()[1:]
    return {item.name: np.zeros((x.shape[0], item.shape[1], *x.shape[2:]), np.float32) for item in extra}


def _psnr(expected: Tensor, found: Tensor) -> float:
    if not bool(torch.isfinite(found).all()):
        return float("-inf")
    peak = max(1.0, float(expected.abs().max()))
    error = float((expected.double() - found.double()).square().mean()) / peak**2
    return 150.0 if error <= 1e-15 else -10 * float(np.log10(error))
