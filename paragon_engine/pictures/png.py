"""Writing PNG files (PNG, third edition): fast, and with 16 bits a channel, which Pillow has for plain gray alone."""

from __future__ import annotations

import struct
from pathlib import Path

from .picture import PictureInfo
from .png_chunks import SIGNATURE, ancillary, chunk
from .png_pixels import PngImage, compressed

_COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}


def write_png(path: Path, image: PngImage, info: PictureInfo, *, level: int) -> None:
    """Write a picture.

    Args:
        path: of the file.
        image: what it shows.
        info: what it carries besides.
        level: effort of the compression, 0 (none) to 9.

    Raises:
        OSError: writing failed.
    """
    header = struct.pack(">IIBBBBB", image.width, image.height, image.bits, _COLOUR_TYPE[image.channels], 0, 0, 0)
    with path.open("wb") as stream:
        stream.write(SIGNATURE + chunk(b"IHDR", header))
        for part in ancillary(info):
            stream.write(part)
        for content in compressed(image, level):
            stream.write(chunk(b"IDAT", content))
        stream.write(chunk(b"IEND", b""))
