"""Encoding frames: the codecs, and one segment of a video as a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from paragon_arch.errors import InvalidOptionError, OutputError

from ..packages import require
from ..pictures.resample import Size
from .source import VideoInfo
from .yuv import Plane, YuvFormat

_SHIFT = 1000
"""Seconds."""


@dataclass(frozen=True)
class Codec:
    """A video codec that we write."""

    name: str
    """On the command line."""
    encoder: str
    """FFmpeg's name."""
    crf: int | None
    """Default quality, lower is better; None where the encoder has no such option."""
    presets: bool = False
    """It has presets."""
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    """Further options of the encoder."""
    container: str = "nut"
    """Format of segments; NUT keeps any time base exactly."""
    alpha: bool = False
    """It keeps transparency. VP9 stores it beside the frames, where segments lose it."""

    def shift(self, time_base: Fraction) -> int:
        """What is added to every PTS in a segment: NUT moves a whole file where one time in it is negative."""
        return round(_SHIFT / time_base) if self.container == "nut" else 0


CODECS = {
    codec.name: codec
    for codec in (
        Codec("h264", "libx264", 16, presets=True),
        Codec("hevc", "libx265", 18, presets=True, options={"x265-params": "log-level=error"}),
        Codec("av1", "libsvtav1", 24, presets=True),
        Codec("vp9", "libvpx-vp9", 20, options={"b": "0", "row-mt": "1"}),
        Codec("ffv1", "ffv1", None, options={"level": "3", "slicecrc": "1"}, alpha=True),
        Codec("prores", "prores_ks", None, container="mov", alpha=True),
    )
}
"""By name. ``ffv1`` is lossless."""

_LIKE = {
    "h264": "h264",
    "hevc": "hevc",
    "av1": "av1",
    "libdav1d": "av1",
    "vp9": "vp9",
    "ffv1": "ffv1",
    "prores": "prores",
}
_WEBM = ("vp9", "av1")
_PLAYED = {".mp4": ("h264", "hevc", "av1"), ".m4v": ("h264", "hevc", "av1"), ".mov": ("h264", "hevc", "prores")}
"""What players expect in a kind of file; "auto" takes nothing else there."""


@dataclass(frozen=True)
class EncodeOptions:
    """How frames are encoded."""

    codec: str = "auto"
    """A key of `CODECS`; "auto" is the input's where players expect it in that kind of file, else h264 (WebM: vp9)."""
    crf: int | None = None
    """Quality, lower is better; None for the codec's default."""
    preset: str | None = None
    """Speed against size, in the encoder's words; None for its default."""
    bits: int | None = None
    """Per sample, 8 or 10; None for those of the input."""
    yuv: YuvFormat | None = None
    """How colours are stored, or the nearest that the encoder has; None for the input's form."""


@dataclass(frozen=True)
class Encoding:
    """Everything that makes an encoder for one video."""

    codec: Codec
    yuv: YuvFormat
    size: Size
    options: Mapping[str, str]


def choose_encoding(info: VideoInfo, target: Path, size: Size, options: EncodeOptions) -> Encoding:
    """The encoder for an input and an output, with the pixel format nearest to the input's.

    Raises:
        InvalidOptionError: an unknown codec, or one that this FFmpeg or the container lacks; crf or preset where the
            codec has none.
    """
    codec = _codec(info, target, options.codec)
    av = require("av", "writing a video")
    try:
        encoder = av.Codec(codec.encoder, "w")
    except ValueError as error:
        raise InvalidOptionError(f"this FFmpeg cannot write {codec.name}: choose another of {_names()}") from error
    if options.crf is not None and codec.crf is None:
        raise InvalidOptionError(f"{codec.name} has no crf: leave it out")
    if options.preset is not None and not codec.presets:
        raise InvalidOptionError(f"{codec.name} has no presets: leave preset out")
    settings = dict(codec.options)
    if codec.crf is not None:
        settings["crf"] = str(codec.crf if options.crf is None else options.crf)
    if options.preset is not None:
        settings["preset"] = options.preset
    stored = options.yuv or info.yuv
    wanted = replace(stored, bits=options.bits or stored.bits, alpha=info.yuv.alpha and codec.alpha)
    return Encoding(codec, _nearest(wanted, _formats(encoder)), size, settings)


