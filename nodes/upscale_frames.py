"""Upscale Video Frames (ParagonSR)."""

from __future__ import annotations

from typing import Any

import torch
from spandrel import ImageModelDescriptor
from torch import Tensor

from paragon_engine.progress import log
from paragon_engine.video import FrameSettings, FrameUpscaler, has_feedback

from . import host
from .progress import NodeProgress, Preview
from .upscaling import (
    FollowsPrecisionSetting,
    Resize,
    Size,
    make_worker,
    model_input,
    size_widgets,
    speed_widgets,
    tiles,
)
from .working import Choice, Model, interruptible


class UpscaleFrames(FollowsPrecisionSetting):
    """Upscale the frames of a video that is an IMAGE batch, each in the light of those before it."""

    CATEGORY = "ParagonSR"
    DESCRIPTION = (
        "Upscales the frames of a video in their order, with temporal feedback where the model's layout has it. For "
        "long videos take Upscale Video (ParagonSR), which does not hold all frames in memory."
    )
    FUNCTION = "upscale"
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("images",)
    OUTPUT_TOOLTIPS = ("The upscaled frames, in the same order.",)

    @classmethod
    def INPUT_TYPES(cls) -> host.Inputs:  # noqa: N802  (ComfyUI's name)
        """The node's widgets, in ComfyUI's form."""
        inputs = {
            **model_input(),
            "images": ("IMAGE", {"tooltip": "Frames in the order of the video."}),
        }
        return {"required": {**inputs, **size_widgets(), **speed_widgets(), **feedback_widget()}}

    def upscale(
        self,
        upscale_model: ImageModelDescriptor[Any],
        images: Tensor,
        resize: Resize,
        factor: float,
        width: int,
        height: int,
        tile: str,
        precision: Choice,
        feedback: float,
    ) -> tuple[Tensor]:
        """Return the frames; the model that came in stays as and where it is.

        Raises:
            InvalidOptionError: a value makes no sense for this model or these frames.
            MemoryError: not even the smallest tile fits.
        """
        size = (images.shape[2], images.shape[1])
        plain = tiles(upscale_model, images, tile)
        sized = Size(resize, factor, width, height).applied(plain, size)
        wanted = FrameSettings(sized, feedback=usable_feedback(upscale_model, feedback))
        try:
            upscaler = FrameUpscaler(make_worker(upscale_model, images, plain.tile, precision).model, wanted)
            return (_upscaled(upscaler, images, NodeProgress()),)
        finally:
            host.release_memory()


def _upscaled(upscaler: FrameUpscaler, images: Tensor, progress: NodeProgress) -> Tensor:
    width, height = upscaler.output_size((images.shape[2], images.shape[1]))
    out = torch.empty((len(images), height, width, 3))
    preview = Preview(progress, (width, height))
    progress.start(len(images))
    with interruptible():
        for index, image in enumerate(images):
            frame = image[None, ..., :3].movedim(-1, 1).detach().cpu().float().clamp(0, 1).contiguous()
            result = upscaler(frame, progress=progress.part())[0]
            out[index] = result.movedim(0, -1)
            progress.done = index + 1
            progress.show()
            preview.add(result, 0, 0)
    return out


def usable_feedback(model: Model, feedback: float) -> float:
    """The feedback's weight, 0 for a model whose layout has none; the console says so."""
    if feedback and not has_feedback(model):
        log.warning("this model's layout has no temporal feedback: each frame is upscaled on its own")
        return 0.0
    return feedback


def feedback_widget() -> dict[str, tuple[Any, ...]]:
    """Of the weight that `usable_feedback` takes."""
    return {
        "feedback": (
            "FLOAT",
            {
                "default": 0.0,
                "min": 0.0,
                "max": 0.9,
                "step": 0.05,
                "tooltip": "Weight of the frames before in each frame, 0 (default) to 0.9; 0.2 is what the layouts "
                "were made with. Less flicker, but moving things may leave a trace. A new scene starts afresh. "
                "Layouts without feedback ignore it.",
            },
        )
    }
