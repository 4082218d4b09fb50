"""Reading a video: its frames one by one, and what it says about itself."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from paragon_arch.errors import ImageError

from ..packages import require
from ..pictures import MAX_PIXELS
from ..progress import log
from .yuv import COEFFICIENTS, Plane, YuvFormat

_BT709, _BT601_625, _BT601_525 = 1, 5, 6
_FULL = 2
_INTERLACED_NOTE = "is interlaced: its fields are upscaled as one frame; deinterlace it first for a better result"


CONTAINERS = (
    *("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "mpegts", "mpeg", "mpegvideo", "flv", "ogg"),
    *("asf", "nut", "mxf", "dv", "ivf", "h264", "hevc", "obu", "av1", "m4v", "vc1", "yuv4mpegpipe", "gif", "apng"),
)
"""FFmpeg's names of the formats that are read; none of them refers to other files, as playlists do."""
_LIMITS = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "file"}


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a video before its frames are decoded."""

    path: Path
    width: int
    """Of the frames as they are shown, turned upright."""
    height: int
    time_base: Fraction
    """Seconds of a unit of PTS."""
    rate: Fraction | None
    """Average frames per second."""
    frames: int
    """How many there will be, counted or guessed from the duration; 0 where unknown."""
    codec: str
    """FFmpeg's name, e.g. "h264"."""
    yuv: YuvFormat
    """How colours are stored; for an untagged file with the matrix that players assume."""
    primaries: int
    """H.273 colour primaries; 2 is unspecified."""
    transfer: int
    """H.273 transfer characteristics; 2 is unspecified."""
    rotation: int
    """Degrees counter-clockwise, a multiple of 90, by which stored frames are turned."""
    aspect: Fraction | None
    """Width of a pixel over its height, after turning; None where unknown."""
    alpha: bool = False
    """It has transparency."""


@dataclass(frozen=True)
class Window:
    """A part of a video, in seconds of its own clock."""

    start: float = 0.0
    end: float | None = None
    """None for all that follows."""

    def first(self, unit: Fraction) -> int:
        """The start in units of time."""
        return int(self.start / unit)

    def holds(self, stamp: int, unit: Fraction) -> bool:
        """Whether a time, in units, lies inside."""
        early = bool(self.start) and stamp < self.first(unit)  # a whole file may begin below 0, with a codec's delay
        return not early and not self.is_over(stamp, unit)

    def is_over(self, stamp: int, unit: Fraction) -> bool:
        """Whether nothing from this time on lies inside."""
        return self.end is not None and stamp >= int(self.end / unit)

    def frames(self, info: VideoInfo) -> int:
        """How many frames of a video lie inside, about; 0 where unknown."""
        if not info.frames or not info.rate:
            return info.frames
        end = min(info.frames, round(self.end * info.rate)) if self.end is not None else info.frames
        return max(0, end - round(self.start * info.rate))


WHOLE = Window()


@dataclass(frozen=True)
class Frame:
    """A decoded frame."""

    image: Tensor
    """``(1, 3, H, W)`` float32 in 0..1, in the file's own primaries and transfer."""
    pts: int
    """In units of `VideoInfo.time_base`."""
    duration: int
    """In the same units; 0 where unknown."""
    alpha: Tensor | None = None
    """``(1, 1, H, W)`` float32 in 0..1, 1 is opaque; None if the frames have no transparency of their own."""


@contextmanager
def opened(path: Path) -> Generator[Any, None, None]:
    """PyAV's container of a video.

    Raises:
        ImageError: missing, not a video, of a format that may refer to other files, or PyAV is not installed.
    """
    av = require("av", "reading a video")
    if not path.is_file():
        raise ImageError(f"{path}: {'is a folder, not a video' if path.is_dir() else 'no such file'}")
    try:
        container = av.open(f"file:{path}", container_options=_LIMITS)
    except (av.FFmpegError, ValueError) as error:
        raise ImageError(f"{path}: not a video that FFmpeg reads ({error})") from error
    with container:
        yield container


