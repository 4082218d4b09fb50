"""Upscale Video Frames (ParagonSR)."""

from __future__ import annotations

from typing import Any

import torch
from spandrel import ImageModelDescriptor
from torch import Tensor

from paragon_engine import Upscaler
from paragon_engine.colour_match import Match, match_colours
from paragon_engine.finite import cleaned
from paragon_engine.progress import log
from paragon_engine.video import FrameSettings, FrameUpscaler, has_feedback

from . import host
from .colours import match_widget
from .progress import NodeProgress, Preview
from .sizes import Size, limit_widget, resize_widget, size_widgets
from .upscaling import FollowsPrecisionSetting, model_input, speed_widgets, tiles
from .working import Choice, interruptible, ready


class UpscaleFrames(FollowsPrecisionSetting):
    """Upscale the frames of a video that is an IMAGE batch, each in the light of those before it."""

    CATEGORY = "ParagonSR/video"
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
        widgets = {**size_widgets(), **speed_widgets(), **feedback_widget(), **match_widget(), **limit_widget()}
        return {"required": {**inputs, **resize_widget()}, "optional": widgets}

    def upscale(
        self,
        upscale_model: ImageModelDescriptor[Any],
        images: Tensor,
        resize: str,
        tile: str = "auto",
        precision: Choice = "auto",
        feedback: float = 0.0,
        colour_match: Match = "off",
        **size: Any,
    ) -> tuple[Tensor]:
        """Return the frames; the model that came in stays as and where it is. ``size`` are the fields of `Size`.

        Raises:
            InvalidOptionError: a value makes no sense for this model or these frames.
            NonFiniteError: the model is damaged; the message has the frame's number.
            MemoryError: not even the smallest tile fits.
        """
        sized = Size(resize, **size).applied(tiles(tile), (images.shape[2], images.shape[1]), upscale_model.scale)
        try:
            with ready(upscale_model, images, sized.tile, precision) as upscaler:
                wanted = FrameSettings(sized, feedback=usable_feedback(upscaler, feedback))
                return (_upscaled(FrameUpscaler(upscaler, wanted), images, NodeProgress(), colour_match),)
        finally:
            host.release_memory()


def _upscaled(upscaler: FrameUpscaler, images: Tensor, progress: NodeProgress, match: Match) -> Tensor:
    width, height = upscaler.output_size((images.shape[2], images.shape[1]))
    out = torch.empty((len(images), height, width, 3), dtype=host.intermediate_dtype())
    preview = Preview(progress, (width, height))
    progress.start(len(images))
    with interruptible():
        for index, image in enumerate(images):
            frame = cleaned(image[None, ..., :3].detach().cpu().float(), f"frame {index + 1}").clamp(0, 1)
            frame = frame.movedim(-1, 1).contiguous()
            result = match_colours(upscaler(frame, progress=progress.part()), frame, match)[0]
            out[index] = result.movedim(0, -1)
            progress.done = index + 1
            progress.show()
            preview.start()
            preview.add(result, 0, 0)
    preview.finish(out[-1], last=True)
    return out


def usable_feedback(upscaler: Upscaler, feedback: float) -> float:
    """The feedback's weight, 0 for a model whose layout has none; the console says so."""
    if feedback and not has_feedback(upscaler):
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
