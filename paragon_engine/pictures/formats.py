"""The allow-list of picture formats, as a table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from PIL import features

from paragon_arch.errors import InvalidOptionError, OutputError


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
    mime: str
    """Its media type."""
    deep: bool = False
    """It is written with 16 bits a channel where the picture has them."""


@dataclass(frozen=True)
class PlugIn:
    """A format that is read, not written, where a plug-in for Pillow is installed."""

    name: str
    """Pillow's name."""
    extensions: tuple[str, ...]
    module: str
    """What is imported for it."""
    package: str
    """What is installed for it."""
    register: str = ""
    """A function of the module that makes Pillow know it; "" where importing it does."""


_LARGE = 2**31 - 1

FORMATS = (
    Format("PNG", (".png",), True, _LARGE, "image/png", deep=True),
    Format("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), False, 65535, "image/jpeg"),
    Format("WEBP", (".webp",), True, 16383, "image/webp"),
    Format("TIFF", (".tif", ".tiff"), True, _LARGE, "image/tiff", deep=True),
    Format("BMP", (".bmp",), False, _LARGE, "image/bmp"),
    *(
        (Format("AVIF", (".avif",), True, 65535, "image/avif"),)
        if features.modules.get("avif") and features.check("avif")
        else ()
    ),
)
"""The allow-list: nothing else is read, whatever else Pillow could open. AVIF where Pillow was built with it."""
PLUG_INS = (
    PlugIn("HEIF", (".heic", ".heif", ".hif"), "pillow_heif", "pillow-heif", "register_heif_opener"),
    PlugIn("JXL", (".jxl",), "pillow_jxl", "pillow-jxl-plugin"),
)
"""Formats of phones and archives that Pillow itself does not read."""
OTHER_EXTENSIONS = {
    **{
        extension: f"pip install {plug.package} lets them be read" for plug in PLUG_INS for extension in plug.extensions
    },
    ".avif": "this Pillow was built without AVIF",
    ".gif": "animations are for the command video, to .gif, .webp or .apng",
    ".apng": "animations are for the command video, to .gif, .webp or .apng",
    **dict.fromkeys(
        (".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2"), "develop raw pictures first, to TIFF or PNG"
    ),
    **dict.fromkeys(
        (".dds", ".exr", ".hdr", ".ico", ".j2k", ".jp2", ".ppm", ".psb", ".psd", ".svg", ".tga", ".xcf"),
        "not a format that we read; save them as PNG or TIFF",
    ),
}
"""Extensions of pictures that are not read, and what to do about it."""

_BY_EXTENSION = {extension: fmt for fmt in FORMATS for extension in fmt.extensions}
EXTENSIONS = frozenset(_BY_EXTENSION)
"""Extensions of pictures that are read and written, in lower case with the dot."""


@cache
def plug_ins() -> tuple[PlugIn, ...]:
    """The plug-ins that are installed."""
    return tuple(plug for plug in PLUG_INS if find_spec(plug.module) is not None)


def readable_extensions() -> frozenset[str]:
    """Extensions of pictures that are read here, in lower case with the dot."""
    return EXTENSIONS | {extension for plug in plug_ins() for extension in plug.extensions}


def readable(extension: str) -> list[str]:
    """Pillow's names of what may be opened; a plug-in is loaded for files of its extension alone."""
    names = [fmt.name for fmt in FORMATS]
    for plug in plug_ins():
        if extension.lower() in plug.extensions:
            module = import_module(plug.module)
            if plug.register:
                getattr(module, plug.register)()
            names.append(plug.name)
    return names


def format_names() -> str:
    """The formats, for messages."""
    return ", ".join(fmt.name for fmt in FORMATS)


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


def extension_of(name: str) -> str | None:
    """Extension with the dot for a format's name, e.g. "jpg" or "tiff"; None for "same".

    Raises:
        InvalidOptionError: unknown, or Pillow was built without it.
    """
    if name == "same":
        return None
    for fmt in FORMATS:
        if name.lower() in (fmt.name.lower(), *(extension[1:] for extension in fmt.extensions)):
            return fmt.extensions[0]
    raise InvalidOptionError(f"format {name!r} cannot be written here: choose one of {format_names()}, or same")


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
