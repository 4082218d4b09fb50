"""Upscale Video (ParagonSR)."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from spandrel import ImageModelDescriptor

from paragon_arch.errors import InvalidOptionError
from paragon_engine.video import EncodeOptions, FrameSettings, VideoSettings, probe, upscale_video
from paragon_engine.video.encode import CODECS

from . import host
from .progress import NodeProgress
from .scratch import scratch_folder
from .upscale_frames import feedback_widget, usable_feedback
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
from .working import Choice, interruptible

CONTAINERS = ("mp4", "mkv", "mov", "webm")
SEGMENT = 120
"""Frames that a cancelled run loses at most."""


class UpscaleVideo(FollowsPrecisionSetting):
    """Upscale a video frame by frame, with its sound, in constant memory."""

    CATEGORY = "ParagonSR"
    DESCRIPTION = (
        "Upscales a video of any length in constant memory: frames are read, enlarged and written one after the "
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
            "video": ("VIDEO", {"tooltip": "From Load Video. Its sound is kept."}),
        }
        widgets = {**size_widgets(), **speed_widgets(), **feedback_widget(), **_encoding_widgets()}
        return {"required": {**inputs, **widgets}}

    def upscale(
        self,
        upscale_model: ImageModelDescriptor[Any],
        video: host.Video,
        resize: Resize,
        factor: float,
        width: int,
        height: int,
        tile: str,
        precision: Choice,
        feedback: float,
        container: str,
        codec: str,
        quality: int,
    ) -> tuple[host.Video]:
        """Return the video, which lies in ComfyUI's temporary folder; the model stays as and where it is.

        Raises:
            ImageError: the video cannot be read.
            OutputError: the container cannot hold the video or its sound.
            InvalidOptionError: a value makes no sense for this model or video.
            MemoryError: not even the smallest tile fits.
        """
        if container not in CONTAINERS:  # a link may bring any text
            raise InvalidOptionError(f"container {container!r} is unknown: choose {', '.join(CONTAINERS)}")
        with _as_file(video) as source:
            info = probe(source)
            frame = torch.empty(1, info.height, info.width, 3, device="meta")
            plain = tiles(upscale_model, frame, tile)
            sized = Size(resize, factor, width, height).applied(plain, (info.width, info.height))
            frames = FrameSettings(sized, feedback=usable_feedback(upscale_model, feedback))
            encode = EncodeOptions(codec=codec, crf=None if quality < 0 else quality)
            wanted = VideoSettings(frames, encode, subtitles=False, segment=SEGMENT)
            target = _target(source, wanted, container)
            try:
                model = make_worker(upscale_model, frame, plain.tile, precision).model
                with interruptible():
                    upscale_video(model, source, target, wanted, overwrite=True, progress=NodeProgress())
            finally:
                host.release_memory()
        return (host.video_from_file(target),)


@contextmanager
def _as_file(video: host.Video) -> Generator[Path]:
    """The video as a file; one that is in memory only is written to the temporary folder meanwhile."""
    source = video.get_stream_source()
    if isinstance(source, str):
        yield Path(source)
        return
    with scratch_folder() as folder:
        path = folder / "video"
        with path.open("wb") as file:
            shutil.copyfileobj(source, file)
        yield path


def _target(source: Path, wanted: VideoSettings, container: str) -> Path:
    """The same name for the same work, so that a run goes on where an earlier one was cancelled."""
    stamp = host.stamp(source)
    name = hashlib.sha256(f"{source}{stamp}{wanted}".encode()).hexdigest()[:16]
    return host.temporary_folder() / f"paragonsr_{name}.{container}"


def _encoding_widgets() -> dict[str, tuple[Any, ...]]:
    return {
        "container": (
            list(CONTAINERS),
            {
                "default": "mp4",
                "tooltip": "Kind of file. mp4 (default) plays everywhere; mkv holds every kind of sound; webm takes "
                "vp9 and av1 only.",
            },
        ),
        "codec": (
            ["auto", *CODECS],
            {
                "default": "auto",
                "tooltip": "auto (default): the input's where possible, else h264, or vp9 in a webm file. hevc and av1 "
                "are smaller and slower to make. ffv1 is lossless and large.",
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
