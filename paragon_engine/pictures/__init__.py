"""Pictures: reading and writing them with all that they carry, colours, transparency, sizes."""

from .formats import (
    EXTENSIONS,
    FORMATS,
    OTHER_EXTENSIONS,
    check_output,
    extension_of,
    output_format,
    readable_extensions,
)
from .picture import Picture, PictureInfo, Pixels, has_transparency, to_bytes
from .reading import MAX_PIXELS, image_size, read_image
from .writing import WriteOptions, prepared, write_image

__all__ = [
    "EXTENSIONS",
    "FORMATS",
    "MAX_PIXELS",
    "OTHER_EXTENSIONS",
    "Picture",
    "PictureInfo",
    "Pixels",
    "WriteOptions",
    "check_output",
    "extension_of",
    "has_transparency",
    "image_size",
    "output_format",
    "prepared",
    "read_image",
    "readable_extensions",
    "to_bytes",
    "write_image",
]
