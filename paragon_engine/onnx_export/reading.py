"""Reading ONNX files of others: bytes in memory, never a path that a runtime would follow to further files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from paragon_arch.errors import CheckpointError, CheckpointNotFoundError, CorruptCheckpointError

from ..packages import require
from .trust import refuse_untrusted

MAX_BYTES = 2**31 - 1
"""Protocol buffers cannot be larger."""
MAX_MINIMUM = 4096
"""No network needs larger images."""


def read_graph(path: Path | str) -> bytes:
    """A serialised model from a file.

    Raises:
        CheckpointNotFoundError: no such file.
        CorruptCheckpointError: not an ONNX model, or without input or output, or it claims more than it holds.
        UnsafeCheckpointError: it refers to other files.
        UnsupportedFormatError: it needs operators that are not part of ONNX.
        CheckpointError: the system refuses to read it.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointNotFoundError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CorruptCheckpointError(f"{path}: larger than any ONNX file can be (2 GB)")
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    onnx = require("onnx", "reading an ONNX file")
    try:
        model = onnx.load_from_string(data)
    except Exception as error:  # the protobuf library's errors share no base class
        raise CorruptCheckpointError(f"{path}: not an ONNX model, or damaged: {str(error)[:100]}") from error
    if not model.graph.input or not model.graph.output:
        raise CorruptCheckpointError(f"{path}: an ONNX model without input or output, or another kind of file")
    try:
        refuse_untrusted(onnx, model, len(data))
    except CheckpointError as error:
        raise type(error)(f"{path}: {error}") from error
    return data


def properties(graph: bytes) -> dict[str, str]:
    """The ``metadata_props`` of a serialised model."""
    model = require("onnx", "reading an ONNX file").load_from_string(graph)
    return {item.key: item.value for item in model.metadata_props}


def minimum_size(facts: Mapping[str, str], name: str) -> int:
    """Side of the smallest image that a graph takes, from its ``metadata_props``; 1 where they do not say it.

    Raises:
        CorruptCheckpointError: they say something else.
    """
    key = "paragonsr.minimum_size"
    number = stated_number(facts, key, MAX_MINIMUM) if key in facts else 1
    if number is None:
        raise CorruptCheckpointError(f"{name}: its metadata have the minimum size {facts[key][:80]!r}; export it again")
    return number


def stated_number(facts: Mapping[str, str], key: str, most: int) -> int | None:
    """A number of 1..``most`` from a file's metadata, which may hold anything."""
    text = facts.get(key, "")
    sensible = text.isascii() and text.isdecimal() and len(text) < 10
    return int(text) if sensible and 1 <= int(text) <= most else None
