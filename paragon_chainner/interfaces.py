"""What our nodes use of chaiNNer, as types: chaiNNer itself is in no package registry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


class NodeContext(Protocol):
    """What a node learns about its run."""

    settings: Any

    def check_aborted(self) -> None:
        """Raise chaiNNer's ``Aborted`` once the user pressed stop."""
        ...

    def suspend(self) -> None:
        """As `check_aborted`, and wait while the chain is paused."""
        ...

    def set_progress(self, progress: float) -> None:
        """Show how far the node is, 0..1; raises ``Aborted`` too."""
        ...

    def add_cleanup(self, fn: Callable[[], None], after: Literal["node", "chain"] = "chain") -> None:
        """Have a function called at the end of the node's or the whole chain's run."""
        ...


class NodeGroup(Protocol):
    """A group of nodes in the app's list."""

    order: list[str]

    def register(self, schema_id: str, **schema: Any) -> Callable[[Function], Function]:
        """Decorator that makes a function a node."""
        ...


class Settings(Protocol):
    """The app's PyTorch settings."""

    device: Any
    use_fp16: bool
    budget_limit: int
    """GiB; 0 for no limit."""
    force_cache_wipe: bool
