"""What a PNG file holds around its pixels (PNG, third edition): read within our limits, and made for new files.

Pillow gets the file without these chunks: its own limits refuse profiles and texts of sizes that are in use, and it
counts transparency in units that it has changed by then.
"""

from __future__ import annotations

import binascii
import io
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from ..progress import log
from .picture import PictureInfo

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_ONE = 16 * 2**20
"""Bytes of a profile, text or EXIF block, unpacked, beyond which it is left out."""
MAX_ALL = 64 * 2**20
"""The same for all of them together."""
MAX_CHUNKS = 20_000
"""Chunks of text beyond which they are left out."""
_XMP_KEY = "XML:com.adobe.xmp"
_INCHES_PER_METRE = 39.3701
_TEXT = (b"tEXt", b"zTXt", b"iTXt")
_KNOWN = frozenset(
    b"iCCP cICP gAMA cHRM sRGB sBIT pHYs eXIf tIME mDCV cLLI bKGD hIST sPLT sTER oFFs pCAL sCAL".split()
    + b"acTL fcTL fdAT tRNS tEXt zTXt iTXt".split()
)
"""Chunks that Pillow has no need of; `tRNS` of a palette excepted."""
_RAW = re.compile(r"Raw profile type (\w+)")
_APP1_XMP = b"http://ns.adobe.com/xap/1.0/\0"


@dataclass
class Chunks:
    """What was found in a PNG file besides its pixels."""

    bits: int = 8
    """Per sample in the file, 1 to 16."""
    colour: int = 0
    """Colour type: 0 gray, 2 RGB, 3 palette, 4 gray and alpha, 6 RGBA."""
    frames: int = 1
    """Of an animated PNG."""
    small: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    """Contents of chunks that occur once and are short."""
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: str | bytes | None = None
    iptc: bytes | None = None
    text: dict[str, str] = field(default_factory=dict[str, str])
    notes: list[str] = field(default_factory=list[str])
    """What was left out, and why."""


def read(stream: IO[bytes], *, pixels: bool = True) -> tuple[Chunks, IO[bytes]]:
    """Part a file into what is around the pixels, and a smaller PNG with the pixels for a decoder.

    Args:
        stream: at its beginning.
        pixels: False leaves out the pixels themselves: the smaller PNG is good for its header alone.
    """
    found = _Reader(stream, pixels)
    found.run()
    return found.chunks, io.BytesIO(b"".join(found.kept))


class _Reader:
    def __init__(self, stream: IO[bytes], pixels: bool) -> None:
        self._stream, self._pixels = stream, pixels
        self.kept: list[bytes] = []
        self.chunks = Chunks()
        self._left, self._texts = MAX_ALL, 0
        self._lines: dict[str, list[str]] = {}

    def run(self) -> None:
        """Read to the end."""
        self._read()
        self.chunks.text = {key: "\n".join(lines) for key, lines in self._lines.items()}

    def _read(self) -> None:
        self.kept.append(self._stream.read(8))
        while len(head := self._stream.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if (kind == b"IDAT" and not self._pixels) or (kind in _KNOWN and length > MAX_ALL):
                self._stream.seek(length + 4, io.SEEK_CUR)
                if kind in _KNOWN:
                    self._note(f"a {kind.decode()} chunk of over {MAX_ALL:,} bytes")
            elif kind in _KNOWN:
                content, check = self._stream.read(length), self._stream.read(4)
                if len(content) < length or len(check) < 4:
                    self.kept.append(head + content)
                    return
                self._take(kind, content, head + content + check)
            else:
                self.kept.append(head + self._stream.read(length + 4))
                if kind == b"IHDR" and length == 13:
                    self.chunks.bits, self.chunks.colour = self.kept[-1][16], self.kept[-1][17]
                if kind == b"IEND":
                    return
        self.kept.append(head)

    def _take(self, kind: bytes, content: bytes, whole: bytes) -> None:
        chunks = self.chunks
        if zlib.crc32(content, zlib.crc32(kind)) != struct.unpack(">I", whole[-4:])[0]:
            self._note(f"a damaged {kind.decode()} chunk")
        elif kind == b"tRNS" and chunks.colour == 3:
            self.kept.append(whole)
        elif kind == b"acTL":
            chunks.frames = struct.unpack(">I", content[:4])[0] if len(content) == 8 else 1
        elif kind in _TEXT:
            self._text(kind, content)
        elif kind == b"iCCP":
            chunks.icc = self._unpacked(content.partition(b"\0")[2][1:], "colour profile")
        elif kind == b"eXIf":
            if self._fits(len(content), "EXIF"):
                chunks.exif = content
        elif len(content) < 1024:
            chunks.small.setdefault(kind, content)

    def _note(self, what: str) -> None:
        if what not in self.chunks.notes:
            self.chunks.notes.append(what)

    def _fits(self, size: int, what: str) -> bool:
        if size > min(MAX_ONE, self._left):
            self._note(f"{what} of over {min(MAX_ONE, self._left):,} bytes")
            return False
        self._left -= size
        return True

    def _unpacked(self, packed: bytes, what: str) -> bytes | None:
        unpacker = zlib.decompressobj()
        try:
            data = unpacker.decompress(packed, min(MAX_ONE, self._left) + 1)
        except zlib.error:
            self._note(f"a damaged {what}")
            return None
        return data if self._fits(len(data), what) else None

    def _text(self, kind: bytes, content: bytes) -> None:
        self._texts += 1
        if self._texts > MAX_CHUNKS:
            self._note(f"text chunks after the first {MAX_CHUNKS:,}")
            return
        key, _, rest = content.partition(b"\0")
        packed = kind == b"zTXt"
        if kind == b"iTXt":
            packed = rest[:1] == b"\1"
            rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
        elif packed:
            rest = rest[1:]
        data = self._unpacked(rest, "text") if packed else rest if self._fits(len(rest), "text") else None
        if data is not None:
            name = key.decode("latin-1")
            self._take_text(name, data.decode("utf-8", "replace") if kind == b"iTXt" else data.decode("latin-1"), data)

    def _take_text(self, key: str, value: str, data: bytes) -> None:
        chunks, raw = self.chunks, _RAW.fullmatch(key)
        if key == _XMP_KEY:
            chunks.xmp = data
        elif raw:
            self._take_profile(raw[1].lower(), value)
        else:
            self._lines.setdefault(key, []).append(value)

    def _take_profile(self, kind: str, value: str) -> None:
        """A profile in hexadecimal digits, as ImageMagick writes them; what the chunk of its own says goes first."""
        chunks = self.chunks
        try:
            data = binascii.unhexlify("".join(value.split()[2:]))
        except (binascii.Error, ValueError):
            self._note(f"a damaged raw profile ({kind})")
            return
        if kind == "xmp" or data.startswith(_APP1_XMP):
            chunks.xmp = chunks.xmp or data.removeprefix(_APP1_XMP)
        elif kind in ("exif", "app1"):
            chunks.exif = chunks.exif or data.removeprefix(b"Exif\0\0")
        elif kind in ("icc", "icm"):
            chunks.icc = chunks.icc or data
        elif kind in ("iptc", "8bim"):
            chunks.iptc = chunks.iptc or data
        else:
            self._note(f"a raw profile of the kind {kind}")


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))


