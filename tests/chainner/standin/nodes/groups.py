"""Groups of inputs that are shown under a condition."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from api import Item

Wrap = Callable[..., list[Item]]


class Condition:
    """Only what our nodes use."""

    @staticmethod
    def bool(number: int, value: bool) -> tuple[int, bool]:
        return number, value


def if_group(condition: tuple[int, bool]) -> Wrap:
    return lambda *items: list(items)


def if_enum_group(enum: int, condition: Enum) -> Wrap:
    return lambda *items: list(items)
