"""The safetensors format: 8 bytes of header length, a JSON header, then the tensors without gaps.

Read and written here rather than through the library, because one parser that both validates and reads leaves no
room between two views of a file, its messages can name the tensor, and the library's metadata order is not
deterministic in all its versions. Tests hold both directions against the library.
"""

from __future__ import annotations

import json
import math
import struct
from collections import Counter
from collections.abc import Callable, Mapping
from typing import IO, Any, cast

import torch
from torch import Tensor

from ..errors import CorruptCheckpointError, UnsupportedFormatError
from .budget import MAX_AXES, MAX_TENSORS, checked_count, checked_shape, shown

MAX_HEADER = 8 * 2**20
"""Largest header that is read, in bytes."""
_MAX_CONTAINERS = 8 * MAX_TENSORS
"""Opening brackets in a header: three for each tensor, and those in texts of the metadata."""
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""Names of the dtypes that are read and written."""
_OTHER_DTYPES = ("F8_E4M3", "F8_E5M2", "F8_E8M0", "F6_E2M3", "F6_E3M2", "F4", "U16", "U32", "U64", "C64")
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_AGAIN = "download or save it again"


def read(
    stream: IO[bytes], size: int, first: Callable[[dict[str, Tensor]], None] = lambda _: None
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a file of ``size`` bytes.

    Args:
        stream: the file.
        size: of it.
        first: is shown the tensors without data (on the meta device), and may raise, before any are read.

    Raises:
        CorruptCheckpointError: the file does not follow the format; nothing large is allocated before this is known.
        UnsupportedFormatError: a dtype that no weight of ours has (float8, complex, ...).
    """
    header, start = _read_header(stream, size)
    metadata = _metadata(header.pop("__metadata__", {}))
    checked_count(len(header))
    spans = {name: _span(name, entry) for name, entry in header.items()}
    _check_cover(spans, size - start)
    first({name: torch.empty(shape, dtype=dtype, device="meta") for name, (dtype, shape, _, _) in spans.items()})
    tensors = {name: _read_tensor(stream, start, span) for name, span in spans.items()}
    return tensors, metadata


_Span = tuple[torch.dtype, tuple[int, ...], int, int]
"""dtype, shape, and the half-open range of bytes behind the header."""


def _read_header(stream: IO[bytes], size: int) -> tuple[dict[str, Any], int]:
    stream.seek(0)
    prefix = stream.read(8)
    if len(prefix) < 8:
        raise CorruptCheckpointError(f"it is cut off in its first 8 bytes; {_AGAIN}")
    (length,) = struct.unpack("<Q", prefix)
    if length > size - 8:
        raise CorruptCheckpointError(f"its header claims {length:,} bytes, the file has {size:,}: cut off; {_AGAIN}")
    if length > MAX_HEADER:
        raise CorruptCheckpointError(f"its header has {length:,} bytes, over the limit of {MAX_HEADER:,}")
    return _parse_json(stream.read(length)), 8 + length


def _parse_json(text: bytes) -> dict[str, Any]:
    if text.count(b"[") + text.count(b"{") > _MAX_CONTAINERS:  # which take far more memory than their text
        raise CorruptCheckpointError(f"its header has over {_MAX_CONTAINERS:,} lists and objects")
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise CorruptCheckpointError(f"its header is not valid JSON ({str(error)[:120]}); {_AGAIN}") from error
    if not isinstance(header, dict):
        raise CorruptCheckpointError(f"its header is not a JSON object; {_AGAIN}")
    return cast("dict[str, Any]", header)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise ValueError(f"duplicate key {shown(counts.most_common(1)[0][0])}")
    return mapping


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not allowed")


def _metadata(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        raise CorruptCheckpointError(f"its metadata is not a map of texts; {_AGAIN}")
    return cast("dict[str, str]", value)


def _span(name: str, entry: Any) -> _Span:
    """One tensor's entry of the header, checked in itself."""
    label = shown(name)
    if not isinstance(entry, dict) or set(cast("dict[str, Any]", entry)) != {"dtype", "shape", "data_offsets"}:
        raise CorruptCheckpointError(f"its header describes tensor {label} wrongly; {_AGAIN}")
    dtype = _dtype(label, entry["dtype"])
    shape, offsets = _counts(label, entry["shape"]), _counts(label, entry["data_offsets"])
    if len(offsets) != 2 or offsets[0] > offsets[1]:
        raise CorruptCheckpointError(f"its tensor {label} has wrong offsets; {_AGAIN}")
    needed = math.prod(shape) * dtype.itemsize
    if needed != offsets[1] - offsets[0]:
        raise CorruptCheckpointError(
            f"its tensor {label} of shape {shape} and dtype {entry['dtype']} needs {needed:,} bytes "
            f"but has {offsets[1] - offsets[0]:,}; {_AGAIN}"
        )
    return dtype, shape, offsets[0], offsets[1]


def _dtype(label: str, name: Any) -> torch.dtype:
    if name in _OTHER_DTYPES:
        raise UnsupportedFormatError(f"its tensor {label} has dtype {name}: convert it to F32, F16 or BF16")
    if not isinstance(name, str) or name not in DTYPES:
        raise CorruptCheckpointError(f"its tensor {label} has the unknown dtype {shown(name, 40)}; {_AGAIN}")
    return DTYPES[name]


def _counts(label: str, values: Any) -> tuple[int, ...]:
    counts = cast("list[Any]", values) if isinstance(values, list) else None
    if (
        counts is None
        or len(counts) > MAX_AXES
        or not all(type(count) is int and 0 <= count < 2**63 for count in counts)
    ):
        raise CorruptCheckpointError(f"its tensor {label} has a wrong shape or offsets; {_AGAIN}")
    return checked_shape(counts)


def _check_cover(spans: Mapping[str, _Span], size: int) -> None:
    """The tensors must fill the rest of the file without gap or overlap."""
    end = 0
    for name, (_, _, begin, stop) in sorted(spans.items(), key=lambda item: item[1][2:]):
        if begin != end:
            fault = "overlaps another" if begin < end else "leaves a gap before it"
            raise CorruptCheckpointError(f"its tensor {shown(name)} {fault}; {_AGAIN}")
        end = stop
    if end != size:
        raise CorruptCheckpointError(f"its tensors take {end:,} bytes but {size:,} follow the header; {_AGAIN}")


def _read_tensor(stream: IO[bytes], start: int, span: _Span) -> Tensor:
    dtype, shape, begin, end = span
    if begin == end:
        return torch.empty(shape, dtype=dtype)
    data = torch.empty(end - begin, dtype=torch.uint8)  # a bytearray would be filled first, while Python stands still
    stream.seek(start + begin)
    if cast("Any", stream).readinto(data.numpy()) != len(data):
        raise CorruptCheckpointError(f"it is cut off; {_AGAIN}")
    return data.view(dtype).reshape(shape)


def write(stream: IO[bytes], tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors of dtypes in `DTYPES`; equal arguments give equal bytes.

    Tensors are ordered by descending element size (which keeps them aligned) and then by name.
    """
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    end = 0
    for name, tensor in ordered:
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    stream.write(struct.pack("<Q", len(text)) + text)
    for _, tensor in ordered:
        stream.write(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
