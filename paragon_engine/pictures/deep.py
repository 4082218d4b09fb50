"""Pictures with 16 bits a sample, which Pillow would cut down to 8 without a word, and what PNG's samples mean."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from paragon_arch.errors import ImageError

from .picture import Pixels
from .png_chunks import Chunks

_RGBA: dict[int, tuple[int, ...]] = {4: (0, 3), 2: (0, 1, 2), 6: (0, 1, 2, 3)}
"""PNG colour type -> which of RGBA it has. Plain gray is left to Pillow, which reads it in full."""
_STEP = 2
"""Steps of 8 bits by which two readings of a picture may differ, for their rounding."""


def is_deep(found: Chunks) -> bool:
    """Whether Pillow would drop bits of a PNG."""
    return found.bits == 16 and found.colour in _RGBA


def read_png16(path: Path, data: bytes, found: Chunks) -> Pixels:
    """Decode a PNG of 16 bits with PyAV.

    Args:
        path: for messages.
        data: the PNG without ancillary chunks.
        found: what it says about itself.

    Returns:
        ``(H, W, C)`` in 0..1, C = 2 (gray, alpha), 3 or 4.

    Raises:
        ImageError: PyAV does not decode it, or is not installed.
    """
    try:
        av: Any = import_module("av")
    except ImportError as error:
        raise ImageError(f"{path}: reading 16-bit colour needs PyAV: pip install av") from error
    decoder = av.CodecContext.create("png", "r")
    frames = [*decoder.decode(av.Packet(data)), *decoder.decode(None)]
    if not frames or frames[0].format.components[0].bits <= 8:
        raise ImageError(f"{path}: this kind of PNG with 16 bits is not supported; save it with 8 bits")
    words: NDArray[np.uint16] = frames[0].to_ndarray(format="rgba64le")[..., _RGBA[found.colour]]
    return np.true_divide(words, 65535, dtype=np.float32)


def check_against(path: Path, values: Pixels, image: Image.Image, full: int = 65535) -> None:
    """Compare what a decoder gave with Pillow's reading of the same file in 8 bits, which was made anyway.

    Args:
        path: for the message.
        values: (H, W, C) in 0..1, as they are stored.
        image: Pillow's reading.
        full: the largest code, where Pillow reads gray in 16 bits.

    Raises:
        ImageError: they are different pictures: one of the decoders is wrong about this kind of file.
    """
    wide = image.mode.startswith("I")
    known = np.asarray(image).reshape(image.height, image.width, -1).astype(np.float32)
    known *= 255 / full if wide else 1
    count = min(known.shape[2], values.shape[2], 1 if values.shape[2] < 3 else 3)
    same = known.shape[:2] == values.shape[:2]
    if same and image.mode not in ("RGBa", "La"):  # which Pillow has multiplied by alpha in steps of 8 bits
        same = bool((np.abs(values[..., :count] * 255 - known[..., :count]) <= _STEP).mean() > 0.999)
    if not same:
        raise ImageError(
            f"{path}: two decoders read different pictures from it: this kind of {image.format} with more than 8 bits "
            "is not supported; save it as PNG"
        )


def transparent_colour(values: Pixels, found: Chunks, content: bytes) -> Pixels:
    """(H, W, C) of a PNG without alpha channel with the alpha that its `tRNS` chunk means, whatever the depth."""
    colours = 1 if found.colour == 0 else 3
    if found.colour not in (0, 2) or len(content) != 2 * colours or values.shape[2] != colours:
        return values
    wanted = np.frombuffer(content, ">u2").astype(np.int64) & (2**found.bits - 1)
    codes = np.rint(values * (2**found.bits - 1)).astype(np.int64)
    alpha = (codes != wanted).any(axis=2, keepdims=True).astype(np.float32)
    return np.concatenate([values, alpha], axis=2)


def significant(values: Pixels, found: Chunks, content: bytes) -> Pixels:
    """(H, W, C) in 0..1 of a PNG whose `sBIT` chunk says that samples have fewer bits than the file has room for.

    Samples that were shifted up and filled with zeros get their full range back: white is white.
    """
    full = 2**found.bits - 1
    if found.bits < 8 or found.colour == 3 or len(content) != values.shape[2]:
        return values
    scaled = values
    for index, bits in enumerate(content):
        if not 0 < bits < found.bits:
            continue
        codes = np.rint(values[..., index] * full).astype(np.uint32)
        low = found.bits - bits
        if not bool((codes & (2**low - 1)).any()):
            scaled = cast("Pixels", scaled.copy()) if scaled is values else scaled
            scaled[..., index] = np.true_divide(codes >> low, 2**bits - 1, dtype=np.float32)
    return scaled
