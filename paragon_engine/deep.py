"""Colour pictures with 16 bits a channel, which Pillow would cut down to 8 without a word."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from paragon_arch.errors import ImageError

_CHANNELS = {2: (0, 1, 2), 4: (0, 3), 6: (0, 1, 2, 3)}
"""PNG colour type -> channels of RGBA that it has. Plain gray is left to Pillow, which reads it in full."""
_TIFF_BITS = 258


def deep_channels(image: Image.Image) -> tuple[int, ...] | None:
    """Channels of RGBA that an opened, not yet decoded picture has, if Pillow would drop bits of them; else None."""
    if image.format == "PNG":
        bits, colour = _png_header(image)
        return _CHANNELS.get(colour) if bits == 16 else None
    if image.format == "TIFF":
        bits = getattr(image, "tag_v2", {}).get(_TIFF_BITS, (8,))
        return tuple(range(len(bits))) if len(bits) > 1 and max(bits) > 8 else None
    return None


def read_deep(path: Path, image: Image.Image, channels: tuple[int, ...]) -> NDArray[np.float32]:
    """Decode a 16-bit PNG with PyAV.

    Args:
        path: the file.
        image: the same, opened by Pillow.
        channels: what `deep_channels` found.

    Returns:
        ``(H, W, C)`` float32 in 0..1, C = 2 (gray, alpha), 3 or 4.

    Raises:
        ImageError: not a PNG, or PyAV is not installed.
    """
    if image.format != "PNG":
        raise ImageError(f"{path}: {image.format} colour with more than 8 bits is not supported; save it as PNG")
    try:
        av: Any = import_module("av")
    except ImportError as error:
        raise ImageError(f"{path}: reading 16-bit colour needs PyAV: pip install av") from error
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    values: NDArray[np.uint16] = frame.to_ndarray(format="rgba64le")
    return np.true_divide(values[..., channels], 65535, dtype=np.float32)


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
