"""As much of chaiNNer's ``api`` as our nodes use, with its names and signatures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


class Aborted(Exception):
    """The user stopped the chain."""


class NodeContext(ABC):
    """What a node learns about its run."""

    settings: Any = None

    @abstractmethod
    def check_aborted(self) -> None: ...

    @abstractmethod
    def suspend(self) -> None: ...

    @abstractmethod
    def set_progress(self, progress: float) -> None: ...

    @abstractmethod
    def add_cleanup(self, fn: Callable[[], None], after: str = "chain") -> None: ...


@dataclass
class Collector:
    """Takes the items of a sequence one by one."""

    on_iterate: Callable[[Any], None]
    on_complete: Callable[[], Any]


@dataclass
class IteratorInputInfo:
    """Which inputs are sequences."""

    inputs: int | list[int]
    length_type: str = "uint"


@dataclass
class KeyInfo:
    """What a collapsed node shows."""

    expression: str

    @staticmethod
    def type(expression: str) -> KeyInfo:
        return KeyInfo(expression)


@dataclass
class Item:
    """An input or an output."""

    label: str
    type: str
    options: dict[str, Any]
    id: int = -1

    def with_id(self, number: int) -> Item:
        self.id = number
        return self

    def with_docs(self, *docs: str, hint: bool = False) -> Item:
        assert docs
        return self

    def make_optional(self) -> Item:
        return self

    def suggest(self) -> Item:
        return self


@dataclass
class Group:
    """A group of nodes."""

    name: str
    order: list[str] = field(default_factory=list[str])
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])

    def register(self, schema_id: str, **schema: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def add(function: Callable[..., Any]) -> Callable[..., Any]:
            assert schema_id not in self.nodes
            self.nodes[schema_id] = {**schema, "run": function}
            return function

        return add


@dataclass
class Category:
    """A category of groups."""

    name: str
    groups: list[Group] = field(default_factory=list[Group])

    def add_node_group(self, name: str) -> Group:
        self.groups.append(Group(name))
        return self.groups[-1]
