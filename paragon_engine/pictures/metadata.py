"""What of a picture's metadata still holds for its upscaled copy."""

from __future__ import annotations

import re
from typing import Any, cast

from PIL import Image

from ..progress import log
from .picture import Picture

ORIENTATION = 0x0112
_EXIF_IFD = 0x8769
# fmt: off
_STRUCTURE = frozenset((
    0x00FE, 0x00FF, 0x0100, 0x0101, 0x0102, 0x0103, 0x0106, 0x0111, 0x0115, 0x0116, 0x0117, 0x011C, 0x013D,
    0x0140, 0x0142, 0x0143, 0x0144, 0x0145, 0x014A, 0x0152, 0x0153, 0x015B, 0x0201, 0x0202, 0x0211, 0x0212,
    0x0213, 0x0214, 0x02BC, 0x83BB, 0x8649, 0x8773,
))
# fmt: on
"""TIFF tags that describe how one file stores its pixels, or that travel by another way (ICC, XMP)."""
_DIMENSIONS = (0xA002, 0xA003)
"""Pixel dimensions inside the Exif IFD, no longer true after upscaling."""
_CHANNELS = {b"GRAY": 1, b"RGB ": 3}


def read_exif(image: Image.Image) -> Image.Exif:
    """EXIF data of an opened picture; empty where it is damaged, which is no reason to refuse the pixels."""
    try:
        return image.getexif()
    except Exception as error:  # the parser meets damaged data with any kind of exception
        log.warning("EXIF data is damaged and left out: %s", error)
        return Image.Exif()


def clean_exif(exif: Image.Exif) -> bytes | None:
    """EXIF data to put into a new file: orientation (already applied), sizes and file structure removed.

    Returns:
        Bytes for Pillow's ``exif=``, or None if nothing is left.
    """
    try:
        details = exif.get_ifd(_EXIF_IFD) if _EXIF_IFD in exif else {}
        for tag in _DIMENSIONS:
            details.pop(tag, None)
        for tag in [tag for tag in exif if tag == ORIENTATION or tag in _STRUCTURE]:
            del exif[tag]
        return exif.tobytes() if len(exif) else None
    except Exception as error:  # as in `read_exif`
        log.warning("EXIF data is damaged and left out: %s", error)
        return None


def fitting_profile(icc: bytes | None, channels: int) -> bytes | None:
    """The ICC profile if its colour space has this many channels: a CMYK profile must not describe RGB pixels."""
    return icc if icc is not None and _CHANNELS.get(icc[16:20]) == channels else None


_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:\s*=\s*[\"']|\s*>\s*))\d+")
_XMP_SIZE = re.compile(
    rb"\s(?:tiff:Image(?:Width|Length)|exif:Pixel[XY]Dimension)\s*=\s*(?:\"[^\"]*\"|'[^']*')"
    rb"|<(tiff:Image(?:Width|Length)|exif:Pixel[XY]Dimension)\s*>[^<]*</\1\s*>"
)
_XMP_LIMIT = 65502
"""Bytes of XMP that a JPEG's segment holds."""


def clean_xmp(image: Image.Image) -> bytes | None:
    """The XMP packet of a loaded picture, told that the picture stands upright and not how large it was."""
    packet: Any = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    if packet is None and image.format == "TIFF":
        packet = cast(Any, image).tag_v2.get(0x02BC)
    if isinstance(packet, str):
        packet = packet.encode()
    if not isinstance(packet, bytes) or not packet.strip(b"\0 \n"):
        return None
    return _XMP_SIZE.sub(b"", _XMP_ORIENTATION.sub(rb"\g<1>1", packet))


def read_iptc(image: Image.Image) -> bytes | None:
    """The APP13 segment of a JPEG, as it is."""
    segments: list[tuple[str, bytes]] = getattr(image, "applist", [])
    return next((data for name, data in segments if name == "APP13" and data.startswith(b"Photoshop 3.0\0")), None)


def read_dpi(image: Image.Image) -> tuple[float, float] | None:
    """Pixels per inch, where the file gives sensible ones."""
    dpi: Any = image.info.get("dpi")
    try:
        x, y = (float(value) for value in dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if 0 < x < 1e5 and 0 < y < 1e5 else None


def plain_text(image: Image.Image) -> dict[str, str]:
    """Text chunks of a PNG without XMP, which travels by itself."""
    text = cast("dict[str, str]", getattr(image, "text", {}))
    return {key: str(value) for key, value in text.items() if key != "XML:com.adobe.xmp"}


def options_for(picture: Picture, name: str) -> dict[str, Any]:
    """Keyword arguments with which Pillow writes a picture's metadata in its format ``name``."""
    info, options = picture.info, cast("dict[str, Any]", {})
    for key, value in (("icc_profile", info.icc_profile), ("exif", info.exif), ("xmp", info.xmp), ("dpi", info.dpi)):
        if value is not None:
            options[key] = value
    if name == "JPEG":
        if info.xmp is not None and len(info.xmp) > _XMP_LIMIT:
            log.warning("%s: XMP data is too long for a JPEG and left out", info.path)
            del options["xmp"]
        if info.iptc is not None:
            options["extra"] = b"\xff\xed" + (len(info.iptc) + 2).to_bytes(2, "big") + info.iptc
    return options
