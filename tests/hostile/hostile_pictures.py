"""Pictures and videos that are bombs, cut off, or carry absurd metadata."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from paragon_engine.packages import require

Maker = Callable[[], bytes]


def chunk(kind: bytes, content: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))


def png(width: int, height: int, *chunks: bytes, rows: int | None = None, colours: int = 2, bits: int = 8) -> bytes:
    """A black PNG that may claim any size and hold any number of rows."""
    channels = {0: 1, 2: 3, 6: 4}[colours]
    packer = zlib.compressobj(9)
    row = bytes(1 + (width * channels * bits + 7) // 8)
    data = b"".join(packer.compress(row) for _ in range(height if rows is None else rows)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _packed(size: int) -> bytes:
    """So many zero bytes, deflated."""
    packer = zlib.compressobj(9)
    block = bytes(2**20)
    return b"".join(packer.compress(block) for _ in range(size // len(block))) + packer.flush()


def noise(kind: str, **options: Any) -> bytes:
    """A small picture with contents, in a format of Pillow."""
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def texts(count: int) -> bytes:
    """So many text chunks."""
    return png(64, 48, chunk(b"tEXt", b"Comment\0x") * count)


def _text_bombs() -> bytes:
    """A hundred compressed texts of 16 MiB."""
    return png(64, 48, chunk(b"zTXt", b"Comment\0\0" + _packed(2**24)) * 100)


def _profile_bomb() -> bytes:
    return png(64, 48, chunk(b"iCCP", b"profile\0\0" + _packed(2**26)))


def _jpeg_profile() -> bytes:
    """The largest profile that a JPEG can hold."""
    return noise("JPEG", icc_profile=bytes(65519 * 255))


def _tiff_profile() -> bytes:
    return noise("TIFF", icc_profile=bytes(2**26), compression="tiff_adobe_deflate")


def _exif_of_loops() -> bytes:
    """Directories that point at themselves."""
    directory = struct.pack("<HHHIII", 1, 0x8769, 4, 1, 8, 8)
    return noise("JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0" + directory)


def _tiff_tag(tag: int, kind: int, count: int, value: int) -> bytes:
    """A TIFF of one directory in which one entry lies."""
    entries = [(256, 4, 1, 64), (257, 4, 1, 48), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8),
               (277, 3, 1, 1), (278, 4, 1, 48), (279, 4, 1, 64 * 48)]  # fmt: skip
    entries = sorted([entry for entry in entries if entry[0] != tag] + [(tag, kind, count, value)])
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<I", 8) + directory + bytes(4) + bytes(64 * 48)


def _bmp(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


def _frames() -> bytes:
    frames = [Image.new("RGB", (64, 48), (index, 0, 0)) for index in range(200)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def _resized_webp() -> bytes:
    """A WebP canvas of 16,384 x 16,384 around a small picture."""
    data = bytearray(noise("WEBP", lossless=True, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0"))
    at = data.index(b"VP8X") + 12
    data[at : at + 6] = (16383).to_bytes(3, "little") * 2
    return bytes(data)


REFUSED: dict[str, Maker] = {
    "bomb_50k.png": lambda: png(50_000, 50_000, rows=100),
    "bomb_wide.png": lambda: png(2**31 - 1, 1, rows=0),
    "bomb_gray.png": lambda: png(12_000, 12_000, colours=0),
    "bomb_16_bits.png": lambda: png(9_000, 9_000, colours=6, bits=16, rows=1000),
    "bomb_black.jpg": lambda: noise("JPEG").replace(struct.pack(">HH", 48, 64), struct.pack(">HH", 65_000, 65_000), 1),
    "bomb.bmp": lambda: _bmp(30_000, 30_000),
    "bomb_negative.bmp": lambda: _bmp(64, -(2**31)),
    "bomb.tif": lambda: _tiff_tag(256, 4, 1, 2**31),
    "canvas.webp": _resized_webp,
    "zero.png": lambda: png(0, 0),
    "profile_bomb_without_picture.png": lambda: png(64, 48, chunk(b"iCCP", b"p\0\0" + _packed(2**25)), rows=1),
    "tag_count.tif": lambda: _tiff_tag(273, 4, 2**30, 8),
    "tag_strip_far.tif": lambda: _tiff_tag(273, 4, 1, 2**31),
    "animated.png": _frames,
}
"""Pictures that must be refused; those of more than 24 million pixels by the limit that the test sets."""


def _exif_of_pointers() -> bytes:
    """Directories of thousands of entries that all point to the next one."""
    count, size = 1000, 2 + 12 * 1000 + 4
    block = b"II*\0\x08\0\0\0"
    for level in range(4):
        row = struct.pack("<HHII", (0x8769, 0x8825, 0xA005, 0x8769)[level], 4, 1, 8 + size * (level + 1))
        block += struct.pack("<H", count) + row * count + bytes(4)
    return noise("WEBP", exif=b"Exif\0\0" + block)


def _exif_of_overlaps() -> bytes:
    """Thousands of values that are the whole of the data."""
    count = 4000
    rows = b"".join(struct.pack("<HHII", 0x9000 + index, 7, 2**20, 8) for index in range(count))
    return noise("WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", count) + rows + bytes(2**20))


def _xmp(content: str) -> bytes:
    return noise("WEBP", xmp=f'<x:xmpmeta xmlns:x="adobe:ns:meta/">{content}</x:xmpmeta>'.encode())


BOUNDED: dict[str, Maker] = {
    "many_texts.png": lambda: texts(100_000),
    "text_bombs.png": _text_bombs,
    "profile_bomb.png": _profile_bomb,
    "huge_profile.jpg": _jpeg_profile,
    "huge_profile.tif": _tiff_profile,
    "exif_loop.jpg": _exif_of_loops,
    "exif_pointers.webp": _exif_of_pointers,
    "exif_overlaps.webp": _exif_of_overlaps,
    "xmp_deep.webp": lambda: _xmp("<a:b>" * 500_000 + "</a:b>" * 500_000),
    "xmp_wide.webp": lambda: _xmp("<a " + " ".join(f'GDepth:a{i}="1"' for i in range(100_000)) + "/>"),
    "xmp_entities.webp": lambda: _xmp("&a;" * 100_000),
    "same_text.png": lambda: png(64, 48, chunk(b"tEXt", b"Comment\0" + b"x" * 3000) * 19_000),
    "huge_text.png": lambda: png(64, 48, chunk(b"iTXt", b"Comment\0\0\0\0\0" + b"x" * 2**24)),
    "huge_exif.png": lambda: png(64, 48, chunk(b"eXIf", b"II*\0\x08\0\0\0" + b"\xff" * 2**24)),
    "tag_loop.tif": lambda: _tiff_tag(34665, 4, 1, 8),
    "huge_xmp.jpg": lambda: noise("JPEG", xmp=b"<x:xmpmeta tiff:Orientation='" + b"1" * 60_000 + b"'"),
}
"""Pictures that may be read or refused; either way with bounded time and memory."""


def _text() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "words " * 50, zip=True)
    return info


WHOLE: dict[str, Maker] = {
    "plain.png": lambda: noise("PNG", pnginfo=_text()),
    "deep.png": lambda: png(64, 48, bits=16),
    "gray.png": lambda: png(64, 48, colours=0),
    "baseline.jpg": lambda: noise("JPEG"),
    "progressive.jpg": lambda: noise("JPEG", progressive=True),
    "lossy.webp": lambda: noise("WEBP"),
    "lossless.webp": lambda: noise("WEBP", lossless=True),
    "plain.tif": lambda: noise("TIFF"),
    "deflated.tif": lambda: noise("TIFF", compression="tiff_adobe_deflate"),
    "lzw.tif": lambda: noise("TIFF", compression="tiff_lzw"),
    "plain.bmp": lambda: noise("BMP"),
    "plain.avif": lambda: noise("AVIF"),
}
"""Sound pictures to cut."""


def cuts(data: bytes, parts: int = 16) -> Iterator[tuple[int, bytes]]:
    """A file cut at every sixteenth, or another share, of its length."""
    for index in range(parts):
        yield index, data[: len(data) * index // parts]


def video(path: Path) -> bytes:
    """Ten frames of noise."""
    av: Any = require("av", "the test")
    pixels = np.random.default_rng(0).integers(0, 256, (10, 48, 64, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264" if path.suffix != ".webm" else "libvpx-vp9", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for image in pixels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path.read_bytes()
