"""Slimming a graph with onnxslim: constants folded, shape arithmetic shortened, dead nodes removed."""

from __future__ import annotations

from typing import Any

from paragon_arch.errors import OutputError

from ..packages import require


def slim(graph: bytes) -> bytes:
    """A smaller graph that computes the same, with the same inputs and outputs.

    Types and shapes of inner tensors are left out: runtimes infer them, and those that slimming leaves are guesses.

    Raises:
        OutputError: slimming changed an input or output, e.g. fixed an open size.
        InvalidOptionError: the package onnxslim is missing.
    """
    onnx, onnxslim = require("onnx", "slimming a graph"), require("onnxslim", "slimming a graph")
    model = onnx.load_from_string(graph)
    slimmed = onnxslim.slim(onnx.load_from_string(graph))
    if _interface(model) != _interface(slimmed):
        raise OutputError("onnxslim changed the graph's inputs or outputs: export without slimming (--no-slim)")
    del slimmed.graph.value_info[:]
    for index, node in enumerate(slimmed.graph.node):
        node.name = node.name or f"{node.op_type}_{index}"
    slimmed.producer_name, slimmed.producer_version = model.producer_name, model.producer_version
    slimmed.doc_string = model.doc_string
    del slimmed.metadata_props[:]
    slimmed.metadata_props.extend(model.metadata_props)
    return slimmed.SerializeToString(deterministic=True)


def _interface(model: Any) -> list[Any]:
    def sides(value: Any) -> list[Any]:
        return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]

    opset = [item.version for item in model.opset_import if item.domain in ("", "ai.onnx")]
    # the names that tracing gives to open sizes of outputs may change, their being open may not
    inputs = [(value.name, value.type.tensor_type.elem_type, sides(value)) for value in model.graph.input]
    outputs = [(value.name, value.type.tensor_type.elem_type) for value in model.graph.output]
    return [opset, inputs, outputs]
