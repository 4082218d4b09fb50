"""Small real videos for tests."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

av: Any = pytest.importorskip("av", reason="videos need PyAV: pip install av")
TICK = Fraction(1, 12800)


def texture(height: int, width: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A smooth random picture."""
    noise = np.random.default_rng(seed).integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), dtype=np.uint8)
    return np.array(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))


def make_video(
    path: Path,
    frames: int = 14,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    tags: tuple[int, int, int, int] | None = None,
    variable: bool = False,
    rotation: int = 0,
    sound: bool = True,
    options: dict[str, str] | None = None,
    subtitles: Path | None = None,
) -> Path:
    """A panning picture of 64 x 48, with sound, a title and a chapter.

    ``tags`` are primaries, transfer, matrix and range.
    """
    scene = texture(48, 64 + 2 * frames)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        context = stream.codec_context
        context.time_base = TICK
        if tags:
            context.color_primaries, context.color_trc, context.colorspace, context.color_range = tags
        if rotation:
            stream.set_display_rotation(rotation)
        audio = container.add_stream("aac", rate=44100, layout="stereo") if sound else None
        written = _add_text(container, subtitles) if subtitles else None
        container.metadata["title"] = "A title"
        container.set_chapters(
            [{"id": 1, "start": 0, "end": 300, "time_base": Fraction(1, 1000), "metadata": {"title": "One"}}]
        )
        if audio is not None:
            audio.metadata["language"] = "deu"
        end = _write_frames(container, stream, scene, frames, pix_fmt, variable=variable)
        if audio is not None:
            _write_sound(container, audio, end)
        if written:
            for packet in written:
                container.mux(packet)
    return path


def _add_text(container: Any, subtitles: Path) -> list[Any]:
    source = av.open(str(subtitles))
    stream = container.add_stream_from_template(source.streams.subtitles[0])
    packets = [packet for packet in source.demux() if packet.pts is not None]
    for packet in packets:
        packet.stream = stream
    return packets


def _write_frames(
    container: Any, stream: Any, scene: np.ndarray[Any, Any], frames: int, pix_fmt: str, *, variable: bool
) -> int:
    pts = 0
    for index in range(frames):
        part = np.ascontiguousarray(scene[:, 2 * index : 2 * index + 64])
        frame = av.VideoFrame.from_ndarray(part, format="rgb24").reformat(format=pix_fmt)
        frame.pts, frame.time_base = pts, TICK
        pts += 512 * (1 + (index % 3 if variable else 0))
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
    return pts


def _write_sound(container: Any, stream: Any, end: int) -> None:
    samples = int(44100 * end * TICK)
    tone = (np.sin(np.arange(samples) / 20) * 8000).astype(np.int16)
    for start in range(0, samples - 1023, 1024):
        part = np.repeat(tone[start : start + 1024], 2).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(part, format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 44100, start, Fraction(1, 44100)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def times(path: Path) -> list[Fraction]:
    """When each frame is shown, in seconds."""
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def packets(path: Path, kind: str) -> list[tuple[Fraction, bytes]]:
    """Time and content of the packets of the first stream of a kind."""
    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        return [(item.pts * item.time_base, bytes(item)) for item in container.demux(stream) if item.pts is not None]