def video_stream(container: Any, path: Path) -> Any:
    """The first moving video stream; a cover picture is none.

    Raises:
        ImageError: there is none.
    """
    for stream in container.streams.video:
        if not int(stream.disposition) & 0x400 and stream.codec_context is not None:  # AV_DISPOSITION_ATTACHED_PIC
            return stream
    raise ImageError(f"{path}: has no video stream")


def probe(path: Path) -> VideoInfo:
    """What a video says about itself; decodes the first frame.

    Raises:
        ImageError: not a video, damaged, too large, or of an exotic pixel format.
    """
    with opened(path) as container:
        stream = video_stream(container, path)
        first = next(_decoded(container, stream, path), None)
        if first is None:
            raise ImageError(f"{path}: not a single frame can be decoded")
        if first.width * first.height > MAX_PIXELS:
            raise ImageError(f"{path}: frames of {first.width} x {first.height} pixels are over the limit")
        if first.interlaced_frame:
            log.warning("%s %s", path, _INTERLACED_NOTE)
        context = stream.codec_context
        turn = round(getattr(first, "rotation", 0) / 90) * 90 % 360
        width, height = (first.height, first.width) if turn % 180 else (first.width, first.height)
        aspect: Fraction | None = stream.sample_aspect_ratio
        rate: Fraction | None = stream.average_rate or stream.guessed_rate
        return VideoInfo(
            path,
            width,
            height,
            time_base=stream.time_base,
            rate=rate,
            frames=stream.frames or _guessed_frames(container, stream, rate),
            codec=context.name,
            yuv=_format_of(first, path),
            primaries=int(first.color_primaries),
            transfer=int(first.color_trc),
            rotation=turn,
            aspect=1 / aspect if aspect and turn % 180 else aspect or None,
            alpha=_has_alpha(first, stream),
        )


def _has_alpha(frame: Any, stream: Any) -> bool:
    """Whether frames have transparency; that of VP8 and VP9 lies beside them, and FFmpeg's decoder passes it over."""
    named = {key.lower(): value for key, value in stream.metadata.items()}
    return _is_transparent(frame) or named.get("alpha_mode") == "1"


def _is_transparent(frame: Any) -> bool:
    return frame.format.name != "pal8" and any(component.is_alpha for component in frame.format.components)


def read_frames(
    info: VideoInfo,
    device: torch.device,
    *,
    after: int | None = None,
    before: int = 0,
    window: Window = WHOLE,
) -> Iterator[Frame]:
    """Decode frames one by one.

    Args:
        info: from `probe`.
        device: for the frames.
        after: skip the frames up to this PTS, without decoding them where the file can be searched.
        before: so many frames before that place are given nevertheless.
        window: the part of the video that is wanted.

    Raises:
        ImageError: damaged beyond what the decoder can skip.
    """
    with opened(info.path) as container:
        stream = video_stream(container, info.path)
        stream.thread_type = "AUTO"
        if after is not None or window.start:
            first = window.first(info.time_base)
            _seek(container, stream, info, first if after is None else max(after, first), before)
        late: list[Any] = []
        clock = _Clock()
        for raw in _decoded(container, stream, info.path):
            pts = clock(raw, info)
            if window.is_over(pts, info.time_base):
                return
            if not window.holds(pts, info.time_base):
                continue
            if after is not None and pts <= after:
                late = [*late, raw][-before:] if before else []
                continue
            for old in late:
                yield _frame(old, info, device, old.pts)
            late = []
            yield _frame(raw, info, device, pts)


class _Clock:
    """PTS that exist and rise, which those of damaged files do not."""

    def __init__(self) -> None:
        self._last: int | None = None

    def __call__(self, raw: Any, info: VideoInfo) -> int:
        step = max(1, round(1 / (info.rate or 25) / info.time_base))
        pts: int | None = raw.pts
        if pts is None:
            pts = 0 if self._last is None else self._last + step
        elif self._last is not None and pts <= self._last:
            pts = self._last + 1
        raw.pts = self._last = pts
        return pts


def _seek(container: Any, stream: Any, info: VideoInfo, after: int, before: int) -> None:
    margin = round(before / (info.rate or 25) / info.time_base)
    start = stream.start_time or 0
    if after - margin > start:
        container.seek(after - margin, stream=stream, backward=True)


