"""Reading pictures without losing what they carry.

Pictures are float32 arrays in 0..1. Grayscale stays one channel, alpha is kept apart from the colours, palettes and
CMYK become RGB, the EXIF orientation is applied once and its tag removed; what the file says about the picture travels
along (`carried`).
"""

from __future__ import annotations

import io
import mmap
import warnings
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from PIL import Image, ImageCms

from paragon_arch.errors import AnimationError, ImageError

from ..progress import log
from . import boxes, exif, iptc, jpeg, png_chunks, tiff_samples, xmp
from .deep import check_against, is_deep, read_png16, significant, transparent_colour
from .formats import format_names, readable
from .ifd import Block, StructureError
from .picture import Picture, PictureInfo, Pixels

MAX_PIXELS = 178_956_970
"""Default cap on the pixels of an input: the size from which on Pillow itself refuses a picture."""

_CONVERTED = ("CMYK", "LAB", "YCbCr", "HSV")
_CHANNELS = {b"GRAY": 1, b"RGB ": 3}
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass
class _Opened:
    """A file that was opened: Pillow's image of it, and what Pillow does not tell."""

    path: Path
    image: Image.Image
    chunks: png_chunks.Chunks | None = None
    """Of a PNG."""
    pixels: IO[bytes] | None = None
    """A PNG without its ancillary chunks."""
    tiff: memoryview | None = None
    """Of a TIFF."""
    layout: tiff_samples.Layout | None = None
    """Of a TIFF with more than 8 bits."""
    unknown: bool = False
    """Pillow does not open it: its image has a size, but no pixels."""


