"""Groups of inputs that are shown under a condition."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from api import Item

Wrap = Callable[..., list[Item]]
Nested = Item | list[Item]


class Condition:
    """Only what our nodes use."""

    @staticmethod
    def bool(number: int, value: bool) -> tuple[int, bool]:
        return number, value

    @staticmethod
    def type(number: int, expression: str, if_not_connected: bool = False) -> tuple[int, str]:
        return number, expression


def if_group(condition: tuple[int, object]) -> Wrap:
    return _flat


def if_enum_group(enum: int, condition: int | Enum | tuple[Enum, ...]) -> Wrap:
    return _flat


def _flat(*items: Nested) -> list[Item]:
    return [part for item in items for part in (item if isinstance(item, list) else [item])]
