"""Putting the encoded segments and everything else of the input together."""

from __future__ import annotations

import heapq
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from paragon_arch.errors import OutputError
from paragon_arch.files.atomic import atomic_path

from ..packages import require
from ..progress import log
from .encode import Encoding, add_stream
from .source import WHOLE, VideoInfo, Window, opened, video_stream

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""Extensions of outputs, and FFmpeg's names."""
_FASTSTART = {"movflags": "+faststart"}
_OUTDATED = (
    "BPS",
    "DURATION",
    "NUMBER_OF_",
    "_STATISTICS_",
    "ENCODER",
    "ROTATE",
    "HANDLER_NAME",
    "VENDOR_ID",
    "ALPHA_MODE",
)
"""Beginnings of metadata keys that describe the old video stream or file."""
_LOOKED_AT = 2000
"""Packets in which the first one of each stream is looked for."""
_Timed = tuple[Fraction, int, Any]


def container_format(target: Path) -> str:
    """FFmpeg's name of the format for an output.

    Raises:
        OutputError: an extension that is not in `CONTAINERS`.
    """
    extension = target.suffix.lower()
    if extension not in CONTAINERS:
        raise OutputError(
            f"{target}: cannot write {extension or 'a file without extension'}: use {', '.join(CONTAINERS)}"
            " (GIF, WebP and APNG are written from animations alone)"
        )
    return CONTAINERS[extension]


_COVER = 0x400  # AV_DISPOSITION_ATTACHED_PIC
_COVER_NAMES = {"mjpeg": ("cover.jpg", "image/jpeg"), "png": ("cover.png", "image/png")}
_OPTIONS = {"audio": "--no-audio", "subtitle": "--no-subtitles"}


def is_cover(stream: Any) -> bool:
    """Whether a stream is a picture of the whole, not a video."""
    return stream.type == "video" and bool(int(stream.disposition) & _COVER)


@dataclass(frozen=True)
class Copied:
    """What of an input is copied as it is. Streams are named by their index."""

    streams: tuple[int, ...] = ()
    """Sound, subtitles, further videos, and covers that the output holds as streams."""
    attached: tuple[int, ...] = ()
    """Fonts and covers that the output holds as attachments."""


def plan_copies(info: VideoInfo, encoding: Encoding, target: Path, *, audio: bool, subtitles: bool) -> Copied:
    """Find out, before any work, what of the input's streams the output can hold, by writing its beginning to memory.

    Raises:
        OutputError: it cannot hold the video's codec, the sound or the subtitles; the message says what can. Other
            streams that it cannot hold are left out with a warning.
    """
    av = require("av", "writing a video")
    name = container_format(target)
    _check_video(av, name, info, encoding, target)
    streams: list[int] = []
    attached: list[int] = []
    lost: list[str] = []
    with opened(info.path) as source:
        video = video_stream(source, info.path)
        heads = _first_packets(source, video)
        for stream in source.streams:
            if stream is video or not {"audio": audio, "subtitle": subtitles}.get(stream.type, True):
                continue
            if _attaches(stream, name):
                attached.append(stream.index)
            elif stream.type in ("audio", "subtitle", "video") and stream.codec_context is not None:
                if _fits(av, name, info, encoding, stream, heads.get(stream.index)):
                    streams.append(stream.index)
                    if stream.type == "video" and not is_cover(stream):
                        log.warning("%s: only the first video is enlarged; another one is copied as it is", info.path)
                elif stream.type in _OPTIONS:
                    raise OutputError(
                        f"{target}: cannot hold {stream.type} of type {stream.codec_context.name}: write .mkv, or "
                        f"leave it out ({_OPTIONS[stream.type]})"
                    )
                else:
                    lost.append("a cover" if is_cover(stream) else f"a second video ({stream.codec_context.name})")
            else:
                lost.append("fonts and other attachments" if stream.type == "attachment" else f"{stream.type} data")
    if lost:
        log.warning("%s: left out, because the format cannot hold it: %s", target, ", ".join(dict.fromkeys(lost)))
    return Copied(tuple(streams), tuple(attached))


def _check_video(av: Any, name: str, info: VideoInfo, encoding: Encoding, target: Path) -> None:
    try:
        with av.open(io.BytesIO(), "w", format=name) as container:
            add_stream(container, info, encoding)
            container.start_encoding()
    except (av.FFmpegError, ValueError) as error:
        raise OutputError(
            f"{target}: cannot hold video of type {encoding.codec.name}: write .mkv, or choose another codec (--codec)"
        ) from error


def _attaches(stream: Any, name: str) -> bool:
    """Whether the output holds a stream as an attachment: Matroska does with fonts and covers."""
    if name != "matroska" or not hasattr(require("av", "writing a video").container.OutputContainer, "add_attachment"):
        return name == "matroska" and stream.type == "attachment"
    return stream.type == "attachment" or (is_cover(stream) and stream.codec_context.name in _COVER_NAMES)


