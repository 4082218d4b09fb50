"""EXIF data of a picture for its enlarged copy: what is no longer true is taken out, the rest keeps its bytes."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from ..progress import log
from .ifd import (
    ASCII,
    BYTE,
    EXIF_IFD,
    GPS_IFD,
    INTEROP_IFD,
    LONG,
    RATIONAL,
    SHORT,
    UNDEFINED,
    Block,
    StructureError,
    Value,
    build,
    tree,
    with_values,
)

ORIENTATION = 0x0112
PREFIX = b"Exif\0\0"
# fmt: off
STRUCTURE = frozenset((
    0x00FE, 0x00FF, 0x0100, 0x0101, 0x0102, 0x0103, 0x0106, 0x010A, 0x0111, 0x0115, 0x0116, 0x0117, 0x0118, 0x0119,
    0x011C, 0x0129, 0x013D,
    0x0140, 0x0142, 0x0143, 0x0144, 0x0145, 0x014A, 0x0152, 0x0153, 0x0154, 0x0155, 0x015B, 0x0201,
    0x0202, 0x0211, 0x0212, 0x0213, 0x0214, 0x02BC, 0x83BB, 0x8649, 0x8773,
))
# fmt: on
"""Tags that describe how one file stores its pixels, or that travel by another way (ICC, XMP, IPTC)."""
GONE = {
    EXIF_IFD: (0xA002, 0xA003, 0x9214, 0xA214),  # sizes, and places in pixels: subject area and location
    INTEROP_IFD: (0x1001, 0x1002),  # sizes of the related image
}
"""Tags of directories that state sizes or places in pixels."""
_RESOLUTION = (0x011A, 0x011B, 0x0128)
_USER_COMMENT, _XP_COMMENT = 0x9286, 0x9C9C
TEXT_TAGS = {
    "Title": 0x010E,
    "Description": 0x010E,
    "Author": 0x013B,
    "Copyright": 0x8298,
    "Software": 0x0131,
}
"""PNG's keywords that have a tag of their own."""
_WORKFLOWS = {"workflow": 0x010F, "prompt": 0x0110}
"""Where ComfyUI looks for them in files without text chunks: as "key:value"."""
_COMMENTS = ("parameters", "Comment")
"""Keywords whose text is the user comment, the preferred first."""


def body(exif: bytes) -> bytes:
    """EXIF data without the marker that JPEG puts before it."""
    return exif.removeprefix(PREFIX)


def orientation_of(exif: bytes | memoryview | None) -> int:
    """1..8; 1 where nothing sensible is said."""
    if exif is None:
        return 1
    try:
        block = Block(body(exif) if isinstance(exif, bytes) else exif)
        for entry in block.entries(block.first):
            if entry.tag == ORIENTATION and (values := block.integers(entry)):
                return values[0] if 1 <= values[0] <= 8 else 1
    except StructureError:
        pass
    return 1


def cleaned(exif: bytes | None) -> bytes | None:
    """EXIF data without orientation (applied already), sizes, thumbnail and file structure.

    Returns:
        The same bytes in all else, from the TIFF header on; None if nothing is left.
    """
    if exif is None or not body(exif):
        return None
    try:
        return _cleaned(Block(bytearray(body(exif))))
    except StructureError as error:
        log.warning("EXIF data is damaged and left out: %s", error)
        return None


def _cleaned(block: Block) -> bytes | None:
    assert isinstance(block.data, bytearray)
    if block.big:
        raise StructureError("BigTIFF")
    first = block.first
    _drop_thumbnail(block, first)
    details = block.sub(first, EXIF_IFD)
    if details and details != first:
        interop = block.sub(details, INTEROP_IFD)
        if interop and interop not in (first, details):
            block.remove(interop, GONE[INTEROP_IFD])
        block.remove(details, GONE[EXIF_IFD])
    block.remove(first, STRUCTURE | {ORIENTATION})
    if not _says_something(block, first):
        return None
    return bytes(block.data)


def _says_something(block: Block, first: int) -> bool:
    """Whether there is more than empty directories."""
    for entry in block.entries(first):
        if entry.tag not in (EXIF_IFD, GPS_IFD):
            return True
        place = block.sub(first, entry.tag)
        if not place or block.entries(place):
            return True
    return False


def _drop_thumbnail(block: Block, first: int) -> None:
    """Cut off, or overwrite, the second directory and the picture that it has."""
    assert isinstance(block.data, bytearray)
    second = block.following(first)
    if not second or second == first:
        return
    struct.pack_into(block.order + "I", block.data, block.next_place(first), 0)
    try:
        found = {entry.tag: entry for entry in block.entries(second)}
    except StructureError:
        return
    start, size = (block.integers(found[tag])[:1] if tag in found else () for tag in (0x0201, 0x0202))
    if not start or not size or start[0] + size[0] > len(block.data):
        return
    if start[0] + size[0] >= len(block.data) - 3:
        del block.data[start[0] :]
    else:
        block.data[start[0] : start[0] + size[0]] = bytes(size[0])