def _codec(info: VideoInfo, target: Path, name: str) -> Codec:
    webm = target.suffix.lower() == ".webm"
    if name == "auto":
        name = _LIKE.get(info.codec, "h264")
        if webm and name not in _WEBM:
            name = "vp9"
        if name not in _PLAYED.get(target.suffix.lower(), CODECS):
            name = "h264"
    if name not in CODECS:
        raise InvalidOptionError(f"codec {name!r} is unknown: choose auto, {_names()}")
    if webm and name not in _WEBM:
        raise InvalidOptionError(f"{target}: a WebM file cannot hold {name}: choose vp9 or av1, or write .mkv")
    return CODECS[name]


def _formats(encoder: Any) -> list[str]:
    formats: list[Any] = encoder.video_formats or []
    return [item.name for item in formats]


def _names() -> str:
    return ", ".join(CODECS)


def _nearest(wanted: YuvFormat, names: list[str]) -> YuvFormat:
    """The format among FFmpeg's names that loses least, then that adds least."""
    kinds = ((2, 2), (2, 1), (1, 1))
    own = kinds.index(wanted.sub) if wanted.sub else 0

    def cost(item: YuvFormat) -> tuple[int, int, int]:
        kind = kinds.index(item.sub) if item.sub else 0
        lost = max(0, own - kind) * 2 + max(0, wanted.bits - item.bits)
        return lost, int((item.sub is None) != (wanted.sub is None)), abs(kind - own) * 2 + abs(item.bits - wanted.bits)

    known = [replace(wanted, bits=bits, sub=sub) for bits in (8, 10, 12, 16) for sub in (*kinds, None)]
    usable = [item for item in known if item.pix_fmt in names and (item.sub is not None or wanted.sub is None)]
    if not usable and wanted.alpha:
        return _nearest(replace(wanted, alpha=False), names)
    if not usable:
        raise InvalidOptionError("the encoder takes none of our pixel formats: choose another codec")
    return min(usable, key=cost)


def add_stream(container: Any, info: VideoInfo, encoding: Encoding) -> Any:
    """A video stream with its encoder in a container that is being written.

    Raises:
        OutputError: the encoder does not start.
    """
    os.environ.setdefault("SVT_LOG", "1")  # errors alone; the AV1 encoder has no option for it
    stream = container.add_stream(encoding.codec.encoder, rate=_rate(info), options=dict(encoding.options))
    stream.width, stream.height = encoding.size
    stream.pix_fmt = encoding.yuv.pix_fmt
    context = stream.codec_context
    context.time_base = info.time_base
    context.color_primaries, context.color_trc = info.primaries, info.transfer
    context.colorspace = encoding.yuv.matrix
    context.color_range = 2 if encoding.yuv.full_range else 1
    if info.aspect is not None:
        context.sample_aspect_ratio = info.aspect
    try:
        context.open()
    except require("av", "writing a video").FFmpegError as error:
        raise OutputError(f"the encoder {encoding.codec.encoder} does not start: {error}") from error
    return stream


class SegmentWriter:
    """Encodes some consecutive frames into a file.

    Args:
        path: of the file.
        info: of the input.
        encoding: from `choose_encoding`.

    Raises:
        OutputError: the encoder does not start.
    """

    def __init__(self, path: Path, info: VideoInfo, encoding: Encoding) -> None:
        self._av = require("av", "writing a video")
        self._encoding, self._shift = encoding, encoding.codec.shift(info.time_base)
        self._container: Any = self._av.open(f"file:{path}", "w", format=encoding.codec.container)
        self._stream = add_stream(self._container, info, encoding)

    def write(self, planes: list[Plane], pts: int, duration: int) -> None:
        """Encode a frame."""
        encoding = self._encoding
        frame = self._av.VideoFrame(*encoding.size, encoding.yuv.pix_fmt)
        for plane, data in zip(frame.planes, planes, strict=True):
            rows = np.frombuffer(plane, data.dtype).reshape(plane.height, -1)
            rows[:, : plane.width] = data
        frame.pts, frame.time_base = pts + self._shift, self._stream.codec_context.time_base
        frame.color_range = 2 if encoding.yuv.full_range else 1
        frame.colorspace = encoding.yuv.matrix
        if duration and hasattr(frame, "duration"):
            frame.duration = duration
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Encode what the encoder still holds, and finish the file."""
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def abandon(self) -> None:
        """Close the file, whatever is in it."""
        self._container.close()


def _rate(info: VideoInfo) -> Fraction:
    """The average rate as encoders take it."""
    return (info.rate or Fraction(25)).limit_denominator(1001)
