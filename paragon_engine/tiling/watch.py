"""Progress of a network that runs at once, and a way to stop it between two layers."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

from ..progress import Progress


@contextmanager
def watched(network: nn.Module | None, progress: Progress) -> Generator[None, None, None]:
    """While ``network`` runs inside, its layers count as progress; None counts as one step.

    A run that fails leaves the progress where it was before.

    Raises:
        CancelledError: progress was cancelled; at the next layer.
    """
    layers = (
        [] if network is None else [module for module in network.modules() if next(module.children(), None) is None]
    )
    owner, seen = threading.get_ident(), set[nn.Module]()

    def before(layer: nn.Module, _: Any) -> None:
        if threading.get_ident() != owner:  # somebody else uses the same model
            return
        progress.raise_if_cancelled()
        if layer not in seen:
            seen.add(layer)
            progress.advance()

    progress.start(len(layers) + 1)
    progress.raise_if_cancelled()
    with ExitStack() as hooks:
        for layer in layers:
            hooks.callback(layer.register_forward_pre_hook(before).remove)
        try:
            yield
        except (MemoryError, RuntimeError):
            progress.advance(-progress.done)
            raise
    progress.advance(progress.total - progress.done)
