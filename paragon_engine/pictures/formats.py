"""The allow-list of picture formats, as a table."""

from __future__ import annotations

from dataclasses import dataclass
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
    deep: bool = False
    """It is written with 16 bits a channel where the picture has them."""
    metadata: bool = True
    """It can hold an ICC profile and EXIF data."""


_LARGE = 2**31 - 1

FORMATS = (
    Format("PNG", (".png",), True, _LARGE, deep=True),
    Format("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), False, 65535),
    Format("WEBP", (".webp",), True, 16383),
    Format("TIFF", (".tif", ".tiff"), True, _LARGE, deep=True),
    Format("BMP", (".bmp",), False, _LARGE, metadata=False),
    *((Format("AVIF", (".avif",), True, 65535),) if features.modules.get("avif") and features.check("avif") else ()),
)
"""The allow-list: nothing else is read, whatever else Pillow could open. AVIF where Pillow was built with it."""

_BY_EXTENSION = {extension: fmt for fmt in FORMATS for extension in fmt.extensions}
EXTENSIONS = frozenset(_BY_EXTENSION)
"""Extensions of pictures, in lower case with the dot."""
READ_AS = [fmt.name for fmt in FORMATS]
"""Pillow's names of what may be opened."""


def format_names() -> str:
    """The formats, for messages."""
    return ", ".join(READ_AS)


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
