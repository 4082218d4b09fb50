"""ONNX files that would make a runtime read other files, allocate gigabytes or run code of somebody else.

Each begins as a sound 2x upscaler, so that nothing but the attack is a reason to refuse it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper

from paragon_arch.errors import CorruptCheckpointError, ParagonError, UnsafeCheckpointError, UnsupportedFormatError

SECRET = b"\x00\x00\x80\x3f" * 4
"""What another file holds: four times 1.0."""


@dataclass(frozen=True)
class Graph:
    """A file: its name, what makes it in a folder, the exact error, and a word of its message."""

    name: str
    make: Callable[[Path], ModelProto]
    error: type[ParagonError]
    word: str


def upscaler(*nodes: NodeProto, initializers: list[TensorProto] | None = None) -> ModelProto:
    """Nearest-neighbour 2x, with further nodes whose results go nowhere."""
    scales = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")
    resize = helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="nearest")
    picture = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, None, None]) for name in "xy"]
    graph = helper.make_graph([resize, *nodes], "g", picture[:1], picture[1:], [scales, *(initializers or [])])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def outside(location: str, name: str = "w") -> TensorProto:
    """A tensor of four floats that lies in another file."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


def indices() -> TensorProto:
    """Positions of the values of a sparse tensor."""
    return numpy_helper.from_array(np.arange(4), "i")


def inner(tensor: TensorProto) -> GraphProto:
    """A graph for an attribute."""
    output = [helper.make_tensor_value_info("w", TensorProto.FLOAT, [4])]
    return helper.make_graph([], "inner", [], output, [tensor])


def _dense(tensor: TensorProto) -> ModelProto:
    return upscaler(initializers=[tensor])


def _constant(tensor: TensorProto) -> ModelProto:
    return upscaler(helper.make_node("Constant", [], ["c"], value=tensor))


def _sparse_values(tensor: TensorProto) -> ModelProto:
    sparse = helper.make_sparse_tensor(tensor, indices(), [8])
    return upscaler(helper.make_node("Constant", [], ["c"], sparse_value=sparse))


def _sparse_indices(tensor: TensorProto) -> ModelProto:
    values = numpy_helper.from_array(np.ones(4, np.float32), "v")
    model = upscaler()
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, tensor, [8]))
    return model


def _branch(tensor: TensorProto) -> ModelProto:
    condition = numpy_helper.from_array(np.array(True), "yes")
    node = helper.make_node("If", ["yes"], ["b"], then_branch=inner(tensor), else_branch=inner(tensor))
    return upscaler(node, initializers=[condition])


def _sparse_branch(tensor: TensorProto) -> ModelProto:
    """An inner graph that has nothing but a sparse weight."""
    graph = inner(tensor)
    del graph.initializer[:]
    graph.sparse_initializer.append(helper.make_sparse_tensor(tensor, indices(), [8]))
    condition = numpy_helper.from_array(np.array(True), "yes")
    node = helper.make_node("If", ["yes"], ["b"], then_branch=graph, else_branch=graph)
    return upscaler(node, initializers=[condition])


def _tensors_attribute(tensor: TensorProto) -> ModelProto:
    return upscaler(helper.make_node("Identity", ["x"], ["i"], weights=[tensor]))


def function(name: str, nodes: list[NodeProto], **attributes: Any) -> FunctionProto:
    """A function of the domain ``mine``."""
    made = helper.make_function("mine", name, ["a"], ["b"], nodes, [helper.make_opsetid("", 18)])
    made.opset_import.append(helper.make_opsetid("mine", 1))
    for key, value in attributes.items():
        made.attribute_proto.append(helper.make_attribute(key, value))
    return made


def _with_functions(*functions: FunctionProto) -> ModelProto:
    model = upscaler(helper.make_node(functions[0].name, ["x"], ["f"], domain="mine"))
    model.opset_import.append(helper.make_opsetid("mine", 1))
    model.functions.extend(functions)
    return model


def _function(tensor: TensorProto) -> ModelProto:
    return _with_functions(function("f", [helper.make_node("Constant", [], ["b"], value=tensor)]))


def _function_default(tensor: TensorProto) -> ModelProto:
    return _with_functions(function("f", [helper.make_node("Identity", ["a"], ["b"])], weight=tensor))


def _training(tensor: TensorProto) -> ModelProto:
    model = upscaler()
    model.training_info.add().initialization.CopyFrom(inner(tensor))
    return model


POSITIONS: dict[str, Callable[[TensorProto], ModelProto]] = {
    "dense": _dense,
    "constant": _constant,
    "sparse_values": _sparse_values,
    "sparse_indices": _sparse_indices,
    "subgraph": _branch,
    "sparse_subgraph": _sparse_branch,
    "tensors_attribute": _tensors_attribute,
    "function": _function,
    "function_default": _function_default,
    "training": _training,
}
"""Every place in a model that can hold a tensor."""


def _by_parent(folder: Path) -> str:
    return f"../{folder.name}_secret/weights.bin"


def _by_symlink(folder: Path) -> str:
    (folder / "link.bin").symlink_to(secret(folder))
    return "link.bin"


def _by_hard_link(folder: Path) -> str:
    os.link(secret(folder), folder / "hard.bin")
    return "hard.bin"


WAYS: dict[str, Callable[[Path], str]] = {
    "parent": _by_parent,
    "absolute": lambda folder: str(secret(folder)),
    "symlink": _by_symlink,
    "hard_link": _by_hard_link,
    "beside": lambda folder: "weights.bin",
    "nul": lambda folder: "weights.bin\0.txt",
    "memory": lambda folder: "*/_ORT_MEM_ADDR_/*",
}
"""Where the other file is, as the model says it; the last is ONNX Runtime's own word for an address in memory."""


