"""FP16 as the types of a graph: weights and arithmetic in half precision, chosen operations in FP32.

A converter of our own, because a strongly typed runtime (TensorRT 11 knows no other kind) takes the graph at its
word: every operation must get inputs of one type, and what is to be more precise must say so with a Cast.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from paragon_arch.errors import OutputError

from ..packages import require

Type = Literal["fp16", "fp32"]

LARGEST = 65504.0
"""Largest finite FP16 number."""
REDUCTIONS = frozenset(
    (
        "GroupNormalization",
        "InstanceNormalization",
        "ReduceL2",
        "ReduceMean",
        "ReduceSum",
        "ReduceSumSquare",
        "GlobalAveragePool",
        "Pow",
        "Reciprocal",
        "Sqrt",
    )
)
"""Operations that stay in FP32 without being asked: sums over an image, and the norms that are made of them."""
_STATISTICS = frozenset(("Add", "Div", "Mul", "Sub"))
"""Operations that stay in FP32 where all that they read is constant or came out of `REDUCTIONS`: a few numbers for an
image or pixel, whose rounding would be a factor of the whole map."""
_SUMS = REDUCTIONS - {"GroupNormalization", "InstanceNormalization", "Pow"}
"""`REDUCTIONS` without those whose results are as large as what they read."""
_FP32_INPUTS = {"Resize": (1, 2)}
"""Inputs whose type ONNX fixes to FP32, by operator."""
_UNSUPPORTED = frozenset(("If", "Loop", "Scan", "QuantizeLinear", "DequantizeLinear"))


def to_half(graph: bytes, *, keep: Collection[str] = (), io: Type = "fp32") -> bytes:
    """Convert an FP32 graph to FP16.

    Args:
        graph: serialised; its floating-point tensors are FP32.
        keep: names of nodes that stay in FP32, besides `REDUCTIONS`.
        io: type of the graph's inputs and outputs.

    Raises:
        OutputError: the graph has control flow or is quantised already.
        InvalidOptionError: the package onnx is missing.
    """
    onnx = require("onnx", "converting a graph to FP16")
    model = onnx.load_from_string(graph)
    if any(node.op_type in _UNSUPPORTED for node in model.graph.node):
        raise OutputError("a graph with control flow or quantisation cannot be converted to FP16")
    _Conversion(onnx, model, frozenset(keep)).run(io)
    return model.SerializeToString(deterministic=True)


@dataclass
class _Conversion:
    """One conversion; `run` changes the model in place."""

    onnx: Any
    model: Any
    keep: frozenset[str]
    statistics: set[str] = field(default_factory=set[str])
    """Tensors that came out of `REDUCTIONS`, or were computed from nothing else."""
    types: dict[str, Type] = field(default_factory=dict[str, Type])
    """Type of each floating-point tensor that has been met so far."""
    weights: dict[str, Any] = field(default_factory=dict[str, Any])
    """The FP32 initialisers."""
    nodes: list[Any] = field(default_factory=list[Any])
    added: dict[tuple[str, Type], str] = field(default_factory=dict[tuple[str, Type], str])
    """Tensors and types that there is a converted twin of, and its name."""

    def run(self, io: Type) -> None:
        self._lift_constants()
        graph = self.model.graph
        floating = self._floating()
        self.weights = {item.name: item for item in graph.initializer if item.data_type == self.onnx.TensorProto.FLOAT}
        others = [item for item in graph.initializer if item.name not in self.weights]
        del graph.initializer[:]
        graph.initializer.extend(others)
        self.types = {value.name: io for value in graph.input if value.name in floating}
        final = {value.name for value in graph.output if value.name in floating}
        for node in list(graph.node):
            self._convert(node, floating, final, io)
        self._finish(floating, io)

    def _lift_constants(self) -> None:
        """FP32 Constant nodes as initialisers, of which either type can be had without a Cast.

        Shape inference does not look through a Cast: a Resize whose factors come out of one has no size.
        """
        rest: list[Any] = []
        for node in self.model.graph.node:
            value = next((item.t for item in node.attribute if item.name == "value"), None)
            if node.op_type == "Constant" and value is not None and value.data_type == self.onnx.TensorProto.FLOAT:
                value.name = node.output[0]
                self.model.graph.initializer.append(value)
            else:
                rest.append(node)
        del self.model.graph.node[:]
        self.model.graph.node.extend(rest)

    def _floating(self) -> set[str]:
        """Names of all FP32 tensors."""
        inferred = self.onnx.shape_inference.infer_shapes(self.model).graph
        number = self.onnx.TensorProto.FLOAT
        values = (*inferred.input, *inferred.value_info, *inferred.output)
        named = {value.name for value in values if value.type.tensor_type.elem_type == number}
        return named | {item.name for item in inferred.initializer if item.data_type == number}

    def _convert(self, node: Any, floating: set[str], final: set[str], io: Type) -> None:
        if self._is_statistic(node, floating):
            self.statistics.update(node.output)
        wanted = self._type_of(node, floating)
        fixed = _FP32_INPUTS.get(node.op_type, ())
        if node.op_type != "Cast":  # which takes any type
            for index, name in enumerate(node.input):
                if name in floating:
                    node.input[index] = self._as(name, "fp32" if index in fixed else wanted)
        elif node.input[0] in self.weights:
            node.input[0] = self._as(node.input[0], "fp32")
        self._set_result(node, wanted, floating)
        self.nodes.append(node)
        for index, name in enumerate(node.output):
            if name in final and wanted != io:
                node.output[index] = f"{name}_{wanted}"
                self.nodes.append(self._cast(node.output[index], name, io))
                self.types[name], self.added[name, wanted] = io, node.output[index]
            elif name in floating:
                self.types[name] = wanted

    def _type_of(self, node: Any, floating: set[str]) -> Type:
        if node.name in self.keep or node.op_type in REDUCTIONS or node.output[0] in self.statistics:
            return "fp32"
        if node.op_type == "Mul" and node.input[0] == node.input[1]:
            return "fp32"  # a square, which overflows at 256
        if node.op_type == "Cast" and node.input[0] not in floating:
            return "fp32"  # a number of pixels is soon larger than FP16 can hold
        for name in node.input:
            weight = self.weights.get(name) if name in floating else None
            if weight is not None and _largest(self.onnx.numpy_helper.to_array(weight)) > LARGEST:
                return "fp32"
        return "fp16"

    def _is_statistic(self, node: Any, floating: set[str]) -> bool:
        if node.op_type in _SUMS:
            return True
        if node.op_type not in _STATISTICS:
            return False
        computed = [name for name in node.input if name in floating and name not in self.weights]
        return bool(computed) and all(name in self.statistics for name in computed)

    def _set_result(self, node: Any, wanted: Type, floating: set[str]) -> None:
        """Operators that name the type of their result."""
        if not any(name in floating for name in node.output):
            return
        number = self._number(wanted)
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to":
                attribute.i = number
            elif node.op_type in ("Constant", "ConstantOfShape") and attribute.name == "value":
                array = self.onnx.numpy_helper.to_array(attribute.t).astype(_numpy(wanted))
                attribute.t.CopyFrom(self.onnx.numpy_helper.from_array(array, attribute.t.name))

    def _as(self, name: str, wanted: Type) -> str:
        """Name of a tensor in a type; the conversion is added where there is none yet."""
        if name not in self.weights and self.types.get(name, wanted) == wanted:
            return name
        if (name, wanted) in self.added:
            return self.added[name, wanted]
        if name in self.weights:
            twin = name if wanted == "fp32" else f"{name}_fp16"
            array = self.onnx.numpy_helper.to_array(self.weights[name]).astype(_numpy(wanted))
            self.model.graph.initializer.append(self.onnx.numpy_helper.from_array(array, twin))
        else:
            twin = f"{name}_{wanted}"
            self.nodes.append(self._cast(name, twin, wanted))
        self.added[name, wanted] = twin
        return twin

    def _cast(self, source: str, target: str, wanted: Type) -> Any:
        return self.onnx.helper.make_node("Cast", [source], [target], name=f"Cast_{target}", to=self._number(wanted))

    def _number(self, kind: Type) -> int:
        return self.onnx.TensorProto.FLOAT16 if kind == "fp16" else self.onnx.TensorProto.FLOAT

    def _finish(self, floating: set[str], io: Type) -> None:
        graph = self.model.graph
        del graph.node[:]
        graph.node.extend(self.nodes)
        del graph.value_info[:]
        for value in (*graph.input, *graph.output):
            if value.name in floating:
                value.type.tensor_type.elem_type = self._number(io)


def _numpy(kind: Type) -> Any:
    return np.float16 if kind == "fp16" else np.float32


def _largest(array: Any) -> float:
    return float(np.abs(array).max()) if array.size else 0.0
