"""Progress of the engine on ComfyUI's bar, its pictures on the node, and ComfyUI's cancel button for the engine."""

from __future__ import annotations

import time

import numpy as np
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from paragon_engine.pictures import Picture, to_bytes
from paragon_engine.progress import Progress

from . import host

STEPS = 1000
"""Resolution of the bar."""
PREVIEW = 512
"""Longest side of a preview in pixels."""
INTERVAL = 0.5
"""Seconds between previews."""
LARGEST_JPEG = 65535
"""Pixels along a side."""
DIMMED = 0.4
"""Brightness of what is not done yet."""


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

    def show_picture(self, image: Image.Image) -> None:
        """Show a picture on the node while the work goes on."""
        self._bar.update_absolute(self._now(), STEPS, ("JPEG", image, max(image.size)))

    def _now(self) -> int:
        return min(STEPS, round(STEPS * self.done / self.total)) if self.total else 0


class Preview:
    """A small view of one picture that gets bright where it is done.

    Nothing is computed for a view that is not shown: one is due every `INTERVAL` seconds, and at the end.

    Args:
        progress: shows it.
        size: (width, height) of the results.
    """

    def __init__(self, progress: NodeProgress, size: tuple[int, int]) -> None:
        self._progress = progress
        self._factor = min(1.0, PREVIEW / max(size))
        self._small = max(1, self._to(size[0])), max(1, self._to(size[1]))
        self._shown = time.monotonic()
        self._canvas: Image.Image | None = None
        self._picture: Picture | None = None
        self._parts: list[tuple[Tensor, int, int]] = []

    def start(self, picture: Picture | None = None) -> None:
        """Begin with an input, which is shown dimmed where nothing is done yet."""
        self._canvas, self._picture = None, picture
        self._parts.clear()

    def add(self, part: Tensor, top: int, left: int) -> None:
        """Take in a finished part; see `paragon_engine.tiling.OnPart`."""
        self._parts.append((part, top, left))
        if self._due():
            self._show()

    def finish(self, result: Tensor, *, last: bool) -> None:
        """Show a whole result, (H, W, C), as large as it is: ComfyUI writes the size of the ``last`` picture below."""
        if not (last or self._due()):
            return
        if max(result.shape[:2]) <= LARGEST_JPEG:
            self._shown = time.monotonic()
            self._progress.show_picture(_image(result[..., :3].float().numpy()))
        else:
            self._show()

    def _due(self) -> bool:
        return time.monotonic() - self._shown > INTERVAL

    def _show(self) -> None:
        """Send what is done to the node."""
        if self._canvas is None:
            self._canvas = Image.new("RGB", self._small)
            if self._picture is not None:
                self._canvas = _dimmed(self._picture).resize(self._small)
        for part, top, left in self._parts:
            self._paste(self._canvas, part, top, left)
        self._parts.clear()
        self._shown = time.monotonic()
        self._progress.show_picture(self._canvas.copy())

    def _paste(self, canvas: Image.Image, part: Tensor, top: int, left: int) -> None:
        box = (self._to(left), self._to(top), self._to(left + part.shape[2]), self._to(top + part.shape[1]))
        small = F.interpolate(part[None].float(), (max(1, box[3] - box[1]), max(1, box[2] - box[0])), mode="area")[0]
        canvas.paste(_image(small.movedim(0, -1).cpu().numpy()), box[:2])

    def _to(self, position: int) -> int:
        return round(position * self._factor)


def _dimmed(picture: Picture) -> Image.Image:
    return _image(picture.pixels).point(lambda level: level * DIMMED)


def _image(pixels: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Image.Image:
    """(H, W, 1 or 3) in 0..1 as RGB."""
    values = to_bytes(pixels)
    return Image.fromarray(values[..., 0] if values.shape[2] == 1 else values).convert("RGB")
