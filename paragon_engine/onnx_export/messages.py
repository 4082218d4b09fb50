"""What the checks of ONNX files of others share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from paragon_arch.errors import CheckpointError, CorruptCheckpointError


def messages(root: Any) -> Iterator[Any]:
    """Every message inside a message: the positions in which a tensor can hide are more than anybody would list."""
    waiting = [root]
    while waiting:
        message = waiting.pop()
        yield message
        for field, value in message.ListFields():
            if field.message_type is not None:
                waiting += [value] if hasattr(value, "ListFields") else value


def corrupt(text: str) -> CheckpointError:
    """The error of a model that lies."""
    return CorruptCheckpointError(f"an ONNX model that cannot be right: {text}")