def read_image(path: Path | str, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a picture.

    Args:
        path: PNG, JPEG, WebP, TIFF, BMP, AVIF, or what a plug-in reads (`formats.PLUG_INS`), recognised by its content.
        max_pixels: refuse larger ones before decoding. Above `MAX_PIXELS`, Pillow's own limit
            (``PIL.Image.MAX_IMAGE_PIXELS``) must be raised too.

    Raises:
        AnimationError: it has several frames.
        ImageError: missing, not one of these formats, damaged, of a kind that is not supported, or too large.
    """
    path = Path(path)
    with _opened(path) as opened:
        try:
            _check(opened, max_pixels)
            return _decode(opened)
        except (ImageError, MemoryError):
            raise
        except Exception as error:  # decoders meet damaged data with any kind of exception
            raise ImageError(f"{path}: damaged or unreadable: {error}") from error


def image_size(path: Path | str) -> tuple[int, int]:
    """(width, height) that `read_image` will give, from the header alone.

    Raises:
        ImageError: missing, or not one of our formats.
    """
    with _opened(Path(path), pixels=False) as opened:
        width, height = opened.image.size
        return (height, width) if _orientation(opened, stored=opened.unknown) in (5, 6, 7, 8) else (width, height)


@contextmanager
def _opened(path: Path, *, pixels: bool = True) -> Generator[_Opened, None, None]:
    """A picture's file, without the warnings of large and slightly odd files, which are dealt with here."""
    if not path.is_file():
        raise ImageError(f"{path}: {'is a folder, not a picture' if path.is_dir() else 'no such file'}")
    with warnings.catch_warnings(), ExitStack() as stack:
        warnings.simplefilter("ignore")
        try:
            opened = _open(path, stack, pixels)
        except Image.UnidentifiedImageError as error:
            raise ImageError(f"{path}: not a picture that we read; the formats are {format_names()}") from error
        except Image.DecompressionBombError as error:
            raise ImageError(f"{path}: too large: {error}") from error
        except (MemoryError, ImageError):
            raise
        except Exception as error:  # parsers meet damaged data with any kind of exception
            raise ImageError(f"{path}: damaged or unreadable: {error}") from error
        yield opened


def _open(path: Path, stack: ExitStack, pixels: bool) -> _Opened:
    names = readable(path.suffix)
    with path.open("rb") as stream:
        head = stream.read(8)
        stream.seek(0)
        if head == png_chunks.SIGNATURE:
            chunks, small = png_chunks.read(stream, pixels=pixels)
            return _Opened(path, _pillow(small, ["PNG"], stack), chunks, small)
        if head[:4] in _TIFF:
            return _open_tiff(path, stream, stack)
    return _Opened(path, _pillow(path, names, stack))


def _pillow(source: Path | IO[bytes], formats: list[str], stack: ExitStack) -> Image.Image:
    image: Image.Image = Image.open(source, formats=formats)
    stack.enter_context(image)
    return image


def _open_tiff(path: Path, stream: IO[bytes], stack: ExitStack) -> _Opened:
    mapped = stack.enter_context(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    view = memoryview(mapped)
    stack.callback(view.release)
    layout = tiff_samples.layout_of(path, view)
    try:
        return _Opened(path, _pillow(path, ["TIFF"], stack), tiff=view, layout=layout)
    except Image.UnidentifiedImageError as error:
        if layout is None:
            raise ImageError(f"{path}: this kind of TIFF is not supported; save it as PNG") from error
        image = tiff_samples.header(view)
        stack.enter_context(image)
        return _Opened(path, image, tiff=view, layout=layout, unknown=True)


def _check(opened: _Opened, max_pixels: int) -> None:
    path, image = opened.path, opened.image
    width, height = image.size
    if width * height > max_pixels:
        raise ImageError(f"{path}: {width} x {height} pixels are over the limit of {max_pixels:,} pixels")
    frames = opened.chunks.frames if opened.chunks else getattr(image, "n_frames", 1)
    if frames < 2 or image.format in ("MPO", "HEIF"):  # a phone's picture with a depth map or a second view
        return
    if image.format == "TIFF":
        raise ImageError(f"{path}: has {frames} pages; only single pictures are supported")
    raise AnimationError(f"{path}: has {frames} frames; animations are for the command video (to .webp, .apng or .gif)")


def _decode(opened: _Opened) -> Picture:
    image, path = opened.image, opened.path
    info, notes = _info(opened)
    if not opened.unknown and not (opened.layout and opened.layout.planar):
        image.load()
    values, bits = _samples(opened, info.icc_profile)
    values = _oriented(values, _orientation(opened, stored=opened.layout is not None))
    colours = 1 if values.shape[2] < 3 else 3
    info = replace(info, bits=bits, gray=colours == 1, size=(values.shape[1], values.shape[0]))
    if info.icc_profile is not None and _CHANNELS.get(info.icc_profile[16:20]) != colours:
        if image.mode not in _CONVERTED:  # through the profile, which must not describe RGB pixels
            log.warning("%s: the colour profile is not one of such pixels and is left out", path)
        info = replace(info, icc_profile=None)
    if notes:
        log.warning("%s: not in the enlarged picture: %s", path, ", ".join(sorted(notes)))
    alpha = np.ascontiguousarray(values[..., colours]) if values.shape[2] > colours else None
    return Picture(np.ascontiguousarray(values[..., :colours]), alpha, info)


def _samples(opened: _Opened, icc: bytes | None) -> tuple[Pixels, int]:
    """(H, W, C) as the file has them, not yet turned, and the bits of the file."""
    image, chunks, layout = opened.image, opened.chunks, opened.layout
    if layout is not None:
        assert opened.tiff is not None
        values = tiff_samples.read(opened.path, opened.tiff, layout)
        if not opened.unknown and not layout.planar:  # of which Pillow takes bytes for samples
            turned = _oriented(values, _orientation(opened, stored=True))  # as Pillow has by now
            if layout.alpha == 1:  # and here it has divided the colours by alpha
                turned, image = turned[..., -1:], image.getchannel("A")
            check_against(opened.path, turned, image, 2**layout.bits - 1)
        return tiff_samples.meaning(values, layout), 16
    if chunks is None:
        return _values(opened.path, _to_rgb(image, icc) if image.mode in _CONVERTED else image)
    assert opened.pixels is not None
    opened.pixels.seek(0)
    data = opened.pixels.read()
    if is_deep(chunks):
        values, bits = read_png16(opened.path, data, chunks), 16
        check_against(opened.path, values, image)
    else:
        values, bits = _values(opened.path, image)
    if not values[-1].any() and not png_chunks.has_all_rows(data, chunks, image.size):
        raise ImageError(f"{opened.path}: damaged: its last rows are missing")
    transparent = transparent_colour(values, chunks, chunks.small.get(b"tRNS", b""))
    return significant(transparent, chunks, chunks.small.get(b"sBIT", b"")), bits


def _orientation(opened: _Opened, *, stored: bool = False) -> int:
    """How the pixels are to be turned; ``stored``: those of a TIFF, which Pillow turns itself."""
    if opened.tiff is not None:
        return exif.orientation_of(opened.tiff) if stored else 1
    return exif.orientation_of(_raw_exif(opened))


def _raw_exif(opened: _Opened) -> bytes | None:
    if opened.chunks is not None:
        return opened.chunks.exif
    data: Any = opened.image.info.get("exif")
    return data if isinstance(data, bytes) and data else None


def _info(opened: _Opened) -> tuple[PictureInfo, set[str]]:
    """What the file says besides its pixels, without what is no longer true; and what else there is in it."""
    image, chunks, notes = opened.image, opened.chunks, set[str]()
    info = PictureInfo(opened.path, image.format or "")
    if opened.tiff is not None:
        info, packet = _of_tiff(info, opened.tiff)
    elif chunks is not None:
        fields = cast("dict[str, Any]", png_chunks.read_colour(chunks))
        info = replace(info, icc_profile=chunks.icc, exif=exif.cleaned(chunks.exif), text=chunks.text,
                       iptc=iptc.cleaned(chunks.iptc), **fields)  # fmt: skip
        packet = chunks.xmp
    else:
        icc: Any = image.info.get("icc_profile")
        info = replace(info, icc_profile=icc or None, exif=exif.cleaned(_raw_exif(opened)), dpi=_dpi(image))
        packet = image.info.get("xmp")
    if image.format in ("JPEG", "MPO"):
        info = replace(info, format="JPEG", iptc=iptc.cleaned(jpeg.resources(image)), comments=jpeg.comments(image),
                       jpeg_steps=jpeg.steps(image))  # fmt: skip
        notes |= jpeg.parts(image)
    if image.format in ("AVIF", "HEIF"):
        with opened.path.open("rb") as stream:
            cicp, bits = boxes.colour(stream)
        info = replace(info, cicp=cicp if info.icc_profile is None else None)
        if bits > 8:
            log.warning("%s: its %d bits a channel are read as 8", opened.path, bits)
    orientation = exif.orientation_of(opened.tiff) if opened.tiff is not None else _orientation(opened)
    turned = orientation != 1
    return replace(info, xmp=xmp.cleaned(packet, turned=turned, notes=notes)), notes


def _of_tiff(info: PictureInfo, data: memoryview) -> tuple[PictureInfo, bytes | None]:
    """Metadata that a TIFF has in tags of its own, and its XMP packet."""
    block = Block(data)
    try:
        found = {entry.tag: entry for entry in block.entries(block.first)}
    except StructureError:
        return info, None
    values = {tag: found[tag].data for tag in (700, 33723, 34377, 34675) if tag in found}
    dots: list[float] = []
    for tag in (282, 283):
        content = found[tag].data if tag in found and found[tag].kind == 5 else None
        if content is not None and len(content) == 8:
            over, under = (
                int.from_bytes(content[i : i + 4], "little" if block.order == "<" else "big") for i in (0, 4)
            )
            dots += [over / under] if under else []
    unit = block.integers(found[296])[:1] if 296 in found else (2,)
    factor = {2: 1.0, 3: 2.54}.get(unit[0] if unit else 2)
    sensible = factor is not None and len(dots) == 2 and all(0 < value < 1e5 for value in dots)
    return replace(
        info,
        exif=exif.of_tiff(data),
        icc_profile=values.get(34675) or None,
        iptc=iptc.cleaned(values.get(34377) or values.get(33723)),
        dpi=(dots[0] * factor, dots[1] * factor) if sensible and factor else None,
    ), values.get(700)


def _dpi(image: Image.Image) -> tuple[float, float] | None:
    """Pixels per inch, where the file gives sensible ones."""
    dpi: Any = image.info.get("dpi")
    try:
        x, y = (float(value) for value in dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if 0 < x < 1e5 and 0 < y < 1e5 else None


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
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):  # the second in an older Pillow
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
