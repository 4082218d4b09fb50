"""IPTC data in Photoshop's image resources, as JPEG and TIFF files hold them."""

from __future__ import annotations

import struct
from collections.abc import Iterator

PREFIX = b"Photoshop 3.0\0"
"""Before the resources in a JPEG's APP13 segment."""
_IPTC = 0x0404
_GONE = frozenset((0x0409, 0x040C, 0x040F, 0x0408, 0x041A, 0x0422, 0x0423, 0x0424, 0x0425))
"""Thumbnails, guides and slices in pixels, and copies of profile, EXIF and XMP, and the digest that they agree with."""


def cleaned(resources: bytes | None) -> bytes | None:
    """Image resources without those that are no longer true or stored elsewhere; all else keeps its bytes.

    Args:
        resources: with or without `PREFIX`; or IPTC data alone.

    Returns:
        With `PREFIX`; None if nothing is left.
    """
    if not resources:
        return None
    data = resources.removeprefix(PREFIX)
    if data[:1] == b"\x1c":
        return PREFIX + _resource(_IPTC, data)
    kept = b"".join(whole for number, whole in _resources(data) if number not in _GONE)
    return PREFIX + kept if kept else None


def _resources(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of each resource; the last one may be cut off and is passed over then."""
    at = 0
    while data[at : at + 4] in (b"8BIM", b"PHUT", b"AgHg", b"DCSR", b"MeSa") and at + 12 <= len(data):
        (number,) = struct.unpack_from(">H", data, at + 4)
        name = 1 + data[at + 6]
        start = at + 6 + name + name % 2
        if start + 4 > len(data):
            return
        (size,) = struct.unpack_from(">I", data, start)
        end = start + 4 + size + size % 2
        if start + 4 + size > len(data):
            return
        yield number, data[at:end].ljust(end - at, b"\0")
        at = end


def _resource(number: int, data: bytes) -> bytes:
    return b"8BIM" + struct.pack(">H2xI", number, len(data)) + data + bytes(len(data) % 2)


def segments(resources: bytes) -> Iterator[bytes]:
    """Contents for APP13 segments of a JPEG; long data goes on in the next one."""
    data, room = resources.removeprefix(PREFIX), 65533 - len(PREFIX)
    for at in range(0, len(data), room):
        yield PREFIX + data[at : at + room]
