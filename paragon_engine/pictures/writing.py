"""Writing pictures with all that they carry."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from paragon_arch.errors import InvalidOptionError, OutputError
from paragon_arch.files.atomic import atomic_path

from ..progress import log
from .formats import Format, check_output, output_format
from .metadata import options_for
from .picture import Picture, PictureInfo, has_transparency, to_bytes, to_words
from .png import write_png16
from .tiff import write_tiff


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
    picture = replace(picture, info=_kept(picture.info, fmt, options))
    with atomic_path(path, overwrite=overwrite) as temporary:
        try:
            _save(picture, temporary, fmt, bits, options)
        except (OSError, ValueError, OverflowError, RuntimeError) as error:
            raise OutputError(f"{path}: cannot be written: {error}") from error


def bits_for(picture: Picture, fmt: Format, options: WriteOptions, path: Path) -> int:
    """Bits per channel that a picture gets in a format."""
    wanted = options.bits or picture.info.bits
    if wanted > 8 and not fmt.deep:
        log.info("%s: written with 8 bits a channel, which is all that %s holds", path, fmt.name)
        return 8
    return 16 if wanted > 8 else 8


def _kept(info: PictureInfo, fmt: Format, options: WriteOptions) -> PictureInfo:
    """What of the metadata goes into the file."""
    if not fmt.metadata:
        return PictureInfo()
    if not options.metadata:
        return PictureInfo(icc_profile=info.icc_profile)
    return info


def _save(picture: Picture, path: Path, fmt: Format, bits: int, options: WriteOptions) -> None:
    convert = to_words if bits == 16 else to_bytes
    data: np.ndarray[Any, np.dtype[Any]] = convert(picture.pixels)
    if picture.alpha is not None and fmt.alpha:
        data = np.concatenate([data, convert(picture.alpha)[..., None]], axis=2)
    if fmt.name == "TIFF" and bits == 16 and data.shape[2] == 2:
        data = data[..., (0, 0, 0, 1)]  # Pillow, and much else, opens no gray TIFF with transparency and 16 bits
    if fmt.name == "TIFF":
        write_tiff(path, data, picture.info, level=options.png_level)
    elif bits == 16:
        write_png16(path, data, picture.info, level=options.png_level)
    else:
        image = Image.fromarray(data[..., 0] if data.shape[2] == 1 else data)
        image.save(path, format=fmt.name, **_pillow_options(picture, fmt, options))


def _pillow_options(picture: Picture, fmt: Format, options: WriteOptions) -> dict[str, Any]:
    result = options_for(picture, fmt.name) if fmt.metadata else {}
    if fmt.name == "PNG":
        result["compress_level"] = options.png_level
        result["pnginfo"] = _png_text(picture.info)
        result.pop("xmp", None)
    elif fmt.name == "JPEG":
        result |= {"quality": options.quality, "subsampling": 0}
    elif fmt.name == "WEBP":
        result |= {"quality": options.quality, "exact": True, "lossless": options.lossless}
    elif fmt.name == "AVIF":
        result |= {"quality": options.quality, "subsampling": "4:4:4"}
    return result


def _png_text(info: PictureInfo) -> PngImagePlugin.PngInfo:
    chunks = PngImagePlugin.PngInfo()
    if info.xmp is not None:
        chunks.add_itxt("XML:com.adobe.xmp", info.xmp.decode("utf-8", "replace"))
    for key, value in info.text.items():
        chunks.add_text(key, value)
    return chunks
