"""Upscale Video (ParagonSR)."""

from __future__ import annotations

import re
from typing import Any

import torch
from spandrel import ImageModelDescriptor

from paragon_arch.errors import InvalidOptionError, OutputError
from paragon_engine.video import EncodeOptions, FrameSettings, VideoSettings, probe, upscale_video
from paragon_engine.video.encode import CODECS

from . import host
from .progress import NodeProgress
from .sizes import Size, limit_widget, resize_widget, size_widgets
from .upscale_frames import feedback_widget, usable_feedback
from .upscaling import FollowsPrecisionSetting, model_input, speed_widgets, tiles
from .video_input import Source, as_source, target_for
from .working import Choice, interruptible, ready

CONTAINERS = ("mp4", "mkv", "mov", "webm")
_OPTION = re.compile(r", or leave it out \(--[a-z-]+\)")
"""Advice that only the command line can follow."""
SEGMENT = 120
"""Frames that a cancelled run loses at most."""


class UpscaleVideo(FollowsPrecisionSetting):
    """Upscale a video frame by frame, with its sound, in constant memory."""

    CATEGORY = "ParagonSR/video"
    DESCRIPTION = (
        "Makes a video of any length larger in constant memory: frames are read, upscaled and written one after the "
        "other, sound and timing are kept. What was done survives a cancel: the next run goes on from there."
    )
    FUNCTION = "upscale"
    RETURN_TYPES = ("VIDEO",)
    RETURN_NAMES = ("video",)
    OUTPUT_TOOLTIPS = ("The upscaled video, for Save Video.",)

    @classmethod
    def INPUT_TYPES(cls) -> host.Inputs:  # noqa: N802  (ComfyUI's name)
        """The node's widgets, in ComfyUI's form."""
        inputs = {
            **model_input(),
            "video": ("VIDEO", {"tooltip": "From Load Video, Trim Video or Create Video. Its sound is kept."}),
        }
        widgets = {**size_widgets(), **speed_widgets(), **feedback_widget(), **_encoding_widgets(), **limit_widget()}
        return {"required": {**inputs, **resize_widget()}, "optional": widgets}

    def upscale(
        self,
        upscale_model: ImageModelDescriptor[Any],
        video: host.Video,
        resize: str,
        tile: str = "auto",
        precision: Choice = "auto",
        feedback: float = 0.0,
        container: str = "mp4",
        codec: str = "auto",
        quality: int = -1,
        **size: Any,
    ) -> tuple[host.Video]:
        """Return the video, which lies in ComfyUI's temporary folder; the model stays as and where it is.

        ``size`` are the fields of `Size`.

        Raises:
            ImageError: the video cannot be read.
            OutputError: the container cannot hold the video or its sound.
            InvalidOptionError: a value makes no sense for this model or video.
            NonFiniteError: the model is damaged; the message has the frame's number.
            MemoryError: not even the smallest tile fits.
        """
        if container not in CONTAINERS:  # a link may bring any text
            raise InvalidOptionError(f"container {container!r} is unknown: choose {', '.join(CONTAINERS)}")
        with as_source(video, container) as source:
            info = probe(source.path)
            frame = torch.empty(1, info.height, info.width, 3, device="meta")
            sized = Size(resize, **size).applied(tiles(tile), (info.width, info.height), upscale_model.scale)
            encode = EncodeOptions(
                codec=_codec(codec, source, container), crf=None if quality < 0 else quality, yuv=source.yuv
            )
            try:
                with ready(upscale_model, frame, sized.tile, precision) as upscaler, interruptible():
                    frames = FrameSettings(sized, feedback=usable_feedback(upscaler, feedback))
                    wanted = VideoSettings(frames, encode, subtitles=False, window=source.window, segment=SEGMENT)
                    target = target_for(source, wanted, container)
                    upscale_video(upscaler, source.path, target, wanted, overwrite=True, progress=NodeProgress())
            except OutputError as error:
                raise OutputError(_OPTION.sub("", str(error))) from error
            finally:
                host.release_memory()
        return (host.video_from_file(target),)


def _codec(chosen: str, source: Source, container: str) -> str:
    """Pictures of Create Video have no codec of their own that "auto" could go on with."""
    return "h264" if chosen == "auto" and source.yuv is not None and container != "webm" else chosen


def _encoding_widgets() -> dict[str, tuple[Any, ...]]:
    return {
        "container": (
            list(CONTAINERS),
            {
                "default": "mp4",
                "tooltip": "Kind of file. mp4 (default) plays nearly everywhere; mkv holds every kind of sound; webm "
                "takes vp9 and av1 only. Set Save Video to the same kind: its auto makes mp4 of it in older ComfyUI.",
            },
        ),
        "codec": (
            ["auto", *CODECS],
            {
                "default": "auto",
                "tooltip": "auto (default): the input's where players expect it in that kind of file, else h264; in "
                "webm vp9. hevc and av1 are smaller and slower to make. ffv1 (mkv) is lossless and large.",
            },
        ),
        "quality": (
            "INT",
            {
                "default": -1,
                "min": -1,
                "max": 63,
                "advanced": True,
                "tooltip": "CRF: smaller is better and larger on disk. -1 (default): the codec's own, near to lossless "
                "for the eye.",
            },
        ),
    }
