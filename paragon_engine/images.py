"""Reading and writing pictures without losing what they carry.

Pictures are float32 arrays in 0..1. Grayscale stays one channel, alpha is kept apart from the colours, palettes and
CMYK become RGB, the EXIF orientation is applied once and its tag removed, ICC profiles and EXIF data travel along.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from paragon_arch.errors import ImageError, OutputError
from paragon_arch.files.atomic import atomic_path

from .deep import deep_channels, read_deep
from .metadata import ORIENTATION, clean_exif, fitting_profile, read_exif
from .progress import log

Pixels = NDArray[np.float32]

MAX_PIXELS = 178_956_970
"""Default cap on the pixels of an input: the size from which on Pillow itself refuses a picture."""


@dataclass(frozen=True)
class Format:
    """A picture format that we read and write."""

    name: str
    """Pillow's name."""
    extensions: tuple[str, ...]
    """The first one is used for new files."""
    alpha: bool
    """It can hold transparency."""
    max_side: int
    """Largest width or height."""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """How we write it."""
    metadata: bool = True
    """It can hold an ICC profile and EXIF data."""


FORMATS = (
    Format("PNG", (".png",), True, 2**31 - 1),
    Format("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), False, 65535, {"quality": 95, "subsampling": 0}),
    Format("WEBP", (".webp",), True, 16383, {"quality": 95, "exact": True}),
    Format("TIFF", (".tif", ".tiff"), True, 2**31 - 1, {"compression": "tiff_adobe_deflate"}),
    Format("BMP", (".bmp",), False, 2**31 - 1, metadata=False),
)
"""The allow-list: nothing else is read, whatever else Pillow could open."""

_BY_EXTENSION = {extension: fmt for fmt in FORMATS for extension in fmt.extensions}
EXTENSIONS = frozenset(_BY_EXTENSION)
"""Extensions of pictures, in lower case with the dot."""
_CONVERTED = ("CMYK", "LAB", "YCbCr", "HSV")
_READ_AS = [fmt.name for fmt in FORMATS]


@dataclass(frozen=True)
class PictureInfo:
    """What a picture file carries besides its pixels."""

    path: Path | None = None
    """Where it was read from."""
    format: str = ""
    """Pillow's name of the file format; "" if it was not read from a file."""
    bits: int = 8
    """Bits per channel in the file."""
    icc_profile: bytes | None = None
    """Profile that describes the colours, if it fits the number of channels."""
    exif: bytes | None = None
    """EXIF data without orientation and without tags that describe the old file's structure."""


@dataclass(frozen=True)
class Picture:
    """A still picture in memory."""

    pixels: Pixels
    """``(H, W, C)`` float32 in 0..1; C is 3 (RGB) or 1 (grayscale). Not premultiplied."""
    alpha: Pixels | None = None
    """``(H, W)`` float32 in 0..1, 1 is opaque; None if the file has no transparency."""
    info: PictureInfo = field(default_factory=PictureInfo)
    """Everything else."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def is_gray(self) -> bool:
        """There is only one colour channel."""
        return self.pixels.shape[2] == 1


def read_image(path: Path | str, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a picture.

    Args:
        path: PNG, JPEG, WebP, TIFF or BMP, recognised by its content.
        max_pixels: refuse larger ones before decoding. Above `MAX_PIXELS`, Pillow's own limit
            (``PIL.Image.MAX_IMAGE_PIXELS``) must be raised too.

    Raises:
        ImageError: missing, not one of these formats, damaged, animated, or too large.
    """
    path = Path(path)
    if not path.is_file():
        raise ImageError(f"{path}: {'is a folder, not a picture' if path.is_dir() else 'no such file'}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large and of slightly odd files; both are dealt with here
            image: Image.Image = Image.open(path, formats=_READ_AS)
            with image:
                _check(path, image, max_pixels)
                return _decode(path, image)
    except (ImageError, MemoryError):
        raise
    except Image.UnidentifiedImageError as error:
        raise ImageError(f"{path}: not a picture that we read; the formats are {_format_names()}") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path}: too large: {error}") from error
    except Exception as error:  # decoders meet damaged data with any kind of exception
        raise ImageError(f"{path}: damaged or unreadable: {error}") from error


def write_image(picture: Picture, path: Path | str, *, overwrite: bool = False) -> None:
    """Write a picture in the format that the extension names, beside its place first and renamed at the end.

    8 bits a channel; JPEG and WebP with quality 95.

    Raises:
        OutputExistsError: the file exists and ``overwrite`` is False.
        OutputError: an extension that is not in `FORMATS`, a format that cannot hold the picture, or writing failed.
    """
    path = Path(path)
    fmt = output_format(path)
    check_output(path, picture.size, alpha=has_transparency(picture))
    image = _encode(picture, fmt)
    options = _options(picture, fmt)
    if picture.info.bits > 8:
        log.info("%s: %d-bit input is written with 8 bits", path, picture.info.bits)
    with atomic_path(path, overwrite=overwrite) as temporary:
        try:
            image.save(temporary, format=fmt.name, **options)
        except (OSError, ValueError, OverflowError, RuntimeError) as error:
            raise OutputError(f"{path}: cannot be written: {error}") from error


def output_format(path: Path | str) -> Format:
    """The format that an output's extension stands for.

    Raises:
        OutputError: none of ours; the message lists them.
    """
    extension = Path(path).suffix.lower()
    if extension not in _BY_EXTENSION:
        known = ", ".join(sorted(EXTENSIONS))
        raise OutputError(f"{path}: cannot write {extension or 'a file without extension'}; use one of {known}")
    return _BY_EXTENSION[extension]


def check_output(path: Path | str, size: tuple[int, int], *, alpha: bool = False) -> None:
    """Refuse, before any work is done, an output that its format cannot hold.

    Raises:
        OutputError: too large for the format, or transparent in a format without transparency.
    """
    fmt = output_format(path)
    if max(size) > fmt.max_side:
        raise OutputError(f"{path}: {size[0]} x {size[1]} pixels are more than {fmt.name} can hold; write PNG or TIFF")
    if alpha and not fmt.alpha:
        raise OutputError(f"{path}: {fmt.name} cannot hold the picture's transparency; write PNG, WebP or TIFF")


def has_transparency(picture: Picture) -> bool:
    """Some pixel is not opaque."""
    return picture.alpha is not None and bool(picture.alpha.min() < 1)


def to_bytes(values: Pixels) -> NDArray[np.uint8]:
    """0..1 to 0..255, rounded to nearest and clipped."""
    return (values.clip(0, 1) * 255 + 0.5).astype(np.uint8)


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
    image.load()
    exif = read_exif(image)
    # Pillow itself has turned a TIFF by now
    orientation = 1 if image.format == "TIFF" else exif.get(ORIENTATION, 1)
    if channels is not None:
        values, bits = read_deep(path, image, channels), 16
    else:
        values, bits = _values(path, _to_rgb(image, icc) if image.mode in _CONVERTED else image)
    values = _oriented(values, orientation)
    colours = 1 if values.shape[2] < 3 else 3
    info = PictureInfo(path, image.format or "", bits, fitting_profile(icc, colours), clean_exif(exif))
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


def _encode(picture: Picture, fmt: Format) -> Image.Image:
    data = to_bytes(picture.pixels)
    if picture.alpha is not None and fmt.alpha:
        data = np.concatenate([data, to_bytes(picture.alpha)[..., None]], axis=2)
    return Image.fromarray(data[..., 0] if data.shape[2] == 1 else data)


def _options(picture: Picture, fmt: Format) -> dict[str, Any]:
    options = dict(fmt.options)
    if fmt.metadata and picture.info.icc_profile:
        options["icc_profile"] = picture.info.icc_profile
    if fmt.metadata and picture.info.exif:
        options["exif"] = picture.info.exif
        options.pop("compression", None)  # Pillow's compressed TIFFs cannot hold EXIF's sub-directories
    return options


def _format_names() -> str:
    return ", ".join(fmt.name for fmt in FORMATS)
