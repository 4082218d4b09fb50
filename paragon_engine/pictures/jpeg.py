"""Segments of JPEG files: what one holds around its pixels, and putting the same around the pixels of another."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, cast

from PIL import Image

from . import iptc
from .carried import ICC_PART, XMP_HEAD
from .exif import PREFIX
from .picture import PictureInfo

_EXTENDED = b"http://ns.adobe.com/xmp/extension/\0"
_GAIN_MAP = b"urn:iso:std:iso:ts:21496:-1\0"


def resources(image: Image.Image) -> bytes | None:
    """Photoshop's image resources, of all segments."""
    parts = [data for name, data in _segments(image) if name == "APP13" and data.startswith(iptc.PREFIX)]
    return iptc.PREFIX + b"".join(part.removeprefix(iptc.PREFIX) for part in parts) if parts else None


def comments(image: Image.Image) -> tuple[bytes, ...]:
    """The comments, as they are."""
    return tuple(data for name, data in _segments(image) if name == "COM" and data.strip(b"\0 "))


def steps(image: Image.Image) -> tuple[int, ...]:
    """The 64 quantisation steps of the first component, brightness; () where they are not to be had."""
    tables: Any = getattr(image, "quantization", None)
    table: Any = cast("dict[Any, Any]", tables).get(0) if isinstance(tables, dict) else None
    return tuple(int(step) for step in table) if table is not None and len(table) == 64 else ()


def parts(image: Image.Image) -> set[str]:
    """Names of what else is in the file that an enlarged copy does not have."""
    found: set[str] = set()
    for name, data in _segments(image):
        if name == "APP1" and data.startswith(_EXTENDED):
            found.add("extended XMP data")
        elif name == "APP2" and data.startswith(_GAIN_MAP):
            found.add("a gain map")
    count = getattr(image, "n_frames", 1)
    if count > 1:
        found.add(f"{count - 1} further picture{'s' if count > 2 else ''} (gain map, depth or preview)")
    return found


def _segments(image: Image.Image) -> list[tuple[str, bytes]]:
    listed: Any = getattr(image, "applist", [])
    return [(name, bytes(data)) for name, data in listed]


def with_segments(data: bytes, info: PictureInfo) -> Iterator[bytes]:
    """The parts of a JPEG that an encoder made, with what a picture carries behind its JFIF header."""
    at = 2
    if data[2:4] == b"\xff\xe0":
        at += 2 + struct.unpack(">H", data[4:6])[0]
    yield data[:at]
    if info.exif is not None:
        yield _segment(0xE1, PREFIX + info.exif)
    if info.xmp is not None:
        yield _segment(0xE1, XMP_HEAD + info.xmp)
    if info.icc_profile is not None:
        pieces = [info.icc_profile[start : start + ICC_PART] for start in range(0, len(info.icc_profile), ICC_PART)]
        for index, piece in enumerate(pieces):
            yield _segment(0xE2, b"ICC_PROFILE\0" + bytes((index + 1, len(pieces))) + piece)
    if info.iptc is not None:
        for piece in iptc.segments(info.iptc):
            yield _segment(0xED, piece)
    for comment in info.comments:
        yield _segment(0xFE, comment)
    yield data[at:]


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content
