"""The layers of a graph that can be quantised, and the graph with some of them quantised, by ONNX Runtime's tools."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
from collections import Counter
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from paragon_arch.errors import InvalidOptionError

from ..packages import require
from .options import QuantizationOptions

OPERATORS = ("Conv", "Gemm", "MatMul")
"""Types of nodes that are quantised, where their weights are constants."""
MIN_WORK = 0.004
"""Layers below this share of the graph's multiply-adds stay as they are: rounding costs more than it saves."""
WORK_AT = 1024
"""Side of the input that work is counted at: large, so that layers which only see the frame of the image vanish."""
WIDE_OPSET = 21

Bounds = Mapping[str, Mapping[str, float]]
"""By tensor: ``lowest`` and ``highest``, or ``avg`` and ``std`` for FP8."""


@dataclass(frozen=True)
class Layer:
    """A node with constant weights."""

    name: str
    """Of the module it was, as far as the exporter tells: "deep.0.1.conv"."""
    node: str
    source: str
    """Tensor that it reads."""
    weight: str
    work: float
    """Share of the graph's multiply-adds."""


def load(graph: bytes) -> Any:
    """A serialised graph with the types of all its tensors, which the tools need."""
    onnx = require("onnx", "quantising")
    return onnx.shape_inference.infer_shapes(onnx.load_from_string(graph))


def find_layers(model: Any) -> list[Layer]:
    """The layers worth quantising.

    Weights that several nodes share belong to layers that only compute the frame of the image; they are left out.
    """
    weights = {item.name: prod(item.dims) for item in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type in OPERATORS and node.input[1] in weights]
    places = _places(model)
    work = {node.name: weights[node.input[1]] * places.get(node.output[0], 0) for node in nodes}
    total, uses = sum(work.values()) or 1, Counter(node.input[1] for node in nodes)
    return [
        Layer(_label(node), node.name, node.input[0], node.input[1], work[node.name] / total)
        for node in nodes
        if uses[node.input[1]] == 1 and work[node.name] / total >= MIN_WORK
    ]


def _label(node: Any) -> str:
    weight: str = node.input[1]
    return weight.removeprefix("network.").removesuffix(".weight") if weight.endswith(".weight") else node.name


def _places(model: Any) -> dict[str, int]:
    """By tensor: how often a weight of the node that makes it is used on an image of `WORK_AT` pixels a side."""
    onnx = require("onnx", "quantising")
    sized = onnx.ModelProto()
    sized.CopyFrom(model)
    del sized.graph.value_info[:]
    for dim, value in zip(sized.graph.input[0].type.tensor_type.shape.dim, (1, None, WORK_AT, WORK_AT), strict=True):
        if value is not None:
            dim.dim_value = value
    graph = onnx.shape_inference.infer_shapes(sized, data_prop=True).graph
    kinds = {node.output[0]: node.op_type for node in graph.node}
    places: dict[str, int] = {}
    for info in (*graph.value_info, *graph.output):
        dims = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
        if all(dims) and info.name in kinds:
            places[info.name] = prod(dims[2:]) if kinds[info.name] == "Conv" else prod(dims[:-1])
    return places


def quantized(model: Any, layers: Mapping[Layer, str], bounds: Bounds, options: QuantizationOptions) -> bytes:
    """The graph with Q/DQ pairs around some layers.

    Args:
        model: from `load`; not changed.
        layers: "int8", "int16", "fp8" or "fp32" for each layer; unnamed ones stay in FP32.
        bounds: of every tensor that such a layer reads, and with ``options.outputs`` writes.
        options: kind, outputs, reduce_range.

    Returns:
        The serialised model, with the metadata of ``model``.
    """
    onnx = require("onnx", "quantising")
    chosen = {layer: precision for layer, precision in layers.items() if precision != "fp32"}
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if not chosen:
        return copy.SerializeToString()
    if {"int16", "fp8"} & set(chosen.values()):
        _raise_opset(copy)
    with quiet():
        made = _quantize(copy, chosen, bounds, options)
    made.producer_name, made.producer_version = model.producer_name, model.producer_version
    return made.SerializeToString(deterministic=True)


def _raise_opset(model: Any) -> None:
    """Declare the opset that has 16-bit and FP8 rounding; no operator of our graphs means something else in it."""
    for item in model.opset_import:
        if item.domain in ("", "ai.onnx"):
            item.version = max(item.version, WIDE_OPSET)


def _quantize(model: Any, chosen: Mapping[Layer, str], bounds: Bounds, options: QuantizationOptions) -> Any:
    tools = require("onnxruntime.quantization", "quantising")
    calibrate = require("onnxruntime.quantization.calibrate", "quantising")
    quantizer = require("onnxruntime.quantization.qdq_quantizer", "quantising")
    types = tools.QuantType
    fp8 = options.kind == "fp8"
    wide = {layer.source for layer, precision in chosen.items() if precision == "int16"}
    extra: dict[str, Any] = {"OpTypesToExcludeOutputQuantization": [] if options.outputs else list(OPERATORS)}
    if wide:
        extra["TensorQuantOverrides"] = {name: [{"quant_type": types.QUInt16}] for name in sorted(wide)}
    method = calibrate.CalibrationMethod.Distribution if fp8 else calibrate.CalibrationMethod.MinMax
    data = calibrate.TensorsData(method, {name: _tensor_data(calibrate, value) for name, value in bounds.items()})
    older = {"mode": tools.QuantizationMode.QLinearOps, "static": True}  # arguments of ONNX Runtime 1.17
    known = inspect.signature(quantizer.QDQQuantizer).parameters
    made = quantizer.QDQQuantizer(
        model,
        per_channel=not fp8,  # the tools know no such FP8
        reduce_range=options.reduce_range and not fp8,
        weight_qType=types.QFLOAT8E4M3FN if fp8 else types.QInt8,
        activation_qType=types.QFLOAT8E4M3FN if fp8 else types.QUInt8,
        tensors_range=data,
        nodes_to_quantize=[layer.node for layer in chosen],
        nodes_to_exclude=[],
        op_types_to_quantize=list(OPERATORS),
        extra_options=extra,
        **{name: value for name, value in older.items() if name in known},
    )
    made.quantize_model()
    _bypass(made.model.model, {layer.node for layer in chosen})
    made.model.topological_sort()
    return made.model.model


def _bypass(model: Any, chosen: set[str]) -> None:
    """Let all but the quantised layers read the original tensors: the tools give the rounded ones to every reader.

    Residual connections stay exact that way, and FP8 reaches no operator that cannot take it.
    """
    rounded = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    original = {
        node.output[0]: rounded[node.input[0]]
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in rounded
    }
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") or node.name in chosen:
            continue
        for index, name in enumerate(node.input):
            if name in original:
                node.input[index] = original[name]


def _tensor_data(calibrate: Any, values: Mapping[str, float]) -> Any:
    import numpy as np

    return calibrate.TensorData(**{name: np.array(value, dtype=np.float32) for name, value in values.items()})


@contextlib.contextmanager
def quiet() -> Generator[None, None, None]:
    """ONNX Runtime's tools print, and log advice that is not for our users."""
    was = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(was)


def check_kept(layers: list[Layer], keep: tuple[str, ...]) -> None:
    """Refuse parts of names that match no layer.

    Raises:
        InvalidOptionError: the message lists the layers.
    """
    for part in keep:
        if not any(part in layer.name for layer in layers):
            names = ", ".join(layer.name for layer in layers)
            raise InvalidOptionError(f"keep = {part!r} names no layer; the layers are {names}")
