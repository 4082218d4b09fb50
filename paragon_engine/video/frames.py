"""Upscaling a sequence of frames one after the other: the part of a video job that knows no files."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from paragon_arch.errors import InvalidOptionError, InvalidWeightsError
from paragon_arch.model import ImageModel as ImageModelDescriptor

from ..pictures.resample import Size
from ..progress import Progress, log
from ..upscale import UpscaleSettings, upscale_planes
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
        model: on the device that does the work.
        settings: None for the defaults.

    Raises:
        InvalidOptionError: feedback is out of range, or the model's layout has none.
    """

    def __init__(self, model: ImageModelDescriptor[Any], settings: FrameSettings | None = None) -> None:
        self._model, self._settings = model, settings or FrameSettings()
        self._precise: ImageModelDescriptor[Any] | None = None
        weight = self._settings.feedback
        if not 0 <= weight < 1:
            raise InvalidOptionError(f"feedback {weight:g} is out of range: give 0 to 1, 1 excluded")
        if weight and not has_feedback(model):
            raise InvalidOptionError("this model's layout has no temporal feedback: leave feedback at 0")
        self._feedback = Feedback(model, weight) if weight else None

    @property
    def device(self) -> torch.device:
        """The device that does the work."""
        return self._model.device

    def output_size(self, size: Size) -> Size:
        """(width, height) of the frames that come out for frames of a (width, height)."""
        width, height = self._settings.upscale.output_size(size, self._model.scale)
        if not self._settings.even:
            return width, height
        return max(2, 2 * round(width / 2)), max(2, 2 * round(height / 2))

    def warm_up(self, frame: Tensor) -> None:
        """Take in a frame that is not to be upscaled: what follows comes out as if it had been."""
        if self._feedback is not None:
            self._feedback.remember(frame)

    def __call__(self, frame: Tensor, *, progress: Progress | None = None) -> Tensor:
        """Upscale one frame.

        A result with NaN or infinite values is computed again in FP32.

        Args:
            frame: ``(1, 3, H, W)`` float32 in 0..1.
            progress: may cancel.

        Returns:
            ``(1, 3, H', W')`` float32 in 0..1, on the device of ``frame``.

        Raises:
            InvalidWeightsError: not finite even in FP32.
            MemoryError: not even the smallest tile fits.
            CancelledError: progress was cancelled.
        """
        size = self.output_size((frame.shape[3], frame.shape[2]))
        progress = progress or Progress()
        first = None
        if self._feedback is not None:
            progress.raise_if_cancelled()
            first = self._feedback(frame, tile=self._settings.upscale.tile)
        result = upscale_planes(self._model, frame, size, self._settings.upscale, progress=progress, first=first)
        if bool(torch.isfinite(result).all()):
            return result
        return self._again(frame, size, progress)

    def _again(self, frame: Tensor, size: Size, progress: Progress) -> Tensor:
        if self._precise is None:
            log.warning("a frame overflowed: it and others like it are computed again in FP32")
            self._precise = _in_fp32(self._model)
        result = upscale_planes(self._precise, frame, size, self._settings.upscale, progress=progress)
        if not bool(torch.isfinite(result).all()):
            raise InvalidWeightsError("the model gives NaN even in FP32: model or video is damaged")
        return result


def upscale_frames(
    model: ImageModelDescriptor[Any],
    frames: Iterable[Tensor],
    settings: FrameSettings | None = None,
    *,
    progress: Progress | None = None,
) -> Iterator[Tensor]:
    """Upscale frames as they come; one is in work at a time.

    Args:
        model: on the device that does the work.
        frames: each ``(1, 3, H, W)`` or ``(3, H, W)`` float32 in 0..1; all of one size.
        settings: None for the defaults.
        progress: advanced by one a frame; may cancel.

    Yields:
        ``(1, 3, H', W')`` float32 in 0..1 for each frame.

    Raises:
        As `FrameUpscaler`.
    """
    upscaler, progress = FrameUpscaler(model, settings), progress or Progress()
    for frame in frames:
        result = upscaler(frame.reshape(1, *frame.shape[-3:]), progress=progress.part())
        progress.advance()
        yield result


def _in_fp32(model: ImageModelDescriptor[Any]) -> ImageModelDescriptor[Any]:
    """A copy of a model that computes in FP32, without a backend."""
    network = getattr(model.model, "network", model.model)
    twin = copy.copy(model)
    twin._model = copy.deepcopy(network).float()  # pyright: ignore[reportPrivateUsage]  (spandrel has no other way)
    return twin