def _decoded(container: Any, stream: Any, path: Path) -> Iterator[Any]:
    """Frames as they come; packets that the decoder cannot take are skipped, and counted at the end."""
    av = require("av", "reading a video")
    damaged = 0
    try:
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                damaged += 1
                continue
            yield from frames
    except av.FFmpegError as error:
        raise ImageError(f"{path}: damaged: {error}") from error
    if damaged:
        log.warning("%s: %d damaged packets of its video were skipped", path, damaged)


def _frame(raw: Any, info: VideoInfo, device: torch.device, pts: int) -> Frame:
    if raw.width * raw.height != info.width * info.height:
        raise ImageError(f"{info.path}: the frames change their size, which is not supported")
    alpha = None
    if raw.format.is_rgb:
        whole = _rgba(raw, alpha=info.yuv.alpha).to(device)
        image, alpha = whole[:, :3], whole[:, 3:] if info.yuv.alpha else None
    else:
        planes = planes_of(raw, info.yuv)
        image = info.yuv.to_rgb(planes, device)
        alpha = info.yuv.alpha_of(planes, device) if info.yuv.alpha else None
    turns, duration = info.rotation // 90, int(getattr(raw, "duration", 0) or 0)
    image, alpha = (x if x is None or not turns else torch.rot90(x, turns, (2, 3)) for x in (image, alpha))
    assert image is not None
    return Frame(image, pts, duration, alpha)


def _rgba(raw: Any, *, alpha: bool) -> Tensor:
    """A frame of RGB as (1, 3 or 4, H, W)."""
    deep = max(component.bits for component in raw.format.components) > 8
    name = ("rgba64le" if deep else "rgba") if alpha else ("rgb48le" if deep else "rgb24")
    scaled = np.true_divide(raw.to_ndarray(format=name), 65535 if deep else 255, dtype=np.float32)
    return torch.from_numpy(scaled).permute(2, 0, 1)[None]


def planes_of(raw: Any, yuv: YuvFormat) -> list[Plane]:
    """The planes of a frame as arrays (rows, columns)."""
    if raw.format.name not in (yuv.pix_fmt, yuv.pix_fmt.replace("yuv", "yuvj")):
        raw = raw.reformat(format=yuv.pix_fmt)
    kind = np.uint8 if yuv.bits == 8 else np.dtype("<u2")
    planes: list[Plane] = []
    for index in range(1 if yuv.sub is None else 4 if yuv.alpha else 3):
        plane = raw.planes[index]
        data = np.frombuffer(plane, kind).reshape(plane.height, -1)
        planes.append(data[:, : plane.width])
    return planes


def _format_of(frame: Any, path: Path) -> YuvFormat:
    """How a frame stores its colours; other formats than planar YUV are brought to the nearest one."""
    name, components = frame.format.name, frame.format.components
    bits = max(component.bits for component in components)
    if bits > 16:
        raise ImageError(f"{path}: pixel format {name} is not supported")
    chroma = next((component for component in components if component.is_chroma), None)
    if chroma is None:
        sub = None if name.startswith("gray") else (1, 1)
    else:
        sub = (max(1, round(frame.width / chroma.width)), max(1, round(frame.height / chroma.height)))
        sub = sub if sub in ((2, 2), (2, 1), (1, 1)) else (1, 1)
    matrix = int(frame.colorspace)
    if matrix not in COEFFICIENTS:
        matrix = _assumed_matrix(frame.width, frame.height)
    full = int(frame.color_range) == _FULL or name.startswith(("yuvj", "gbr", "rgb", "bgr"))
    depth = next(depth for depth in (8, 10, 12, 16) if depth >= bits)
    return YuvFormat(depth, sub, matrix, full, sub is not None and _is_transparent(frame))


def _assumed_matrix(width: int, height: int) -> int:
    """What players assume for an untagged file."""
    if width >= 1280 or height > 576:
        return _BT709
    return _BT601_625 if height > 480 else _BT601_525


def _guessed_frames(container: Any, stream: Any, rate: Fraction | None) -> int:
    if not rate:
        return 0
    if stream.duration:
        return round(stream.duration * stream.time_base * rate)
    return round(container.duration / 1_000_000 * rate) if container.duration else 0
