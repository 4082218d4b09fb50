"""Writing pictures with all that they carry."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from paragon_arch.errors import InvalidOptionError, OutputError
from paragon_arch.files.atomic import atomic_path

from ..progress import log
from . import xmp
from .boxes import set_colour
from .carried import fitted
from .colour import conversion_of
from .formats import Format, check_output, output_format
from .icc import described
from .jpeg import with_segments
from .picture import Picture, PictureInfo, Pixels, has_transparency, in_bands, to_bytes, to_words
from .png import write_png
from .png_pixels import PngImage
from .tiff import write_tiff

WEBP_METHOD = 1
"""Half the time of the library's own choice (4), for at most 0.2 dB and 6 %; without loss a seventh, for 0.3 %."""
AVIF_SPEED = 9
"""A sixth of the time of the library's own choice (6), for a fifth more bytes."""


@dataclass(frozen=True)
class WriteOptions:
    """How pictures are written."""

    quality: int = 95
    """Of JPEG, WebP and AVIF, 1..100."""
    lossless: bool = False
    """WebP without loss; other formats ignore it."""
    png_level: int = 6
    """Effort of PNG's and TIFF's compression, 0..9."""
    bits: int | None = None
    """Bits per channel, 8 or 16; None for those of the picture, where the format has them."""
    metadata: bool = True
    """Keep EXIF, XMP, IPTC and text; the ICC profile is always kept, without it colours would change."""

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            InvalidOptionError: a value is out of its range.
        """
        if not 1 <= self.quality <= 100:
            raise InvalidOptionError(f"quality {self.quality} is out of range: give 1 to 100")
        if not 0 <= self.png_level <= 9:
            raise InvalidOptionError(f"png level {self.png_level} is out of range: give 0 to 9")
        if self.bits not in (None, 8, 16):
            raise InvalidOptionError(f"{self.bits} bits per channel cannot be written: give 8 or 16")


def write_image(
    picture: Picture, path: Path | str, options: WriteOptions | None = None, *, overwrite: bool = False
) -> None:
    """Write a picture in the format that the extension names, beside its place first and renamed at the end.

    A picture that was read with 16 bits a channel is written with 16 where the format can (PNG, TIFF).

    Raises:
        OutputExistsError: the file exists and ``overwrite`` is False.
        OutputError: an extension that is not in `FORMATS`, a format that cannot hold the picture, or writing failed.
    """
    path, options = Path(path), options or WriteOptions()
    fmt = output_format(path)
    check_output(path, picture.size, alpha=has_transparency(picture))
    bits = bits_for(picture, fmt, options, path)
    picture = prepared(picture, path, options)
    picture = replace(picture, info=_of_its_size(picture, fmt))
    with atomic_path(path, overwrite=overwrite) as temporary:
        try:
            _save(picture, temporary, fmt, bits, options)
        except (OSError, ValueError, OverflowError, RuntimeError) as error:
            raise OutputError(f"{path}: cannot be written: {error}") from error


def prepared(picture: Picture, path: Path, options: WriteOptions | None = None) -> Picture:
    """A picture whose metadata a file can hold, translated where they must be; what is left out is told, once.

    To be called before the work: what a user hears then, they can still act on.

    Raises:
        OutputError: an extension that is not in `FORMATS`.
    """
    fmt = output_format(path)
    if fmt.name == "BMP":
        picture = _as_srgb(picture)
    return replace(picture, info=fitted(picture.info, fmt, path, keep=options is None or options.metadata))


def _as_srgb(picture: Picture) -> Picture:
    """The same colours in sRGB, for a format that cannot say which colours it holds."""
    conversion = conversion_of(described(picture.info))
    info = replace(picture.info, icc_profile=None, gamma=None, chromaticities=None, srgb_intent=None)
    if conversion is None:
        return replace(picture, info=info)
    log.info("colours are converted to sRGB")
    info = replace(info, cicp=None)
    return replace(picture, pixels=conversion.to_srgb(picture.pixels).clip(0, 1), info=info)


def _of_its_size(picture: Picture, fmt: Format) -> PictureInfo:
    """Metadata whose numbers are those of the picture's size."""
    info = picture.info
    if info.xmp is None:
        return info
    old = info.size or picture.size
    factors = picture.size[0] / old[0], picture.size[1] / old[1]
    return replace(info, xmp=xmp.scaled(info.xmp, factors, fmt.mime), size=picture.size)


