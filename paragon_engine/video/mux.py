"""Putting the encoded segments and everything else of the input together."""

from __future__ import annotations

import heapq
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

from paragon_arch.errors import OutputError
from paragon_arch.files.atomic import atomic_path

from ..packages import require
from ..progress import log
from .encode import Encoding, add_stream
from .source import VideoInfo, opened, video_stream

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""Extensions of outputs, and FFmpeg's names."""
_FASTSTART = {"movflags": "+faststart"}
_OUTDATED = ("BPS", "DURATION", "NUMBER_OF_", "_STATISTICS_", "ENCODER", "ROTATE", "HANDLER_NAME", "VENDOR_ID")
"""Beginnings of metadata keys that describe the old video stream or file."""
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
        )
    return CONTAINERS[extension]


def copied_streams(container: Any, video: Any, *, audio: bool, subtitles: bool) -> list[Any]:
    """The streams of an input that are copied as they are."""
    kinds = {"audio": audio, "subtitle": subtitles, "attachment": True}
    return [stream for stream in container.streams if stream is not video and kinds.get(stream.type, False)]


def check_streams(info: VideoInfo, target: Path, *, audio: bool, subtitles: bool) -> None:
    """Refuse, before any work, a container that cannot hold the input's sound or subtitles.

    Raises:
        OutputError: it cannot; the message says what can.
    """
    av = require("av", "writing a video")
    with opened(info.path) as source:
        streams = copied_streams(source, video_stream(source, info.path), audio=audio, subtitles=subtitles)
        needed = {(stream.type, stream.codec_context.name) for stream in streams if stream.type != "attachment"}
        attached = any(stream.type == "attachment" for stream in streams)
    held = _held(av, container_format(target))
    for kind, codec in sorted(needed):
        if not _names_of(av, codec) & held:
            option = "--no-audio" if kind == "audio" else "--no-subtitles"
            raise OutputError(f"{target}: cannot hold {kind} of type {codec}: write .mkv, or leave it out ({option})")
    if attached and container_format(target) not in ("matroska", "webm"):
        log.warning("%s: fonts and other attachments do not fit into this format and are left out", target)


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
    *,
    audio: bool,
    subtitles: bool,
    overwrite: bool,
) -> None:
    """Write the finished video: segments, and sound, subtitles, attachments, chapters and metadata of the input.

    Raises:
        OutputExistsError: the file exists and ``overwrite`` is False.
        OutputError: it cannot be written.
    """
    av = require("av", "writing a video")
    name = container_format(target)
    with atomic_path(target, overwrite=overwrite) as temporary, ExitStack() as stack:
        source = stack.enter_context(opened(info.path))
        video = video_stream(source, info.path)
        options = _FASTSTART if name in ("mp4", "mov") else {}
        out = stack.enter_context(av.open(f"file:{temporary}", "w", format=name, options=options))
        try:
            _copy(av, source, video, out, info, encoding, segments, audio=audio, subtitles=subtitles, name=name)
        except (av.FFmpegError, ValueError) as error:
            raise OutputError(f"{target}: cannot be written: {error}") from error


def _copy(
    av: Any,
    source: Any,
    video: Any,
    out: Any,
    info: VideoInfo,
    encoding: Encoding,
    segments: Sequence[Path],
    *,
    audio: bool,
    subtitles: bool,
    name: str,
) -> None:
    # An encoder that encodes nothing: its headers are those of the segments, which its twins have made.
    new = add_stream(out, info, encoding)
    _describe(new, video)
    streams: dict[int, Any] = {}
    for stream in copied_streams(source, video, audio=audio, subtitles=subtitles):
        if stream.type == "attachment" and name != "matroska":
            continue
        streams[stream.index] = out.add_stream_from_template(stream)
        _describe(streams[stream.index], stream)
    out.metadata.update({key: value for key, value in source.metadata.items() if not _outdated(key)})
    out.set_chapters(source.chapters())
    moving = [stream for stream in source.streams if stream.index in streams and stream.type != "attachment"]
    others = _packets(source, moving, streams) if moving else iter(())
    for _, _, packet in heapq.merge(
        _video_packets(av, segments, new, info, encoding), others, key=lambda item: item[:2]
    ):
        out.mux(packet)


def _describe(new: Any, old: Any) -> None:
    new.metadata.update({key: value for key, value in old.metadata.items() if not _outdated(key)})
    new.disposition = old.disposition


def _outdated(key: str) -> bool:
    return key.upper().startswith(_OUTDATED) or key.lower() in ("major_brand", "minor_version", "compatible_brands")


def _packets(source: Any, streams: list[Any], targets: dict[int, Any]) -> Iterator[_Timed]:
    """Packets of the input in their order, with a time that never falls."""
    latest = Fraction(-(10**9))
    for packet in source.demux(streams):
        if packet.dts is None and packet.pts is None:  # the end of a stream
            continue
        stamp = packet.pts if packet.dts is None else packet.dts
        latest = max(latest, stamp * packet.time_base)
        packet.stream = targets[packet.stream.index]
        yield latest, 1, packet


def _video_packets(
    av: Any, segments: Sequence[Path], stream: Any, info: VideoInfo, encoding: Encoding
) -> Iterator[_Timed]:
    """Packets of all segments with decoding times that go through."""
    unit, shift = info.time_base, encoding.codec.shift(info.time_base)
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