def _first_packets(source: Any, video: Any) -> dict[int, Any]:
    """The first packet of each stream that has one near the beginning."""
    others = [stream for stream in source.streams if stream is not video and stream.type != "attachment"]
    heads: dict[int, Any] = {}
    if not others:
        return heads
    for count, packet in enumerate(source.demux(others)):
        if packet.size and not packet.is_corrupt:
            heads.setdefault(packet.stream.index, packet)
        if len(heads) == len(others) or count > _LOOKED_AT:
            break
    return heads


def _fits(av: Any, name: str, info: VideoInfo, encoding: Encoding, stream: Any, packet: Any) -> bool:
    """Whether a container with the video and a copy of a stream can be begun."""
    if not _names_of(av, stream.codec_context.name) & _held(av, name):
        return False
    try:
        with av.open(io.BytesIO(), "w", format=name) as container:
            add_stream(container, info, encoding)
            new = container.add_stream_from_template(stream)
            new.disposition = stream.disposition
            container.start_encoding()
            if packet is not None:
                packet.stream = new
                container.mux(packet)
    except (av.FFmpegError, ValueError):
        return packet is not None and _begins(av, name, info, encoding, stream)
    return True


def _begins(av: Any, name: str, info: VideoInfo, encoding: Encoding, stream: Any) -> bool:
    """Whether the header alone can be written: then it is the packet that is damaged."""
    return _fits(av, name, info, encoding, stream, None)


def _held(av: Any, name: str) -> set[str]:
    """Names of the codecs that a container format holds, asked from FFmpeg without writing anything."""
    with av.open(io.BytesIO(), "w", format=name) as container:
        return set(container.supported_codecs)


def _names_of(av: Any, decoder: str) -> set[str]:
    """A decoder's name and that of its codec: libdav1d decodes av1."""
    return {decoder, av.Codec(decoder, "r").canonical_name}


def join(
    info: VideoInfo,
    encoding: Encoding,
    segments: Sequence[Path],
    target: Path,
    copied: Copied,
    *,
    overwrite: bool,
    window: Window = WHOLE,
) -> None:
    """Write the finished video: segments, and what is copied of the input, its chapters and metadata.

    Times begin at zero, if those of the input begin later, as those of recordings do.

    Of a ``window`` of the input, times begin with 0, and there are no chapters.

    Raises:
        OutputExistsError: the file exists and ``overwrite`` is False.
        OutputError: it cannot be written.
    """
    av = require("av", "writing a video")
    name = container_format(target)
    with atomic_path(target, overwrite=overwrite) as temporary, ExitStack() as stack:
        source = stack.enter_context(opened(info.path))
        options = _FASTSTART if name in ("mp4", "mov") else {}
        out = stack.enter_context(av.open(f"file:{temporary}", "w", format=name, options=options))
        try:
            _Join(av, source, out, info, encoding, copied, window).run(segments)
        except (av.FFmpegError, ValueError) as error:
            raise OutputError(f"{target}: cannot be written: {error}") from error


