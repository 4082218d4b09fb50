"""Writing TIFF files: 8 or 16 bits a channel, compressed, with EXIF; Pillow's writer cannot do the three together."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin

from .picture import PictureInfo

_GRAY, _RGB = 1, 2
_DEFLATE, _DIFFERENCES, _INCH, _UNASSOCIATED = 8, 2, 2, 2
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_LONG, _BYTE, _UNDEFINED = 4, 1, 7


def write_tiff(path: Path, data: np.ndarray[Any, np.dtype[Any]], info: PictureInfo, *, level: int) -> None:
    """Write ``(H, W, C)`` bytes or words, C = 1 (gray), 2 (gray, alpha), 3 or 4, as one deflated strip.

    Raises:
        OSError: writing failed.
        OverflowError: more than the 4 GB that a TIFF holds.
    """
    height, width, channels = data.shape
    strip = zlib.compress(_differences(data), level)
    if len(strip) >= 2**32:
        raise OverflowError("more than 4 GB do not fit into a TIFF; write PNG")
    ifd = TiffImagePlugin.ImageFileDirectory_v2(ifh=b"II*\0\0\0\0\0")
    _describe(ifd, info)
    ifd[256], ifd[257] = width, height
    ifd[258] = (data.dtype.itemsize * 8,) * channels
    ifd[259], ifd[317] = _DEFLATE, _DIFFERENCES
    ifd[262], ifd[277], ifd[284] = _GRAY if channels < 3 else _RGB, channels, 1
    if channels in (2, 4):
        ifd[338] = _UNASSOCIATED
    ifd[278], ifd[273], ifd[279] = height, 0, len(strip)
    ifd.tagtype[273] = ifd.tagtype[279] = _LONG
    with path.open("wb") as stream:
        ifd.save(stream)  # which moves the strip's offset behind itself
        stream.write(strip)


def _differences(data: np.ndarray[Any, np.dtype[Any]]) -> bytes:
    """Each value less its left neighbour's, little-endian: TIFF's horizontal predictor."""
    kind = "<u2" if data.dtype.itemsize == 2 else "u1"
    result = np.array(data, dtype=kind)
    np.subtract(result[:, 1:], data[:, :-1], out=result[:, 1:])
    return result.tobytes()


def _describe(ifd: Any, info: PictureInfo) -> None:
    """Metadata as tags."""
    if info.exif is not None:
        exif = Image.Exif()
        exif.load(info.exif)
        for tag, value in exif.items():
            ifd[tag] = exif.get_ifd(tag) if tag in (_EXIF_IFD, _GPS_IFD) else value
    if info.icc_profile is not None:
        ifd.tagtype[34675], ifd[34675] = _UNDEFINED, info.icc_profile
    if info.xmp is not None:
        ifd.tagtype[700], ifd[700] = _BYTE, info.xmp
    if info.dpi is not None:
        ifd[282], ifd[283], ifd[296] = *info.dpi, _INCH
