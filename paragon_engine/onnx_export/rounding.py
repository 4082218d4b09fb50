"""What FP16 hardware makes of an FP16 graph, computed on a CPU.

ONNX Runtime has hardly any FP16 kernels for CPUs: it computes in FP32 and drops the conversions between two
operations, so that its result is far more precise than a GPU's. Here every FP16 tensor is rounded explicitly, by
arithmetic that an optimiser cannot mistake for nothing. Sums inside an operation stay FP32, as on tensor cores.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..packages import require

SPLIT = 2.0**13 + 1
"""Factor of the splitting of Veltkamp (Dekker 1971) that leaves 11 of FP32's 24 bits: FP16's."""
EDGE = 2.0**112
"""Multiplying by it makes everything from 65536 on infinite in FP32, as it is in FP16."""


def with_rounding(graph: bytes) -> bytes:
    """An FP32 graph that computes what an FP16 graph would on hardware; FP32 parts stay as they are.

    Numbers below FP16's smallest normal one (6e-5) keep more digits than they would have.
    """
    onnx = require("onnx", "simulating FP16")
    model = onnx.load_from_string(graph)
    half = _half_tensors(onnx, model)
    for value in (*model.graph.input, *model.graph.output):
        if value.name in half:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    _widen_weights(onnx, model)
    nodes = [new for node in model.graph.node for new in _rounded(onnx, node, half)]
    del model.graph.node[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    for name, number in (("split", SPLIT), ("edge", EDGE), ("unedge", 1 / EDGE)):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(number), f"rounding_{name}"))
    return model.SerializeToString(deterministic=True)


def _half_tensors(onnx: Any, model: Any) -> set[str]:
    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = (*inferred.input, *inferred.output, *inferred.value_info)
    number = onnx.TensorProto.FLOAT16
    return {value.name for value in values if value.type.tensor_type.elem_type == number}


def _widen_weights(onnx: Any, model: Any) -> None:
    """FP16 constants as FP32, with the values that they have."""
    tensors = [*model.graph.initializer]
    tensors += [a.t for node in model.graph.node for a in node.attribute if a.type == onnx.AttributeProto.TENSOR]
    for tensor in tensors:
        if tensor.data_type == onnx.TensorProto.FLOAT16:
            array = onnx.numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))


def _rounded(onnx: Any, node: Any, half: set[str]) -> list[Any]:
    """A node, followed by the rounding of what it puts out in FP16."""
    if node.op_type == "Cast":
        for attribute in node.attribute:
            if attribute.name == "to" and attribute.i == onnx.TensorProto.FLOAT16:
                attribute.i = onnx.TensorProto.FLOAT
    nodes = [node]
    for index, name in enumerate(node.output):
        if name in half:
            node.output[index] = f"{name}_exact"
            nodes += _rounding(onnx, name)
    return nodes


def _rounding(onnx: Any, name: str) -> list[Any]:
    steps = (
        ("Mul", [f"{name}_exact", "rounding_split"], f"{name}_split"),
        ("Sub", [f"{name}_split", f"{name}_exact"], f"{name}_low"),
        ("Sub", [f"{name}_split", f"{name}_low"], f"{name}_high"),
        ("Mul", [f"{name}_high", "rounding_edge"], f"{name}_edge"),
        ("Mul", [f"{name}_edge", "rounding_unedge"], name),
    )
    return [onnx.helper.make_node(kind, inputs, [output], name=f"{output}_{kind}") for kind, inputs, output in steps]