class _Join:
    """One output in the making."""

    def __init__(
        self, av: Any, source: Any, out: Any, info: VideoInfo, encoding: Encoding, copied: Copied, window: Window
    ) -> None:
        self._av, self._source, self._out, self._info, self._encoding = av, source, out, info, encoding
        self._window = window
        video = video_stream(source, info.path)
        # An encoder that encodes nothing: its headers are those of the segments, which its twins have made.
        self._video = add_stream(out, info, encoding)
        _describe(self._video, video)
        self._streams: dict[int, Any] = {}
        for stream in source.streams:
            if stream.index in copied.streams:
                self._streams[stream.index] = out.add_stream_from_template(stream)
                _describe(self._streams[stream.index], stream)
        for index in copied.attached:
            self._attach(source.streams[index])
        self._moving = [stream for stream in source.streams if stream.index in self._streams]
        self._offset = _beginning([video, *(stream for stream in self._moving if not is_cover(stream))])
        self._damaged: Counter[str] = Counter()

    def _attach(self, stream: Any) -> None:
        """Copy a font or cover into an attachment."""
        if not is_cover(stream):
            _describe(self._out.add_stream_from_template(stream), stream)
            return
        name, kind = _COVER_NAMES[stream.codec_context.name]
        with opened(self._info.path) as other:  # its packet comes once, and the demuxer is to go on from its beginning
            data = next((bytes(item) for item in other.demux(other.streams[stream.index]) if item.size), b"")
        if data:
            self._out.add_attachment(stream.metadata.get("filename", name), stream.metadata.get("mimetype", kind), data)

    def run(self, segments: Sequence[Path]) -> None:
        """Write everything."""
        out, source = self._out, self._source
        out.metadata.update({key: value for key, value in source.metadata.items() if not _outdated(key)})
        if self._window == WHOLE:
            out.set_chapters([moved(chapter, self._offset) for chapter in source.chapters()])
        others = self._packets() if self._moving else iter(())
        first = self._first(self._info.time_base)
        video = _video_packets(self._av, segments, self._video, self._info, self._encoding, first)
        for _, copied, packet in heapq.merge(video, others, key=lambda item: item[:2]):
            if copied:
                self._copy(packet)
            else:
                out.mux(packet)
        for kind, count in sorted(self._damaged.items()):
            log.warning("%s: %d damaged packets of its %s were skipped", self._info.path, count, kind)

    def _copy(self, packet: Any) -> None:
        """Write a packet of the input, unless it is so damaged that the output's format cannot hold it."""
        kind = packet.stream.type
        try:
            self._out.mux(packet)
        except self._av.error.InvalidDataError:
            self._damaged[kind] += 1

    def _first(self, unit: Fraction) -> int:
        """The time of the input, in units, that becomes 0."""
        return round(self._offset / unit) if self._window == WHOLE else self._window.first(unit)

    def _packets(self) -> Iterator[_Timed]:
        """Packets of the input in their order, with a time that never falls."""
        latest = Fraction(-(10**9))
        if self._window.start:
            self._source.seek(max(0, int((self._window.start - 1) * 1_000_000)))
        for packet in self._source.demux(self._moving):
            cover = is_cover(packet.stream) and packet.size
            if cover:
                packet.pts = packet.dts = 0
            if packet.dts is None and packet.pts is None:  # the end of a stream
                continue
            stamp = packet.pts if packet.dts is None else packet.dts
            if not cover:
                if not self._window.holds(stamp, packet.time_base):
                    continue
                first = self._first(packet.time_base)
                packet.pts = None if packet.pts is None else packet.pts - first
                packet.dts = None if packet.dts is None else packet.dts - first
                stamp -= first
            latest = max(latest, stamp * packet.time_base)
            packet.stream = self._streams[packet.stream.index]
            yield latest, 1, packet


def _beginning(streams: Sequence[Any]) -> Fraction:
    """Seconds by which all times are late; 0 where one is at zero or before."""
    starts = [stream.start_time * stream.time_base for stream in streams if stream.start_time is not None]
    return max(Fraction(0), min(starts, default=Fraction(0)))


def moved(chapter: dict[str, Any], offset: Fraction) -> dict[str, Any]:
    """A chapter that begins so much earlier."""
    ticks = round(offset / chapter["time_base"])
    start, end = (max(0, chapter[key] - ticks) for key in ("start", "end"))
    return {**chapter, "start": start, "end": max(start, end)}


def _describe(new: Any, old: Any) -> None:
    new.metadata.update({key: value for key, value in old.metadata.items() if not _outdated(key)})
    new.disposition = old.disposition


def _outdated(key: str) -> bool:
    return key.upper().startswith(_OUTDATED) or key.lower() in ("major_brand", "minor_version", "compatible_brands")


def _video_packets(
    av: Any, segments: Sequence[Path], stream: Any, info: VideoInfo, encoding: Encoding, first: int
) -> Iterator[_Timed]:
    """Packets of all segments with decoding times that go through; the time ``first`` becomes 0."""
    unit = info.time_base
    shift = encoding.codec.shift(unit) + first
    times = decoding_times([packet.pts for packet in _segment_packets(segments, unit, shift)])
    for packet in _segment_packets(segments, unit, shift):
        packet.dts = next(times)
        packet.stream = stream
        yield packet.dts * unit, 0, packet


def _segment_packets(segments: Sequence[Path], unit: Fraction, shift: int) -> Iterator[Any]:
    """Packets of all segments in decoding order, with the PTS of the input."""
    for path in segments:
        with opened(path) as container:
            for packet in container.demux(video=0):
                if packet.pts is None:  # the end of the stream
                    continue
                packet.pts = _in(packet.pts, packet.time_base, unit) - shift
                packet.duration = _in(packet.duration or 0, packet.time_base, unit)
                packet.time_base = unit
                yield packet


def _in(value: int, unit: Fraction, wanted: Fraction) -> int:
    return round(value * unit / wanted)


def decoding_times(stamps: Iterable[int]) -> Iterator[int]:
    """DTS for packets whose PTS come in decoding order: rising, and never after the PTS.

    They are the sorted PTS, delayed by as many frames as reordering needs.
    """
    stamps = list(stamps)
    ordered = sorted(stamps)
    rank = {pts: index for index, pts in enumerate(ordered)}
    delay = max((index - rank[pts] for index, pts in enumerate(stamps)), default=0)
    step = max(1, ordered[1] - ordered[0]) if len(ordered) > 1 else 1
    for index in range(len(stamps)):
        yield ordered[index - delay] if index >= delay else ordered[0] - (delay - index) * step