def bits_for(picture: Picture, fmt: Format, options: WriteOptions, path: Path) -> int:
    """Bits per channel that a picture gets in a format."""
    wanted = options.bits or picture.info.bits
    if wanted > 8 and not fmt.deep:
        log.info("%s: written with 8 bits a channel, which is all that %s holds", path, fmt.name)
        return 8
    return 16 if wanted > 8 else 8


def _save(picture: Picture, path: Path, fmt: Format, bits: int, options: WriteOptions) -> None:
    alpha = picture.alpha if fmt.alpha else None

    def rows(top: int, bottom: int) -> np.ndarray[Any, np.dtype[Any]]:
        return _levels(picture.pixels[top:bottom], None if alpha is None else alpha[top:bottom], bits)

    width, height = picture.size
    if fmt.name == "PNG":
        channels = picture.pixels.shape[2] + (alpha is not None)
        write_png(path, PngImage(width, height, channels, bits, rows), picture.info, level=options.png_level)
        return
    data = in_bands(rows, height)
    if fmt.name == "TIFF" and bits == 16 and data.shape[2] == 2:
        data = data[..., (0, 0, 0, 1)]  # Pillow, and much else, opens no gray TIFF with transparency and 16 bits
    if fmt.name == "TIFF":
        write_tiff(path, data, picture.info, level=options.png_level)
    else:
        image = Image.fromarray(data[..., 0] if data.shape[2] == 1 else data)
        with path.open("wb") as stream:
            for part in _around(_encoded(image, picture.info, fmt, options), picture.info, fmt):
                stream.write(part)


def _levels(pixels: Pixels, alpha: Pixels | None, bits: int) -> np.ndarray[Any, np.dtype[Any]]:
    """``(H, W, C)`` with alpha as the last channel, in 8 or 16 bits."""
    convert = to_words if bits == 16 else to_bytes
    if alpha is None:
        return convert(pixels)
    return np.concatenate([convert(pixels), convert(alpha)[..., None]], axis=2)


def _encoded(image: Image.Image, info: PictureInfo, fmt: Format, options: WriteOptions) -> bytes:
    """The pixels in a file format, by Pillow."""
    chosen: dict[str, Any] = {}
    if fmt.name == "JPEG":
        # no `optimize`: 4 % smaller, but Pillow's buffer for it is too small for noise, which then cannot be written
        chosen = {"quality": options.quality, "subsampling": 0, "dpi": info.dpi}
    elif fmt.name == "WEBP":
        effort = 0 if options.lossless else options.quality  # which is what "quality" means without loss
        chosen = {"quality": effort, "exact": True, "lossless": options.lossless, "method": WEBP_METHOD}
    elif fmt.name == "AVIF":
        chosen = {"quality": options.quality, "subsampling": "4:4:4", "speed": AVIF_SPEED}
    elif fmt.name == "BMP":
        chosen = {"dpi": info.dpi}
    if fmt.name in ("WEBP", "AVIF"):
        chosen |= {"icc_profile": info.icc_profile, "exif": info.exif, "xmp": info.xmp}
    buffer = io.BytesIO()
    image.save(buffer, format=fmt.name, **{key: value for key, value in chosen.items() if value is not None})
    return buffer.getvalue()


def _around(data: bytes, info: PictureInfo, fmt: Format) -> Iterable[bytes]:
    """A file that an encoder made, in parts, with the metadata that Pillow would cut down or refuse."""
    if fmt.name == "JPEG":
        return with_segments(data, info)
    if fmt.name == "AVIF" and info.cicp is not None:
        changed = bytearray(data)
        if not set_colour(changed, info.cicp):
            log.warning("the colours' numbers could not be written into the AVIF file")
        return (bytes(changed),)
    return (data,)
