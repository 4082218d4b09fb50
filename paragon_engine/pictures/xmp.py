"""XMP packets of a picture for its enlarged copy: what is no longer true is cut out of the bytes or scaled in them.

The packet is read by an XML parser that says where each element stands; nothing is written anew, so that everything
else keeps its bytes, names and order (XMP specification, part 1).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

from ..progress import log

PREFIXES = {
    "http://ns.adobe.com/tiff/1.0/": "tiff",
    "http://ns.adobe.com/exif/1.0/": "exif",
    "http://purl.org/dc/elements/1.1/": "dc",
    "http://ns.adobe.com/xap/1.0/": "xmp",
    "http://ns.adobe.com/xmp/note/": "xmpNote",
    "http://ns.adobe.com/hdr-gain-map/1.0/": "hdrgm",
    "http://ns.apple.com/HDRGainMap/1.0/": "HDRGainMap",
    "http://ns.apple.com/pixeldatainfo/1.0/": "apdi",
    "http://ns.google.com/photos/1.0/container/": "Container",
    "http://ns.google.com/photos/1.0/camera/": "GCamera",
    "http://ns.google.com/photos/1.0/depthmap/": "GDepth",
    "http://ns.google.com/photos/1.0/image/": "GImage",
    "http://ns.google.com/photos/1.0/audio/": "GAudio",
    "http://ns.google.com/photos/dd/1.0/device/": "Device",
    "http://ns.google.com/photos/1.0/panorama/": "GPano",
    "http://www.metadataworkinggroup.com/schemas/regions/": "mwg-rs",
    "http://ns.adobe.com/xmp/sType/Dimensions#": "stDim",
    "http://ns.microsoft.com/photo/1.2/": "MP",
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/": "Iptc4xmpExt",
    "http://ns.adobe.com/xap/1.0/mm/": "xmpMM",
}
"""Names of namespaces, by which the tables below know them; a packet may use others."""
GONE = re.compile(
    r"tiff:(?:ImageWidth|ImageLength|BitsPerSample|Compression|PhotometricInterpretation|SamplesPerPixel"
    r"|PlanarConfiguration|YCbCrSubSampling|YCbCrPositioning|NativeDigest)"
    r"|exif:(?:PixelXDimension|PixelYDimension|SubjectArea|SubjectLocation|NativeDigest)"
    r"|xmp:Thumbnails|xmpNote:HasExtendedXMP"
    r"|(?:hdrgm|HDRGainMap|apdi|Container|GDepth|GImage|GAudio|Device):.*"
    r"|GCamera:(?:MotionPhoto|MicroVideo).*"
)
"""What the copy does not have: old sizes and structure, thumbnails, gain maps, videos, depth, extended parts."""
TURNED = re.compile(r"GPano:.*|mwg-rs:Regions|MP:RegionInfo|Iptc4xmpExt:ImageRegion")
"""Places in the picture, which a picture that was turned upright no longer has there."""
_ACROSS = re.compile(r"GPano:(?:CroppedAreaImageWidthPixels|CroppedAreaLeftPixels|FullPanoWidthPixels"
                     r"|LargestValidInteriorRectLeft|LargestValidInteriorRectWidth)|stDim:w")  # fmt: skip
_DOWN = re.compile(r"GPano:(?:CroppedAreaImageHeightPixels|CroppedAreaTopPixels|FullPanoHeightPixels"
                   r"|LargestValidInteriorRectTop|LargestValidInteriorRectHeight)|stDim:h")  # fmt: skip
_MOTION = re.compile(r"GCamera:(?:MotionPhoto|MicroVideo)")
_GAIN = re.compile(r"hdrgm:|HDRGainMap:")

_ATTRIBUTE = re.compile(rb"\s([^\s=\"'<>/]+)\s*=\s*(\"[^\"]*\"|'[^']*')")
_TAG = re.compile(rb"(?:[^\"'>]+|\"[^\"]*\"|'[^']*')*>")

Rewrite = Callable[[str, "list[str]", str], "str | None"]
"""(canonical name, names of the elements that it is in, value) -> the new value; None to cut it out."""


_LIMIT, _DEPTH = 4 * 2**20, 64


class _UnreadableError(ValueError):
    """A packet is no sensible XMP."""


@dataclass
class _Element:
    name: str
    start: int
    text: list[str] = field(default_factory=list[str])
    children: int = 0
    names: dict[str, str] = field(default_factory=dict[str, str])
    content: int = 0
    """Where what is in it begins."""


def cleaned(packet: bytes | str | None, *, turned: bool = False, notes: set[str] | None = None) -> bytes | None:
    """A packet that says that the picture stands upright, and nothing of sizes, thumbnails and parts it does not have.

    Args:
        packet: as it was stored.
        turned: the picture was turned or mirrored to stand upright.
        notes: takes in what a user should know of.

    Returns:
        None if there is nothing, or it cannot be read (which is said).
    """
    data = _as_utf8(packet)
    if data is None:
        return None

    def rewrite(name: str, inside: list[str], value: str) -> str | None:
        if notes is not None and _MOTION.match(name) and value.strip() not in ("", "0"):
            notes.add("the video of a motion photo")
        if notes is not None and _GAIN.match(name):
            notes.add("a gain map")
        if GONE.fullmatch(name) or (turned and TURNED.fullmatch(name)):
            return None
        if name == "Iptc4xmpExt:rbUnit" and value.strip() == "pixel":
            return None
        return "1" if name == "tiff:Orientation" else value

    return _rewritten(data, rewrite)


def scaled(packet: bytes, factors: tuple[float, float], mime: str) -> bytes | None:
    """A packet for a picture that is so many times as wide and as high, in a file of another format."""

    def rewrite(name: str, inside: list[str], value: str) -> str | None:
        if name == "dc:format":
            return mime
        if name.startswith("stDim:") and "mwg-rs:AppliedToDimensions" not in inside:
            return value
        for pattern, factor in ((_ACROSS, factors[0]), (_DOWN, factors[1])):
            if pattern.fullmatch(name) and re.fullmatch(r"\s*\d{1,9}(?:\.\d*)?\s*", value):
                return str(round(float(value) * factor))
        return value

    return _rewritten(packet, rewrite)


def _as_utf8(packet: bytes | str | None) -> bytes | None:
    if packet is None:
        return None
    data = packet.encode("utf-8", "replace") if isinstance(packet, str) else packet
    for mark, name in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if data.startswith(mark):
            data = data[2:].decode(name, "replace").encode()
    data = data.strip(b"\0 \r\n\t")
    return data.removeprefix(b"\xef\xbb\xbf") or None


def _rewritten(data: bytes, rewrite: Rewrite) -> bytes | None:
    """The packet with values changed and cut out; None, with a warning, where it is no XML."""
    if len(data) > _LIMIT:
        log.warning("XMP data of over %d MiB is left out", _LIMIT // 2**20)
        return None
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        log.warning("XMP data with a document type is left out")
        return None
    finder = _Finder(data, rewrite)
    try:
        finder.run()
    except (expat.ExpatError, _UnreadableError) as error:
        log.warning("XMP data is damaged and left out: %s", error)
        return None
    result, end = bytearray(), 0
    for start, stop, new in sorted(finder.edits):
        if start >= end:
            result += data[end:start] + new
            end = stop
    return bytes(result + data[end:])


class _Finder:
    """Finds, in the bytes of a packet, what is to be changed."""

    def __init__(self, data: bytes, rewrite: Rewrite) -> None:
        self._data, self._rewrite = data, rewrite
        self._open: list[_Element] = []
        self._spans: tuple[int, dict[str, re.Match[bytes]]] = (-1, {})
        self.edits: list[tuple[int, int, bytes]] = []
        parser: Any = expat.ParserCreate("utf-8")
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.ordered_attributes = True
        parser.buffer_text = True
        self._parser = parser

    def run(self) -> None:
        self._parser.Parse(self._data, True)

    def _canonical(self, name: str) -> str:
        """The name with the prefix that the tables above use."""
        prefix, colon, local = name.partition(":")
        if not colon:
            return name
        for element in reversed(self._open):
            if prefix in element.names:
                return f"{PREFIXES.get(element.names[prefix], prefix)}:{local}"
        return name

    def _start(self, name: str, attributes: list[str]) -> None:
        at: int = self._parser.CurrentByteIndex
        stop = self._tag_end(at)
        if len(self._open) >= _DEPTH:
            raise _UnreadableError(f"elements in each other over {_DEPTH} deep")
        element = _Element(name, at, content=stop)
        pairs = list(zip(attributes[::2], attributes[1::2], strict=True))
        element.names = {key[6:]: value for key, value in pairs if key.startswith("xmlns:")}
        if self._open:
            self._open[-1].children += 1
        self._open.append(element)
        element.name = self._canonical(name)
        for key, value in pairs:
            if not key.startswith("xmlns"):
                self._attribute(key, value, [item.name for item in self._open], at, stop)

    def _tag_end(self, at: int) -> int:
        """Behind the ``>`` of a start tag, which may also stand in quotes."""
        found = _TAG.match(self._data, at)
        return found.end() if found else len(self._data)

    def _attribute(self, key: str, value: str, inside: list[str], at: int, stop: int) -> None:
        new = self._rewrite(self._canonical(key), inside, value)
        if new == value:
            return
        if self._spans[0] != at:
            found_all = _ATTRIBUTE.finditer(self._data, at, stop)
            self._spans = at, {match[1].decode("utf-8", "replace"): match for match in found_all}
        found = self._spans[1].get(key)
        if found is None:
            return
        if new is None:
            self.edits.append((found.start(), found.end(), b""))
        else:
            self.edits.append((found.start(2) + 1, found.end(2) - 1, _escaped(new)))

    def _text(self, text: str) -> None:
        if self._open:
            self._open[-1].text.append(text)

    def _end(self, _: str) -> None:
        element = self._open.pop()
        at: int = self._parser.CurrentByteIndex
        empty = self._data[element.content - 2 : element.content] == b"/>"
        stop = element.content if empty else self._data.index(b">", at) + 1
        inside = [item.name for item in self._open]
        value = "".join(element.text)
        new = self._rewrite(element.name, inside, value)
        if new is None:
            self.edits.append((element.start, stop, b""))
        elif new != value and not element.children and not empty:
            self.edits.append((element.content, at, _escaped(new)))


def _escaped(text: str) -> bytes:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;").encode()