def secret(folder: Path) -> Path:
    """A file outside of a folder that a model must not reach."""
    path = folder.with_name(f"{folder.name}_secret") / "weights.bin"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(SECRET)
    return path


def _unmarked(_: Path) -> ModelProto:
    """External data without the mark that says so."""
    tensor = outside("../weights.bin")
    tensor.data_location = TensorProto.DEFAULT
    return _dense(tensor)


def _claims(*sides: int) -> Callable[[Path], ModelProto]:
    def make(_: Path) -> ModelProto:
        return _dense(TensorProto(name="w", data_type=TensorProto.FLOAT, dims=sides, raw_data=bytes(16)))

    return make


def _huge_input(_: Path) -> ModelProto:
    model = upscaler()
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 2**31
    return model


def _huge_sparse(_: Path) -> ModelProto:
    values = numpy_helper.from_array(np.ones(4, np.float32), "v")
    sparse = helper.make_sparse_tensor(values, indices(), [2**40])
    return upscaler(helper.make_node("Constant", [], ["c"], sparse_value=sparse))


def _made_of_shape(kind: str, *inputs: str) -> Callable[[Path], ModelProto]:
    """A small constant that a node turns into a giant one."""

    def make(_: Path) -> ModelProto:
        shape = numpy_helper.from_array(np.array([2**20, 2**20], np.int64), "shape")
        one = numpy_helper.from_array(np.ones((1, 1), np.float32), "one")
        return upscaler(helper.make_node(kind, inputs, ["giant"]), initializers=[shape, one])

    return make


def _custom(domain: str, kind: str = "Run") -> Callable[[Path], ModelProto]:
    def make(_: Path) -> ModelProto:
        model = upscaler(helper.make_node(kind, ["x"], ["c"], domain=domain))
        if domain:
            model.opset_import.append(helper.make_opsetid(domain, 1))
        return model

    return make


def _recursive(_: Path) -> ModelProto:
    return _with_functions(function("f", [helper.make_node("f", ["a"], ["b"], domain="mine")]))


def _laughing(_: Path) -> ModelProto:
    """Forty functions, each calling the next one twice."""
    made = [function("f40", [helper.make_node("Identity", ["a"], ["b"])])]
    for index in range(39, -1, -1):
        name = f"f{index + 1}"
        calls = [helper.make_node(name, [a], [b], domain="mine") for a, b in (("a", "c"), ("c", "b"))]
        made.insert(0, function(f"f{index}", calls))
    return _with_functions(*made)


_UNSAFE, _CORRUPT, _FOREIGN = UnsafeCheckpointError, CorruptCheckpointError, UnsupportedFormatError


def _external(position: str, way: str) -> Graph:
    def make(folder: Path) -> ModelProto:
        secret(folder)
        return POSITIONS[position](outside(WAYS[way](folder)))

    return Graph(f"{position}_{way}", make, _UNSAFE, "other files")


GRAPHS: tuple[Graph, ...] = (
    *(_external(position, way) for position in POSITIONS for way in WAYS),
    Graph("unmarked", _unmarked, _UNSAFE, "other files"),
    Graph("claims_gigabytes", _claims(2**31), _CORRUPT, "claims"),
    Graph("claims_terabytes", _claims(2**20, 2**20), _CORRUPT, "claims"),
    Graph("claims_overflow", _claims(2**62, 4), _CORRUPT, "claims"),
    Graph("claims_negative", _claims(-1, -4), _CORRUPT, "claims"),
    Graph("huge_input", _huge_input, _CORRUPT, "declares"),
    Graph("huge_sparse", _huge_sparse, _CORRUPT, "sparse"),
    Graph("huge_constant_of_shape", _made_of_shape("ConstantOfShape", "shape"), _CORRUPT, "would take"),
    Graph("huge_expand", _made_of_shape("Expand", "one", "shape"), _CORRUPT, "would take"),
    Graph("huge_tile", _made_of_shape("Tile", "one", "shape"), _CORRUPT, "would take"),
    Graph("custom_domain", _custom("com.evil"), _FOREIGN, "com.evil"),
    Graph("custom_python", _custom("pyopmulti_0", "PyOp"), _FOREIGN, "pyopmulti"),
    Graph("custom_contrib", _custom("ai.onnx.contrib"), _FOREIGN, "ai.onnx.contrib"),
    Graph("engine_context", _custom("com.microsoft", "EPContext"), _UNSAFE, "EPContext"),
    Graph("recursive_function", _recursive, _CORRUPT, "calls itself"),
    Graph("billion_laughs", _laughing, _CORRUPT, "expand"),
)


def write(graph: Graph, folder: Path) -> Path:
    """The file, in a folder of its own."""
    folder.mkdir(exist_ok=True)
    path = folder / f"2x_{graph.name}.onnx"
    path.write_bytes(graph.make(folder).SerializeToString())
    return path


def write_sound(folder: Path) -> Path:
    """The upscaler without an attack."""
    model = upscaler(helper.make_node("f", ["x"], ["f"], domain="mine"))
    model.opset_import.append(helper.make_opsetid("mine", 1))
    model.functions.append(function("f", [helper.make_node("Identity", ["a"], ["b"])]))
    checker.check_model(model)
    path = folder / "2x_sound.onnx"
    path.write_bytes(model.SerializeToString())
    return path
