"""Reading ONNX files of others: bytes in memory, never a path that a runtime would follow to further files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from paragon_arch.errors import CheckpointNotFoundError, CorruptCheckpointError, UnsafeCheckpointError

from ..packages import require

MAX_BYTES = 2**31 - 1
"""Protocol buffers cannot be larger."""


def read_graph(path: Path | str) -> bytes:
    """A serialised model from a file.

    Raises:
        CheckpointNotFoundError: no such file.
        CorruptCheckpointError: not an ONNX model, or without input or output.
        UnsafeCheckpointError: it refers to other files for its weights.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointNotFoundError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}")
    if path.stat().st_size > MAX_BYTES:
        raise CorruptCheckpointError(f"{path}: larger than any ONNX file can be (2 GB)")
    data = path.read_bytes()
    onnx = require("onnx", "reading an ONNX file")
    try:
        model = onnx.load_from_string(data)
    except Exception as error:  # the protobuf library's errors share no base class
        raise CorruptCheckpointError(f"{path}: not an ONNX model, or damaged: {str(error)[:100]}") from error
    if not model.graph.input or not model.graph.output:
        raise CorruptCheckpointError(f"{path}: an ONNX model without input or output, or another kind of file")
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(onnx, model)):
        raise UnsafeCheckpointError(
            f"{path}: keeps its weights in other files, which are not opened: save it as one file"
        )
    return data


def properties(graph: bytes) -> dict[str, str]:
    """The ``metadata_props`` of a serialised model."""
    model = require("onnx", "reading an ONNX file").load_from_string(graph)
    return {item.key: item.value for item in model.metadata_props}


def _tensors(onnx: Any, model: Any) -> Iterator[Any]:
    """Every tensor of a model: weights, constants, sparse ones, those of inner graphs and functions."""
    yield from _graph_tensors(onnx, model.graph)
    for function in model.functions:
        for node in function.node:
            yield from _node_tensors(onnx, node)


def _graph_tensors(onnx: Any, graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from _node_tensors(onnx, node)


def _node_tensors(onnx: Any, node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        yield from (attribute.t, *attribute.tensors)
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for graph in (attribute.g, *attribute.graphs):
            if graph.node or graph.initializer:
                yield from _graph_tensors(onnx, graph)
