"""Our nodes inside the stand-in for chaiNNer, in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

STANDIN = Path(__file__).with_name("standin")
_TAKEN = ("api", "nodes", "packages", "paragon_chainner.host", "paragon_chainner.nodes")
"""Modules that are others inside chaiNNer than in the other tests (our own `nodes` are ComfyUI's)."""


class Context:
    """A node's context: settings, and a user who may press stop.

    Args:
        abort_after: number of looks at the stop button after which it was pressed; None for never.
        settings: of the stand-in's PyTorchSettings.
    """

    def __init__(self, abort_after: int | None = None, **settings: Any) -> None:
        self.settings = import_module("packages.chaiNNer_pytorch.settings").PyTorchSettings(**settings)
        self.abort_after = abort_after
        self.looks = 0
        self.progress: list[float] = []
        self.cleanups: list[str] = []

    def check_aborted(self) -> None:
        self.looks += 1
        if self.abort_after is not None and self.looks > self.abort_after:
            raise import_module("api").Aborted

    suspend = check_aborted

    def set_progress(self, progress: float) -> None:
        assert 0 <= progress <= 1
        self.progress.append(progress)

    def add_cleanup(self, fn: Callable[[], None], after: str = "chain") -> None:
        self.cleanups.append(after)


class Host:
    """The registered nodes."""

    def __init__(self) -> None:
        self.category = import_module("packages.chaiNNer_pytorch").pytorch_category
        import_module("paragon_chainner.nodes").add_nodes()
        import_module("paragon_chainner.nodes").add_nodes()  # again is harmless
        self.nodes: dict[str, dict[str, Any]] = {}
        for group in self.category.groups:
            self.nodes |= {schema.removeprefix("chainner:paragonsr:"): node for schema, node in group.nodes.items()}

    def run(self, name: str, *values: Any, context: Context | None = None) -> Any:
        """Run a node; values in the order of its inputs."""
        node = self.nodes[name]
        return node["run"](*([context or Context()] if node.get("node_context") else []), *values)


@contextmanager
def inside_chainner() -> Generator[Host, None, None]:
    """Put the stand-in where chaiNNer's modules would be, and everything back afterwards."""
    before = _take_out()
    sys.path.insert(0, str(STANDIN))
    try:
        yield Host()
    finally:
        sys.path.remove(str(STANDIN))
        _take_out()
        sys.modules.update(before)


def _take_out() -> dict[str, ModuleType]:
    names = [name for name in sys.modules if any(name == taken or name.startswith(f"{taken}.") for taken in _TAKEN)]
    return {name: sys.modules.pop(name) for name in names}
