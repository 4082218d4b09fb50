"""The memory that an ONNX file of others will take, from its shapes, before a runtime sees it.

Runtimes fold constants when they open a file, and run the rest at the size of the picture. Both are bounded here, at
the size at which a new session is tried.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from .messages import corrupt, messages

PROBE = 64
"""Side of the image that a new session has to survive."""
CONSTANTS, FOLD = 64 * 2**20, 32
"""Bytes of constants that a runtime may compute from a file, and how many more for each byte of the file."""
ALIVE = 320 * 2**20
"""Bytes of tensors that a graph may need at one time for a picture of `PROBE` pixels, besides the constants."""
_ITEM = 8
"""Bytes of an element of a type that is not known."""
_RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli")


def refuse_memory(onnx: Any, model: Any, size: int) -> None:
    """Refuse what would take gigabytes to open, or to run on a small picture.

    Args:
        onnx: the package.
        model: a ``ModelProto``; open sizes of its inputs are filled in.
        size: bytes of the file.

    Raises:
        CorruptCheckpointError: so; or shapes contradict each other.
    """
    _fill_in(model)
    inliner = import_module("onnx.inliner")  # no attribute of the package until it is imported
    try:
        if model.functions:
            model = inliner.inline_local_functions(model)
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception as error:  # an operator with wrong inputs; the package's errors share no base class
        raise corrupt(f"its shapes contradict each other ({str(error)[:100]})") from error
    constants, alive = _memory(onnx, inferred.graph)
    constants += sum(_ITEM * math.prod(item.dims) for item in messages(model) if _is_sparse(item))
    for what, found, limit in (("constants", constants, CONSTANTS + FOLD * size), ("tensors", alive, ALIVE)):
        if found > limit:
            raise corrupt(f"its {what} would take {found / 2**20:,.0f} MiB for a picture of {PROBE} x {PROBE} pixels")


def _fill_in(model: Any) -> None:
    for value in model.graph.input:
        for dim, side in zip(value.type.tensor_type.shape.dim, (1, 3, PROBE, PROBE), strict=False):
            if not dim.dim_value:
                dim.dim_value = side


def _is_sparse(message: Any) -> bool:
    return message.DESCRIPTOR.name == "SparseTensorProto"


def _memory(onnx: Any, graph: Any) -> tuple[int, int]:
    """Bytes of all constants that are computed, and the most that is alive of everything else."""
    sizes = _sizes(onnx, graph)
    constant = {item.name for item in graph.initializer} - {item.name for item in graph.input}
    constant |= {item.values.name for item in graph.sparse_initializer}
    last = {name: index for index, node in enumerate(graph.node) for name in _used(node)}
    last |= {item.name: len(graph.node) for item in graph.output}
    held: dict[str, int] = {}
    folded, alive, most = 0, 0, 0
    for index, node in enumerate(graph.node):
        made = {name: sizes.get(name, 0) for name in node.output}
        inside = [_memory(onnx, inner) for inner in _inner(node)]
        folded += sum(constants for constants, _ in inside)
        if not inside and node.op_type not in _RANDOM and all(name in constant for name in node.input if name):
            constant |= made.keys()
            folded += sum(made.values())
            continue
        held |= made
        alive += sum(made.values())
        most = max(most, alive + max((needed for _, needed in inside), default=0))
        for name in {*node.input, *made}:
            if last.get(name, index) <= index:
                alive -= held.pop(name, 0)
    return folded, most


def _used(node: Any) -> Iterator[str]:
    """Names that a node reads, those inside of its branches and bodies included."""
    yield from node.input
    for inner in _inner(node):
        for item in inner.node:
            yield from _used(item)


def _inner(node: Any) -> list[Any]:
    found: list[Any] = []
    for attribute in node.attribute:
        found += [attribute.g] if attribute.HasField("g") else []
        found += attribute.graphs
    return found


def _sizes(onnx: Any, graph: Any) -> Mapping[str, int]:
    """Bytes of the tensors whose shapes are known."""
    return {
        value.name: math.prod(dim.dim_value for dim in value.type.tensor_type.shape.dim) * _item(onnx, value)
        for value in (*graph.value_info, *graph.output)
        if value.type.tensor_type.HasField("shape")
    }


def _item(onnx: Any, value: Any) -> int:
    try:
        return int(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).itemsize)
    except (KeyError, ValueError, TypeError, AttributeError):
        return _ITEM
