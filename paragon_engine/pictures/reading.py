"""Reading pictures without losing what they carry.

Pictures are float32 arrays in 0..1. Grayscale stays one channel, alpha is kept apart from the colours, palettes and
CMYK become RGB, the EXIF orientation is applied once and its tag removed; ICC profile, EXIF, XMP and IPTC data, print
resolution and PNG text travel along.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image, ImageCms

from paragon_arch.errors import ImageError

from ..progress import log
from .deep import deep_channels, read_deep
from .formats import READ_AS, format_names
from .metadata import ORIENTATION, clean_exif, clean_xmp, fitting_profile, plain_text, read_dpi, read_exif, read_iptc
from .picture import Picture, PictureInfo, Pixels

MAX_PIXELS = 178_956_970
"""Default cap on the pixels of an input: the size from which on Pillow itself refuses a picture."""

_CONVERTED = ("CMYK", "LAB", "YCbCr", "HSV")


def read_image(path: Path | str, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a picture.

    Args:
        path: PNG, JPEG, WebP, TIFF, BMP or AVIF, recognised by its content.
        max_pixels: refuse larger ones before decoding. Above `MAX_PIXELS`, Pillow's own limit
            (``PIL.Image.MAX_IMAGE_PIXELS``) must be raised too.

    Raises:
        ImageError: missing, not one of these formats, damaged, animated, or too large.
    """
    path = Path(path)
    with _opened(path) as image:
        try:
            _check(path, image, max_pixels)
            return _decode(path, image)
        except (ImageError, MemoryError):
            raise
        except Exception as error:  # decoders meet damaged data with any kind of exception
            raise ImageError(f"{path}: damaged or unreadable: {error}") from error


def image_size(path: Path | str) -> tuple[int, int]:
    """(width, height) that `read_image` will give, from the header alone.

    Raises:
        ImageError: missing, or not one of our formats.
    """
    with _opened(Path(path)) as image:
        width, height = image.size
        turned = image.format != "TIFF" and read_exif(image).get(ORIENTATION, 1) in (5, 6, 7, 8)
    return (height, width) if turned else (width, height)


@contextmanager
def _opened(path: Path) -> Generator[Image.Image, None, None]:
    """Pillow's image of a file, without the warnings of large and slightly odd files, which are dealt with here."""
    if not path.is_file():
        raise ImageError(f"{path}: {'is a folder, not a picture' if path.is_dir() else 'no such file'}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image: Image.Image = Image.open(path, formats=READ_AS)
        except Image.UnidentifiedImageError as error:
            raise ImageError(f"{path}: not a picture that we read; the formats are {format_names()}") from error
        except Image.DecompressionBombError as error:
            raise ImageError(f"{path}: too large: {error}") from error
        except MemoryError:
            raise
        except Exception as error:  # parsers meet damaged data with any kind of exception
            raise ImageError(f"{path}: damaged or unreadable: {error}") from error
        with image:
            yield image


def _check(path: Path, image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise ImageError(f"{path}: {width} x {height} pixels are over the limit of {max_pixels:,} pixels")
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # a phone's JPEG with a depth map or a second view
        raise ImageError(f"{path}: has {frames} frames or pages; only single pictures are supported")


def _decode(path: Path, image: Image.Image) -> Picture:
    icc: bytes | None = image.info.get("icc_profile")
    channels = deep_channels(image)
    stored = getattr(image, "tag_v2", {}).get(ORIENTATION, 1)
    image.load()
    exif = read_exif(image)
    orientation = exif.get(ORIENTATION, 1)
    if image.format == "TIFF":  # which Pillow itself has turned by now
        orientation = 1 if channels is None else stored
    if channels is not None:
        values, bits = read_deep(path, image, channels), 16
    else:
        values, bits = _values(path, _to_rgb(image, icc) if image.mode in _CONVERTED else image)
    values = _oriented(values, orientation)
    colours = 1 if values.shape[2] < 3 else 3
    info = PictureInfo(
        path,
        image.format or "",
        bits,
        icc_profile=fitting_profile(icc, colours),
        exif=clean_exif(exif),
        xmp=clean_xmp(image),
        iptc=read_iptc(image),
        dpi=read_dpi(image),
        text=plain_text(image),
    )
    alpha = np.ascontiguousarray(values[..., colours]) if values.shape[2] > colours else None
    return Picture(np.ascontiguousarray(values[..., :colours]), alpha, info)


def _to_rgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    """Colours of another model as RGB: through the embedded profile to sRGB, else by plain formulas."""
    if icc is not None and image.mode in ("CMYK", "LAB"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            target = ImageCms.ImageCmsProfile(cast(Any, ImageCms.createProfile("sRGB")))
            converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
        except (ImageCms.PyCMSError, OSError) as error:
            log.warning("the embedded colour profile is unusable (%s); converted without it", error)
        else:
            if converted is not None:
                return converted
    return image.convert("RGB")


def _values(path: Path, image: Image.Image) -> tuple[Pixels, int]:
    """Channels of a loaded image as (H, W, 1..4) in 0..1, alpha last, and the bits of the file."""
    if image.mode.startswith("I;16"):
        return np.true_divide(np.asarray(image), 65535, dtype=np.float32)[..., None], 16
    if image.mode in ("I", "F"):
        raise ImageError(f"{path}: {image.mode}-mode pixels (32 bits per channel) are not supported; use 8 or 16 bits")
    transparent = "transparency" in image.info
    gray = image.mode in ("1", "L", "LA", "La")
    alpha = transparent or image.mode in ("LA", "La", "RGBA", "RGBa", "PA")
    mode = ("LA" if alpha else "L") if gray else ("RGBA" if alpha else "RGB")
    if image.mode == "La":
        image = image.convert("LA")
    data = np.asarray(image if image.mode == mode else image.convert(mode))
    return np.true_divide(data.reshape(*data.shape[:2], -1), 255, dtype=np.float32), 8


def _oriented(values: Pixels, orientation: object) -> Pixels:
    """Turn (H, W, C) values as the EXIF orientation 1..8 says; anything else is left alone."""
    if orientation in (5, 6, 7, 8):
        values = np.swapaxes(values, 0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return values
