"""Upscaling a sequence of frames one after the other: the part of a video job that knows no files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from paragon_arch.errors import InvalidOptionError

from ..finite import cleaned
from ..pictures.resample import Size
from ..progress import Progress
from ..upscale import UpscaleSettings, naming, upscale_planes
from ..upscaler import Upscaler
from .temporal import Feedback, has_feedback


@dataclass(frozen=True)
class FrameSettings:
    """How frames are upscaled."""

    upscale: UpscaleSettings = field(default_factory=UpscaleSettings)
    """Tiles and output size, as for pictures."""
    feedback: float = 0.0
    """Weight of the frames before in a frame's features, 0..1, for the layouts that can (`has_feedback`); 0 is off."""
    even: bool = False
    """Round the output's sides to even numbers, which most video codecs need."""


class FrameUpscaler:
    """Upscales the frames of one video in their order.

    Args:
        upscaler: the model.
        settings: None for the defaults.

    Attributes:
        done: frames so far; messages count on from it.

    Raises:
        InvalidOptionError: feedback is out of range, or the model's layout has none.
    """

    def __init__(self, upscaler: Upscaler, settings: FrameSettings | None = None) -> None:
        self._upscaler, self._settings = upscaler, settings or FrameSettings()
        self.done = 0
        weight = self._settings.feedback
        if not 0 <= weight < 1:
            raise InvalidOptionError(f"feedback {weight:g} is out of range: give 0 to 1, 1 excluded")
        if weight and not has_feedback(upscaler):
            raise InvalidOptionError("this model's layout has no temporal feedback: leave feedback at 0")
        self._feedback = Feedback(upscaler, weight) if weight else None

    @property
    def device(self) -> torch.device:
        """The device that does the work."""
        return self._upscaler.device

    def output_size(self, size: Size) -> Size:
        """(width, height) of the frames that come out for frames of a (width, height)."""
        width, height = self._settings.upscale.output_size(size, self._upscaler.scale)
        if not self._settings.even:
            return width, height
        return max(2, 2 * round(width / 2)), max(2, 2 * round(height / 2))

    def warm_up(self, frame: Tensor) -> None:
        """Take in a frame that is not to be upscaled: what follows comes out as if it had been."""
        if self._feedback is not None:
            self._feedback.remember(frame)

    def __call__(self, frame: Tensor, *, progress: Progress | None = None) -> Tensor:
        """Upscale one frame.

        Args:
            frame: ``(1, 3, H, W)`` float32 in 0..1; NaN and infinity are replaced by 0, with a warning.
            progress: may cancel.

        Returns:
            ``(1, 3, H', W')`` float32 in 0..1, on the device of ``frame``.

        Raises:
            NonFiniteError: the result is not finite in the last precision, either; the message has the frame's number.
            MemoryError: not even the smallest tile fits.
            CancelledError: progress was cancelled.
        """
        self.done += 1
        name, progress = f"frame {self.done}", progress or Progress()
        frame, size, settings = cleaned(frame, name), self.output_size((frame.shape[3], frame.shape[2])), self._settings
        first = None
        with naming(name):
            if self._feedback is not None:
                progress.raise_if_cancelled()
                first = self._feedback(frame, tile=settings.upscale.tile)
            return upscale_planes(self._upscaler, frame, size, settings.upscale, progress=progress, first=first)


def upscale_frames(
    upscaler: Upscaler,
    frames: Iterable[Tensor],
    settings: FrameSettings | None = None,
    *,
    progress: Progress | None = None,
) -> Iterator[Tensor]:
    """Upscale frames as they come; one is in work at a time.

    Args:
        upscaler: the model.
        frames: each ``(1, 3, H, W)`` or ``(3, H, W)`` float32 in 0..1; all of one size.
        settings: None for the defaults.
        progress: advanced by one a frame; may cancel.

    Yields:
        ``(1, 3, H', W')`` float32 in 0..1 for each frame.

    Raises:
        As `FrameUpscaler`.
    """
    worker, progress = FrameUpscaler(upscaler, settings), progress or Progress()
    for frame in frames:
        result = worker(frame.reshape(1, *frame.shape[-3:]), progress=progress.part())
        progress.advance()
        yield result
