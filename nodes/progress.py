"""Progress of the engine on ComfyUI's bar, and ComfyUI's cancel button for the engine."""

from __future__ import annotations

from PIL import Image

from paragon_engine.pictures import Picture, to_bytes
from paragon_engine.progress import Progress

from . import host

STEPS = 1000
"""Resolution of the bar."""
PREVIEW = 512
"""Longest side of a preview in pixels."""


class NodeProgress(Progress):
    """Moves the bar of the running node; raises ComfyUI's own exception when the user cancels."""

    def __init__(self) -> None:
        super().__init__()
        self._bar = host.progress_bar(STEPS)
        self._step = -1

    def raise_if_cancelled(self) -> None:
        """Raise ComfyUI's exception if the user pressed cancel."""
        host.raise_if_interrupted()

    def show(self, *, final: bool = False) -> None:
        """Move the bar when it has a step to go."""
        step = self._now()
        if step != self._step:
            self._step = step
            self._bar.update_absolute(step, STEPS)

    def preview(self, picture: Picture) -> None:
        """Show a finished picture on the node while the next one is being made."""
        pixels = to_bytes(picture.pixels)
        image = Image.fromarray(pixels[..., 0] if picture.is_gray else pixels).convert("RGB")
        image.thumbnail((PREVIEW, PREVIEW), reducing_gap=2.0)
        self._bar.update_absolute(self._now(), STEPS, ("JPEG", image, max(image.size)))

    def _now(self) -> int:
        return min(STEPS, round(STEPS * self.done / self.total)) if self.total else 0
