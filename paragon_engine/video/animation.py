"""Upscaling animations: GIF, animated WebP and APNG, whose frames are pictures with transparency and own times.

Pillow reads and writes them: FFmpeg has no reader for animated WebP in most builds, and encodes no transparency there.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from paragon_arch.errors import ImageError, OutputError
from paragon_arch.files.atomic import atomic_path

from ..pictures import MAX_PIXELS, Picture, Pixels, to_bytes
from ..progress import Progress
from ..upscale import UpscaleSettings, upscale_picture
from ..upscaler import Upscaler

OUTPUTS = {".webp": "WEBP", ".apng": "PNG", ".png": "PNG", ".gif": "GIF"}
"""Extensions of outputs, and Pillow's names."""
_READ = ["GIF", "WEBP", "PNG"]
_ALPHA = 0x10
"""The flag of an extended WebP file for transparency."""
_DEFAULT = 100
"""Milliseconds of a frame that says nothing, or 0, of its time: what browsers take."""


@dataclass(frozen=True)
class Animation:
    """What is known of an animation before its frames are decoded."""

    frames: int
    durations: tuple[int, ...]
    """Milliseconds of each frame."""
    loop: int | None
    """How often it is shown; 0 is for ever, None once."""
    size: tuple[int, int]


def is_animation(path: Path) -> bool:
    """Whether a file is an animation that we read here."""
    try:
        with path.open("rb") as stream:
            head = stream.read(12)
        if not (head.startswith((b"GIF8", b"\x89PNG")) or (head[:4] == b"RIFF" and head[8:] == b"WEBP")):
            return False
        image: Image.Image = Image.open(path, formats=_READ)
        with image:
            return getattr(image, "n_frames", 1) > 1
    except Exception:  # parsers meet damaged data with any kind of exception; the reader will say what is wrong
        return False


def upscale_animation(
    upscaler: Upscaler,
    source: Path,
    target: Path,
    settings: UpscaleSettings,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> int:
    """Upscale an animation, frame by frame, with its transparency, times and loops; WebP and APNG without loss.

    Args:
        upscaler: the model.
        source: GIF, animated WebP or APNG.
        target: a key of `OUTPUTS`.
        settings: as for pictures.
        overwrite: replace an existing target.
        progress: advanced by frames; may cancel.

    Returns:
        Number of frames.

    Raises:
        ImageError: the source is damaged or too large.
        OutputError, OutputExistsError: the target cannot be written.
        CancelledError: progress was cancelled.
    """
    progress = progress or Progress()
    found = _described(source)
    width, height = settings.output_size(found.size, upscaler.scale)
    if width * height * found.frames > settings.max_output_pixels:
        raise ImageError(f"{source}: {found.frames} frames of {width} x {height} pixels are over the limit")
    progress.start(found.frames, unit="frames")
    results: list[Image.Image] = []
    for picture in _frames(source, found):
        results.append(_to_image(upscale_picture(upscaler, picture, settings, progress=progress.part())))
    options: dict[str, Any] = {"duration": list(found.durations)}
    if target.suffix.lower() == ".webp":
        options |= {"lossless": True, "exact": True, "loop": 1 if found.loop is None else found.loop}
    elif target.suffix.lower() == ".gif":
        options |= {"disposal": 2} | ({} if found.loop is None else {"loop": found.loop})
    else:
        options["loop"] = 1 if found.loop is None else found.loop
    with atomic_path(target, overwrite=overwrite) as temporary:
        try:
            name, buffer = OUTPUTS[target.suffix.lower()], io.BytesIO()
            results[0].save(buffer, format=name, save_all=True, append_images=results[1:], **options)
            transparent = any(image.mode == "RGBA" for image in results)
            temporary.write_bytes(_marked(buffer.getvalue()) if transparent else buffer.getvalue())
        except (OSError, ValueError, RuntimeError) as error:
            raise OutputError(f"{target}: cannot be written: {error}") from error
    return found.frames


def _marked(data: bytes) -> bytes:
    """An animated WebP that says it has transparency, also where all that is drawn is opaque and only a part.

    The encoder looks at the drawn parts alone, and decoders then show the rest as black.
    """
    if data[:4] != b"RIFF" or data[12:16] != b"VP8X":
        return data
    return data[:20] + bytes([data[20] | _ALPHA]) + data[21:]


def _described(source: Path) -> Animation:
    durations: list[int] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image: Image.Image = Image.open(source, formats=_READ)
            with image:
                size, frames = image.size, int(getattr(image, "n_frames", 1))
                if size[0] * size[1] > MAX_PIXELS:
                    raise ImageError(f"{source}: frames of {size[0]} x {size[1]} pixels are over the limit")
                loop: int | None = image.info.get("loop", None if image.format == "GIF" else 0)
                for index in range(frames):
                    image.seek(index)
                    image.load()
                    durations.append(round(float(image.info.get("duration") or 0)) or _DEFAULT)
                return Animation(frames, tuple(durations), loop, size)
        except (ImageError, MemoryError):
            raise
        except Exception as error:  # as above
            raise ImageError(f"{source}: damaged or unreadable: {error}") from error


def _frames(source: Path, found: Animation) -> Iterator[Picture]:
    image: Image.Image = Image.open(source, formats=_READ)
    with image:
        for index in range(found.frames):
            image.seek(index)
            values: Pixels = np.true_divide(np.asarray(image.convert("RGBA")), 255, dtype=np.float32)
            opaque = bool((values[..., 3] == 1).all())
            yield Picture(
                np.ascontiguousarray(values[..., :3]), None if opaque else cast("Pixels", values[..., 3].copy())
            )


def _to_image(picture: Picture) -> Image.Image:
    data = to_bytes(picture.pixels)
    if picture.alpha is not None:
        data = np.concatenate([data, to_bytes(picture.alpha)[..., None]], axis=2)
    return Image.fromarray(data)
