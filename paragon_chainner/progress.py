"""The engine's progress on chaiNNer's bar, and chaiNNer's pause and stop buttons for the engine."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from paragon_engine.progress import Progress

from .interfaces import NodeContext

STEPS = 200
"""Resolution of the bar: each step is a message to the app's window."""


class NodeProgress(Progress):
    """Moves the bar of the running node. Once the user stops the chain it raises chaiNNer's own exception."""

    def __init__(self, context: NodeContext) -> None:
        super().__init__()
        self._context = context
        self._step = 0

    def raise_if_cancelled(self) -> None:
        """Wait while the chain is paused; raise chaiNNer's exception if it was stopped."""
        self._context.suspend()

    def show(self, *, final: bool = False) -> None:
        """Move the bar when it has a step to go."""
        step = min(STEPS, round(STEPS * self.done / self.total)) if self.total else 0
        if step != self._step:
            self._step = step
            self._context.set_progress(step / STEPS)

    @contextmanager
    def watching_modules(self) -> Generator[None, None, None]:
        """Also look at the buttons before every layer that this thread runs: one tile may take seconds."""
        thread = threading.get_ident()

        def look(_module: nn.Module, _inputs: object) -> None:
            if threading.get_ident() == thread:
                self.raise_if_cancelled()

        handle = register_module_forward_pre_hook(look)
        try:
            yield
        finally:
            handle.remove()