def of_tiff(data: memoryview | bytes) -> bytes | None:
    """What a TIFF file says about its picture, as EXIF data: its tags without those of the structure."""
    try:
        block = Block(data)
        found = tree(block, block.first)
    except StructureError as error:
        log.warning("EXIF data is damaged and left out: %s", error)
        return None
    return _rebuilt(block.order, {tag: value for tag, value in found.items() if tag not in STRUCTURE})


def _rebuilt(order: str, found: dict[int, Value | dict[int, Value]]) -> bytes | None:
    kept = {tag: value for tag, value in found.items() if tag not in (ORIENTATION, *_RESOLUTION)}
    details = kept.get(EXIF_IFD)
    if isinstance(details, dict):
        for tag in GONE[EXIF_IFD]:
            details.pop(tag, None)
        if isinstance(interop := details.get(INTEROP_IFD), dict):
            for tag in GONE[INTEROP_IFD]:
                interop.pop(tag, None)
    kept = {tag: value for tag, value in kept.items() if value}
    return build(order, kept) if kept else None


def shortened(exif: bytes, limit: int) -> tuple[bytes | None, list[int]]:
    """EXIF data in at most ``limit`` bytes, and the tags that had to go for it, the largest first."""
    block = Block(exif)
    found = tree(block, block.first)
    gone: list[int] = []
    while found:
        data = build(block.order, found)
        if len(data) <= limit:
            return data, gone
        places = [(len(value.data), tag, found) for tag, value in found.items() if isinstance(value, Value)]
        for sub in found.values():
            if isinstance(sub, dict):
                places += [(len(v.data), tag, sub) for tag, v in sub.items() if isinstance(v, Value)]  # pyright: ignore
        if not places:
            break
        _, tag, home = max(places, key=lambda item: item[:2])
        del home[tag]
        gone.append(tag)
    return None, gone


def with_text(exif: bytes | None, text: Mapping[str, str]) -> bytes:
    """EXIF data that has the text of a PNG, too, where the programs that wrote it look for it in other formats.

    Tags that are there already stay; text that has no tag of its own is collected in the comment.
    """
    block = Block(exif) if exif is not None else Block(build(">", {}))
    taken = {entry.tag for entry in block.entries(block.first)}
    place = block.sub(block.first, EXIF_IFD)
    inner = {entry.tag for entry in block.entries(place)} if place else set[int]()
    main: dict[int, Value] = {}
    details: dict[int, Value] = {}
    rest: list[str] = []
    comment = next((key for key in _COMMENTS if key in text), None) if _USER_COMMENT not in inner else None
    for key, value in text.items():
        tag = TEXT_TAGS.get(key) or _WORKFLOWS.get(key)
        if key == comment:
            details[_USER_COMMENT] = _user_comment(value)
        elif tag is not None and tag not in taken and tag not in main:
            main[tag] = _ascii(f"{key}:{value}" if key in _WORKFLOWS else value)
        else:
            rest.append(f"{key}: {value}")
    if rest and _USER_COMMENT not in inner and _USER_COMMENT not in details:
        details[_USER_COMMENT] = _user_comment("\n".join(rest))
    elif rest and _XP_COMMENT not in taken:
        words = ("\n".join(rest) + "\0").encode("utf-16-le", "surrogatepass")
        main[_XP_COMMENT] = Value(BYTE, len(words), words)
    elif rest:
        log.warning("text of the picture is left out, the places for it in EXIF are taken: %s", ", ".join(rest)[:200])
    return _extended(block, main, details)


def with_resolution(exif: bytes | None, dpi: tuple[float, float]) -> bytes:
    """EXIF data that has the print resolution, too, if it had none."""
    block = Block(exif) if exif is not None else Block(build(">", {}))
    if any(entry.tag in _RESOLUTION for entry in block.entries(block.first)):
        return bytes(block.data)
    packed = [struct.pack(block.order + "II", round(value * 1000), 1000) for value in dpi]
    unit = struct.pack(block.order + "H", 2)
    values = {
        0x011A: Value(RATIONAL, 1, packed[0]),
        0x011B: Value(RATIONAL, 1, packed[1]),
        0x0128: Value(SHORT, 1, unit),
    }
    return _extended(block, values, {})


def _extended(block: Block, main: Mapping[int, Value], details: Mapping[int, Value]) -> bytes:
    """The block with copies of its directories that have more values."""
    main = dict(main)
    if details:
        data, place = with_values(block, block.sub(block.first, EXIF_IFD), details)
        block = Block(bytearray(data))
        main[EXIF_IFD] = Value(LONG, 1, struct.pack(block.order + "I", place))
    data, place = with_values(block, block.first, main)
    result = bytearray(data)
    struct.pack_into(block.order + "I", result, 4, place)
    return bytes(result)


def _ascii(text: str) -> Value:
    data = text.encode("utf-8", "surrogateescape") + b"\0"
    return Value(ASCII, len(data), data)


def _user_comment(text: str) -> Value:
    if text.isascii():
        data = b"ASCII\0\0\0" + text.encode()
    else:
        data = b"UNICODE\0" + text.encode("utf-16-be", "surrogatepass")
    return Value(UNDEFINED, len(data), data)