def ancillary(info: PictureInfo) -> Iterator[bytes]:
    """Chunks for what a picture carries, to stand between header and pixels."""
    if info.cicp is not None:
        yield chunk(b"cICP", bytes(info.cicp))
    if info.icc_profile is not None:
        yield chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(info.icc_profile))
    elif info.srgb_intent is not None:
        yield chunk(b"sRGB", bytes([info.srgb_intent]))
    if info.gamma is not None:
        yield chunk(b"gAMA", struct.pack(">I", round(info.gamma * 100_000)))
    if info.chromaticities is not None:
        yield chunk(b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in info.chromaticities)))
    for kind, content in info.light.items():
        yield chunk(kind.encode(), content)
    if info.dpi is not None:
        x, y = (round(value * _INCHES_PER_METRE) for value in info.dpi)
        yield chunk(b"pHYs", struct.pack(">IIB", x, y, 1))
    if info.exif is not None:
        yield chunk(b"eXIf", info.exif)
    if info.xmp is not None:
        yield chunk(b"iTXt", _XMP_KEY.encode() + b"\0\0\0\0\0" + info.xmp)
    for key, value in info.text.items():
        yield _text_chunk(key, value)


def _text_chunk(key: str, value: str) -> bytes:
    name = key.encode("latin-1", "replace")[:79] or b"Comment"
    try:
        return chunk(b"tEXt", name + b"\0" + value.encode("latin-1"))
    except UnicodeEncodeError:
        return chunk(b"iTXt", name + b"\0\0\0\0\0" + value.encode("utf-8", "replace"))


def read_colour(found: Chunks) -> dict[str, object]:
    """What the small chunks say about colours and resolution, as fields of `PictureInfo`; senseless values are not."""
    result: dict[str, object] = {}
    small = found.small
    if len(small.get(b"cICP", b"")) == 4:
        result["cicp"] = tuple(small[b"cICP"])
    if len(small.get(b"sRGB", b"")) == 1 and small[b"sRGB"][0] < 4:
        result["srgb_intent"] = small[b"sRGB"][0]
    if len(small.get(b"gAMA", b"")) == 4 and 0 < (gamma := struct.unpack(">I", small[b"gAMA"])[0]) < 10_000_000:
        result["gamma"] = gamma / 100_000
    if len(small.get(b"cHRM", b"")) == 32:
        result["chromaticities"] = tuple(value / 100_000 for value in struct.unpack(">8I", small[b"cHRM"]))
    light = {kind: small[kind.encode()] for kind in ("mDCV", "cLLI") if kind.encode() in small}
    if light:
        result["light"] = light
    if len(small.get(b"pHYs", b"")) == 9:
        x, y, unit = struct.unpack(">IIB", small[b"pHYs"])
        if unit == 1 and x and y:
            result["dpi"] = (x / _INCHES_PER_METRE, y / _INCHES_PER_METRE)
    for what in found.notes:
        log.warning("left out of the picture: %s", what)
    return result
