"""What a file may state, in one place for all readers.

Counts, sizes, depths and texts cost a file nothing to state. The bounds here keep what reading takes, in time and
memory, linear in the file's own bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..errors import CorruptCheckpointError

MAX_TENSORS = 2**15
"""Tensors of one checkpoint; the largest of the family have some thousands."""
MAX_ELEMENTS = 2**40
"""Elements of one tensor, and the product of the dimensions that are not 0: more has no address."""
MAX_AXES = 16
_MAX_DIGITS = 9
_SHOWN = 80
_BITS = 256


class Budget:
    """Steps that reading a file may take.

    Args:
        steps: how many, from the file's size.
        what: the file has too many of, for the message.
    """

    def __init__(self, steps: int, what: str) -> None:
        self._steps = self._left = steps
        self._what = what

    def spend(self, steps: int = 1) -> None:
        """Take some.

        Raises:
            CorruptCheckpointError: they are used up.
        """
        self._left -= steps
        if self._left < 0:
            raise CorruptCheckpointError(f"{self._what} more than {self._steps:,}: no checkpoint needs so many")


def checked_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape, if a tensor can have it, whether it has elements or not.

    Raises:
        CorruptCheckpointError: too many axes, a negative dimension, or more elements than there are addresses.
    """
    if len(shape) > MAX_AXES or any(side < 0 for side in shape) or math.prod(filter(None, shape)) > MAX_ELEMENTS:
        raise CorruptCheckpointError("a tensor has a shape that no memory holds; download or save it again")
    return tuple(shape)


def checked_count(tensors: int) -> None:
    """Refuse more tensors than any checkpoint has.

    Raises:
        CorruptCheckpointError: so.
    """
    if tensors > MAX_TENSORS:
        raise CorruptCheckpointError(f"it has {tensors:,} tensors, over the limit of {MAX_TENSORS:,}")


def index(text: str) -> int | None:
    """The number that a part of a key is; None if it is none, or has more digits than any file has tensors."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS else None


def shown(value: object, limit: int = _SHOWN) -> str:
    """A value of a file in a message: its repr, of bounded length, whatever the value is."""
    kind = type(value).__name__
    if isinstance(value, str | bytes):
        return repr(value[:limit]) + ("..." if len(value) > limit else "")
    if isinstance(value, int) and value.bit_length() > _BITS:  # Python writes no number of thousands of digits
        return f"a number of {value.bit_length():,} bits"
    if isinstance(value, list | tuple | dict | set | frozenset):
        return f"a {kind}"  # which may hold itself, or others by the million
    return repr(value)[:limit]
