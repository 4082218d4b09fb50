"""Lossy codecs: ``(H, W, 3)`` 8-bit RGB through an encoder and back."""

from __future__ import annotations

import io
from fractions import Fraction
from importlib import import_module
from typing import Any

import numpy as np
from PIL import Image

from paragon_arch.errors import InvalidOptionError

from .pictures import Pixels

DECODERS = {"libx264": "h264", "libx265": "hevc"}
"""Decoder of each encoder whose name differs."""
GRID = 8
"""Side of a JPEG block in pixels."""


def compress(image: Pixels, form: str, quality: int) -> Pixels:
    """Through a still-picture encoder of Pillow and back: "JPEG" (4:2:0) or "WEBP"."""
    return _through(image, form, quality=quality)


def compress_jpeg(image: Pixels, quality: int, *, halved: bool, offset: tuple[int, int] = (0, 0)) -> Pixels:
    """Through JPEG and back.

    Args:
        image: a patch.
        quality: of libjpeg, 1 to 100.
        halved: colour at half the resolution (4:2:0), else at all of it (4:4:4).
        offset: rows and columns, 0 to 15, by which the patch begins inside the grid of blocks.
    """
    top, left = offset
    padded = np.pad(image, ((top, 0), (left, 0), (0, 0)), mode="reflect") if top or left else image
    decoded = _through(padded, "JPEG", quality=quality, subsampling=2 if halved else 0)
    return np.ascontiguousarray(decoded[top:, left:])


def _through(image: Pixels, form: str, **options: int) -> Pixels:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, form, **options)
    decoded = Image.open(stream)
    with decoded:
        return np.asarray(decoded.convert("RGB"))


def compress_video(image: Pixels, codec: str, crf: int) -> Pixels:
    """Through a video encoder as a key frame and back, 4:2:0; odd sides are padded meanwhile.

    Args:
        image: a picture.
        codec: an encoder of FFmpeg: "libx264", "libx265", "mpeg4", "mpeg2video", ...
        crf: constant rate factor, larger is worse; others than x264 and x265 get the quantiser (crf - 8) / 2.

    Raises:
        InvalidOptionError: PyAV is not installed, or it has no such encoder.
    """
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    try:
        av: Any = import_module("av")
        packets = _encode(av, padded, codec, crf)
        decoder = av.CodecContext.create(DECODERS.get(codec, codec), "r")
        frames = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
        return frames[0].to_ndarray(format="rgb24")[:height, :width]
    except ImportError as error:
        raise InvalidOptionError('degrade.video needs PyAV: pip install -e ".[train]"') from error
    except ValueError as error:  # PyAV's own errors are among them
        raise InvalidOptionError(f"degrade.video_codecs: {codec} cannot be used here ({error})") from error


def _encode(av: Any, image: Pixels, codec: str, crf: int) -> list[Any]:
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt = image.shape[1], image.shape[0], "yuv420p"
    encoder.time_base = Fraction(1, 25)
    encoder.thread_count = 1
    if codec in DECODERS:
        encoder.options = {"crf": str(crf), "preset": "veryfast", "x265-params": "log-level=none"}
        if codec == "libx264":
            del encoder.options["x265-params"]
    else:
        quantiser = str(max(1, min(31, (crf - 8) // 2)))
        encoder.options = {"qmin": quantiser, "qmax": quantiser}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24").reformat(format="yuv420p")
    frame.pts = 0
    return [*encoder.encode(frame), *encoder.encode(None)]
