"""Pictures: reading and writing them with all that they carry, colours, transparency, sizes."""

from .formats import EXTENSIONS, FORMATS, check_output, extension_of, output_format
from .picture import Picture, PictureInfo, Pixels, has_transparency, to_bytes
from .reading import MAX_PIXELS, image_size, read_image
from .writing import WriteOptions, write_image

__all__ = [
    "EXTENSIONS",
    "FORMATS",
    "MAX_PIXELS",
    "Picture",
    "PictureInfo",
    "Pixels",
    "WriteOptions",
    "check_output",
    "extension_of",
    "has_transparency",
    "image_size",
    "output_format",
    "read_image",
    "to_bytes",
    "write_image",
]
