"""What an ONNX file of others may contain, looked at before a runtime sees it.

Runtimes follow external data through hard links, allocate what a shape claims, and expand functions; the checks here
need the file's own bytes alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from paragon_arch.errors import UnsafeCheckpointError, UnsupportedFormatError

from .foresight import refuse_memory
from .messages import corrupt, messages

MAX_ELEMENTS = 2**29
"""Elements of a tensor whose shape the file fixes: 2 GiB in FP32, the most that an ONNX file can hold itself."""
MAX_SCALE = 16
"""Largest scale of an upscaler."""
MAX_NODES = 100_000
"""Nodes of a graph after its functions are expanded."""
DOMAINS = ("", "ai.onnx", "com.microsoft", "com.microsoft.nchwc")
"""Operators that runtimes have without a library of somebody else. The last two come from ONNX Runtime's own tools."""
_OUTSIDE = ("EPContext",)
"""Operators whose data is a file of its own, or code for one device."""


def refuse_untrusted(onnx: Any, model: Any, size: int) -> None:
    """Check a parsed model.

    Args:
        onnx: the package.
        model: a ``ModelProto``; the sizes of its inputs are filled in.
        size: bytes of the file.

    Raises:
        UnsafeCheckpointError: it refers to other files, in whatever position.
        UnsupportedFormatError: it needs operators that no runtime has by itself.
        CorruptCheckpointError: it claims more than it holds, or tensors of gigabytes; its functions call themselves.
    """
    for message in messages(model):
        _refuse_message(onnx, message)
    _refuse_expansion(model)
    _refuse_operators(model)
    refuse_memory(onnx, model, size)


def _refuse_message(onnx: Any, message: Any) -> None:
    kind = message.DESCRIPTOR.name
    if kind == "TensorProto":
        _refuse_tensor(onnx, message)
    elif kind == "SparseTensorProto":
        _refuse_size(message.dims, "a sparse tensor")
    elif kind == "TensorShapeProto":
        _refuse_size([dim.dim_value for dim in message.dim if dim.dim_value], "a tensor")


def _refuse_tensor(onnx: Any, tensor: Any) -> None:
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        raise UnsafeCheckpointError("keeps its weights in other files, which are not opened: save it as one file")
    numbers = (
        tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data, tensor.uint64_data,
        tensor.string_data, tensor.raw_data,
    )  # fmt: skip
    held = sum(map(len, numbers))
    if any(side < 0 for side in tensor.dims) or math.prod(tensor.dims) > 8 * held:  # eight one-bit elements in a byte
        raise corrupt(f"its tensor {tensor.name[:80]!r} claims {_shape(tensor.dims)} elements but holds {held} numbers")


def _refuse_size(sides: Sequence[int], what: str) -> None:
    if any(side < 0 for side in sides) or math.prod(sides) > MAX_ELEMENTS:
        raise corrupt(f"it declares {what} of {_shape(sides)} elements, which no upscaler needs")


def _refuse_operators(model: Any) -> None:
    local = {(item.domain, item.name) for item in model.functions}
    for node in (message for message in messages(model) if message.DESCRIPTOR.name == "NodeProto"):
        if node.op_type in _OUTSIDE:
            raise UnsafeCheckpointError(f"keeps work in other files ({node.op_type}): use the model it was made from")
        if node.domain not in DOMAINS and (node.domain, node.op_type) not in local:
            raise UnsupportedFormatError(
                f"needs the operator {node.op_type[:80]!r} of {node.domain[:80]!r}, which is not part of ONNX: "
                "export it with standard operators"
            )


def _refuse_expansion(model: Any) -> None:
    """Refuse functions that call themselves, or each other so often that expanding them never ends."""
    called = {(item.domain, item.name): _calls(item) for item in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size(name: tuple[str, str], above: tuple[tuple[str, str], ...]) -> int:
        if name in above or len(above) > 100:
            raise corrupt(f"its function {name[1][:80]!r} calls itself")
        if name not in sizes:
            sizes[name] = _expanded(called[name], lambda inner: size(inner, (*above, name)), called)
        return sizes[name]

    if _expanded(_calls(model.graph), lambda name: size(name, ()), called) > MAX_NODES:
        raise corrupt("its functions expand to more nodes than any upscaler has")


def _calls(item: Any) -> list[tuple[str, str]]:
    return [(node.domain, node.op_type) for node in messages(item) if node.DESCRIPTOR.name == "NodeProto"]


def _expanded(
    names: Sequence[tuple[str, str]],
    size: Callable[[tuple[str, str]], int],
    functions: Mapping[tuple[str, str], object],
) -> int:
    return sum(size(name) if name in functions else 1 for name in names)


def _shape(sides: Sequence[int]) -> str:
    return " x ".join(map(str, list(sides)[:8])) or "1"
