"""Colour pictures with 16 bits a channel, which Pillow would cut down to 8 without a word."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from paragon_arch.errors import ImageError

_RGBA: dict[int, tuple[int, ...]] = {2: (0, 3), 3: (0, 1, 2), 4: (0, 1, 2, 3)}
"""Number of channels -> which of RGBA they are."""
_PNG_CHANNELS = {2: 3, 4: 2, 6: 4}
"""PNG colour type -> number of channels. Plain gray is left to Pillow, which reads it in full."""
_TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_EXTRA = 258, 262, 338
_PREMULTIPLIED = (1,)


def deep_channels(image: Image.Image) -> tuple[int, ...] | None:
    """Channels of RGBA that an opened, not yet decoded picture has, if Pillow would drop bits of them; else None."""
    if image.format == "PNG":
        bits, colour = _png_header(image)
        return _RGBA.get(_PNG_CHANNELS.get(colour, 1)) if bits == 16 else None
    if image.format == "TIFF":
        bits = getattr(image, "tag_v2", {}).get(_TIFF_BITS, (8,))
        return _RGBA.get(len(bits), ()) if len(bits) > 1 and max(bits) > 8 else None
    return None


def read_deep(path: Path, image: Image.Image, channels: tuple[int, ...]) -> NDArray[np.float32]:
    """Decode a PNG or TIFF of 16 bits with PyAV.

    Args:
        path: the file.
        image: the same, opened by Pillow.
        channels: what `deep_channels` found.

    Returns:
        ``(H, W, C)`` float32 in 0..1, C = 2 (gray, alpha), 3 or 4.

    Raises:
        ImageError: a TIFF that PyAV does not decode in full, or PyAV is not installed.
    """
    tags: Any = getattr(image, "tag_v2", {})
    if not channels or tags.get(_TIFF_PHOTOMETRIC, 2) not in (0, 1, 2):
        raise ImageError(f"{path}: {image.format} of this kind with more than 8 bits is not supported; save it as PNG")
    values = _decode(path, image.format or "")[..., channels]
    result = np.true_divide(values, 65535, dtype=np.float32)
    if tags.get(_TIFF_EXTRA) == _PREMULTIPLIED and len(channels) in (2, 4):
        result[..., :-1] /= np.maximum(result[..., -1:], 1 / 65535)
        result.clip(0, 1, out=result)
    return result


def _decode(path: Path, name: str) -> NDArray[np.uint16]:
    """The first picture of a file as (H, W, RGBA) of 16 bits."""
    try:
        av: Any = import_module("av")
    except ImportError as error:
        raise ImageError(f"{path}: reading 16-bit colour needs PyAV: pip install av") from error
    decoder = av.CodecContext.create(name.lower(), "r")
    frames = [*decoder.decode(av.Packet(path.read_bytes())), *decoder.decode(None)]
    if not frames or frames[0].format.components[0].bits <= 8:
        raise ImageError(f"{path}: this kind of {name} with more than 8 bits is not supported; save it as PNG")
    return frames[0].to_ndarray(format="rgba64le")


def _png_header(image: Image.Image) -> tuple[int, int]:
    """(bits per channel, colour type) from the IHDR chunk."""
    stream: Any = getattr(image, "fp", None)
    if stream is None:
        raise ValueError("decoded already")
    position = stream.tell()
    stream.seek(24)
    bits, colour = stream.read(2)
    stream.seek(position)
    return bits, colour
