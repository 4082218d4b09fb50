"""What travels through a VIDEO link, as a file that the engine reads: cut as it is cut, and compressed no further."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from paragon_engine.packages import require
from paragon_engine.video import Window
from paragon_engine.video.yuv import YuvFormat

from . import host
from .scratch import scratch_folder

_PLAYABLE = YuvFormat(8, (2, 2), matrix=1, full_range=False)
"""What players take: 4:2:0 by BT.709."""
_SRGB, _BT709 = 13, 1
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
_OPUS_RATE = 48000


@dataclass(frozen=True)
class Source:
    """A video on the disk."""

    path: Path
    window: Window
    """The part of it that the workflow wants."""
    key: str
    """Equal for equal videos, as far as that can be told without reading them."""
    yuv: YuvFormat | None = None
    """How the output has to store colours; None for the input's own way."""


@contextmanager
def as_source(video: host.Video, container: str) -> Generator[Source]:
    """The video as a file, for an output in a kind of container.

    One that is in memory only is written to the temporary folder meanwhile. Pictures and sound of Create Video are
    written without loss: asking for their stream would compress them, and fails in cores before 0.16.
    """
    if not host.is_encoded(video):
        with scratch_folder() as folder:
            path = folder / "components.mkv"
            bits = 10 if getattr(video, "get_bit_depth", lambda: 8)() > 8 else 8
            write_components(video.get_components(), path, "libopus" if container == "webm" else "aac")
            yuv = YuvFormat(bits, _PLAYABLE.sub, _PLAYABLE.matrix, _PLAYABLE.full_range)
            yield Source(path, Window(), str(path), yuv)
        return
    stream, window = video.get_stream_source(), _window(video)
    if isinstance(stream, str):
        yield Source(Path(stream), window, stream + host.stamp(Path(stream)))
        return
    with scratch_folder() as folder:
        path = folder / "video"
        with path.open("wb") as file:
            shutil.copyfileobj(stream, file)
        yield Source(path, window, str(path))


def target_for(source: Source, wanted: object, container: str, model: str) -> Path:
    """The same name for the same work of the same model, so that a run goes on where an earlier one was cancelled."""
    name = hashlib.sha256(f"{source.key}{wanted}{model}".encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return host.temporary_folder() / f"paragonsr_{name}.{container}"


def _window(video: host.Video) -> Window:
    """What Trim Video left of a file, by the accessor of newer cores or the fields of those just before."""
    ask = getattr(video, "get_active_trim_window", None)
    if ask is not None:
        start, duration = ask()
    else:
        start, duration = (getattr(video, f"_VideoFromFile__{name}", 0) or 0 for name in ("start_time", "duration"))
        start = max(0.0, start if start >= 0 else float(getattr(video, "get_duration")()) + start)  # noqa: B009
    return Window(float(start), float(start + duration) if duration else None)


def write_components(components: Any, path: Path, sound: Literal["aac", "libopus"]) -> None:
    """Write pictures ``(N, H, W, C)`` as FFV1 in 16 bits, and the sound, if there is any."""
    av = require("av", "writing a video")
    rate = Fraction(components.frame_rate).limit_denominator(1001)
    images: Tensor = components.images
    with av.open(f"file:{path}", "w", format="matroska") as out:
        stream = out.add_stream("ffv1", rate=rate)
        stream.width, stream.height, stream.pix_fmt = images.shape[2], images.shape[1], "gbrp16le"
        stream.codec_context.color_primaries, stream.codec_context.color_trc = _BT709, _SRGB
        voice = _sound_stream(out, components.audio, sound) if components.audio else None
        for index, image in enumerate(images):
            host.raise_if_interrupted()
            frame = av.VideoFrame.from_ndarray(_levels(image), format="rgb48le").reformat(format="gbrp16le")
            frame.pts, frame.time_base = index, 1 / rate
            frame.color_primaries, frame.color_trc = _BT709, _SRGB
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if voice is not None:
            _write_sound(av, out, voice, components.audio, float(len(images) / rate))


def _levels(image: Tensor) -> np.ndarray[Any, np.dtype[np.uint16]]:
    values = image[..., :3].detach().cpu().float().clamp(0, 1).numpy()
    values = np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values
    return np.ascontiguousarray((values * 65535 + 0.5).astype(np.uint16))


def _sound_stream(out: Any, audio: dict[str, Any], codec: str) -> Any:
    layout = _LAYOUTS.get(audio["waveform"].shape[1], "stereo")
    rate = _OPUS_RATE if codec == "libopus" else int(audio["sample_rate"])
    return out.add_stream(codec, rate=rate, layout=layout)


def _write_sound(av: Any, out: Any, stream: Any, audio: dict[str, Any], seconds: float) -> None:
    """Encode the sound as far as the pictures go."""
    rate = int(audio["sample_rate"])
    layout = _LAYOUTS.get(audio["waveform"].shape[1], "stereo")
    wave = audio["waveform"][0, :, : int(np.ceil(seconds * rate))].detach().cpu().float()
    wave = wave if wave.shape[0] in _LAYOUTS else wave[:2]
    frame = av.AudioFrame.from_ndarray(wave.contiguous().numpy(), format="fltp", layout=layout)
    frame.sample_rate, frame.pts = rate, 0
    resampler = av.AudioResampler(format=stream.codec_context.format, layout=layout, rate=stream.rate)
    for part in (*resampler.resample(frame), *resampler.resample(None)):
        out.mux(stream.encode(part))
    out.mux(stream.encode(None))
