"""What of a picture's metadata still holds for its upscaled copy."""

from __future__ import annotations

from PIL import Image

from .progress import log

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
