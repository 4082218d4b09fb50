"""TIFF's directories, the structure of TIFF files and of EXIF data: read, and changed in the bytes as they are.

What is not to be changed keeps its place, because makers' notes point into the data by absolute offsets.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8, 129: 1}
"""Bytes of a value by its type; 129 is UTF-8 of Exif 3.0."""
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 1, 2, 3, 4, 5, 7
EXIF_IFD, GPS_IFD, INTEROP_IFD = 0x8769, 0x8825, 0xA005
POINTERS = (EXIF_IFD, GPS_IFD, INTEROP_IFD)
"""Tags whose value is the place of a directory."""
_MAX_ENTRIES = 4096


class StructureError(ValueError):
    """The bytes are no TIFF structure."""


@dataclass(frozen=True)
class Entry:
    """An entry of a directory."""

    tag: int
    kind: int
    """Type, a key of `SIZES`; others are kept as they are."""
    count: int
    field: bytes
    """The four (BigTIFF: eight) bytes that hold the value, or its place."""
    data: bytes | None
    """The value's bytes; None if they lie outside of the file or the type is unknown."""
    place: int
    """Where the value's bytes are."""
    at: int
    """Where the entry is."""


@dataclass(frozen=True)
class Value:
    """A value to write."""

    kind: int
    count: int
    data: bytes


class Block:
    """TIFF or EXIF data.

    Args:
        data: from the header on; a bytearray where it is to be changed.

    Raises:
        StructureError: no TIFF header.
    """

    def __init__(self, data: bytearray | memoryview | bytes) -> None:
        self.data = data
        head = bytes(data[:8])
        if head[:2] not in (b"II", b"MM") or len(head) < 8:
            raise StructureError("no TIFF header")
        self.order = "<" if head[:2] == b"II" else ">"
        magic = self.number(2, "H")
        if magic not in (42, 43):
            raise StructureError("no TIFF header")
        self.big = magic == 43
        self._width = "Q" if self.big else "I"
        self.head = 8 if self.big else 4
        """Where the place of the first directory stands."""

    def number(self, at: int, kind: str) -> int:
        """An unsigned number (``H``, ``I`` or ``Q``)."""
        try:
            return struct.unpack_from(self.order + kind, self.data, at)[0]
        except struct.error as error:
            raise StructureError(f"cut off at byte {at}") from error

    def pointer(self, at: int) -> int:
        """The place that stands at a place."""
        return self.number(at, self._width)

    @property
    def first(self) -> int:
        """Place of the first directory; 0 if there is none."""
        return self.pointer(self.head)

    def _layout(self, at: int) -> tuple[int, int, int]:
        """(number of entries, place of the first one, bytes of one)."""
        count = self.number(at, "Q" if self.big else "H")
        start, size = (at + 8, 20) if self.big else (at + 2, 12)
        if count > _MAX_ENTRIES or start + count * size > len(self.data):
            raise StructureError(f"a directory of {count} entries at byte {at}")
        return count, start, size

    def entries(self, at: int) -> list[Entry]:
        """The entries of a directory.

        Raises:
            StructureError: it lies outside of the data, is absurdly long, or its values are larger than the data.
        """
        count, start, size = self._layout(at)
        result: list[Entry] = []
        room = len(self.data)
        for index in range(count):
            result.append(self._entry(start + index * size))
            room -= len(result[-1].data or b"")
            if room < 0:
                raise StructureError(f"values that overlap in the directory at byte {at}")
        return result

    def _entry(self, at: int) -> Entry:
        tag, kind = self.number(at, "H"), self.number(at + 2, "H")
        count, field = self.pointer(at + 4), at + (12 if self.big else 8)
        room = 8 if self.big else 4
        size = SIZES.get(kind, 0) * count
        place = field if size <= room else self.pointer(field)
        inside = kind in SIZES and place + size <= len(self.data)
        data = bytes(self.data[place : place + size]) if inside else None
        return Entry(tag, kind, count, bytes(self.data[field : field + room]), data, place, at)

    def next_place(self, at: int) -> int:
        """Where the place of the directory behind this one stands."""
        count, start, size = self._layout(at)
        return start + count * size

    def following(self, at: int) -> int:
        """Place of the directory behind this one; 0 if there is none."""
        try:
            return self.pointer(self.next_place(at))
        except StructureError:
            return 0

    def sub(self, at: int, tag: int) -> int:
        """Place of the directory that an entry points to; 0 if there is none that can be read."""
        for entry in self.entries(at):
            if entry.tag == tag and entry.data is not None and entry.kind in (LONG, 13, 16, 18) and entry.count == 1:
                place = self.integers(entry)[0]
                try:
                    if place:
                        self.entries(place)
                except StructureError:
                    return 0
                return place
        return 0

    def integers(self, entry: Entry) -> tuple[int, ...]:
        """An entry's values where they are whole numbers; () where they are not."""
        letter = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}.get(entry.kind)
        if entry.data is None or letter is None:
            return ()
        return struct.unpack(f"{self.order}{entry.count}{letter}", entry.data)

    def remove(self, at: int, tags: Iterable[int]) -> None:
        """Take entries out of a directory of a classic TIFF; their values become zeros, all else keeps its place."""
        assert isinstance(self.data, bytearray) and not self.big
        wanted = frozenset(tags)
        count, start, size = self._layout(at)
        entries = self.entries(at)
        kept = [entry for entry in entries if entry.tag not in wanted]
        if len(kept) == count:
            return
        for entry in entries:
            if entry.tag in wanted and entry.data is not None:
                self.data[entry.place : entry.place + len(entry.data)] = bytes(len(entry.data))
        rows = b"".join(bytes(self.data[entry.at : entry.at + size]) for entry in kept)
        behind = bytes(self.data[start + count * size : start + count * size + 4]).ljust(4, b"\0")
        new = struct.pack(self.order + "H", len(kept)) + rows + behind
        old = 2 + count * size + 4
        self.data[at : at + old] = new + bytes(max(0, min(old, len(self.data) - at) - len(new)))


def tree(block: Block, at: int, *, seen: frozenset[int] = frozenset()) -> dict[int, Value | dict[int, Value]]:
    """A directory as values, with the directories that it points to; what cannot be read is left out."""
    found: dict[int, Value | dict[int, Value]] = {}
    for entry in block.entries(at):
        if entry.tag in found:
            continue
        if entry.tag in POINTERS:
            place = block.sub(at, entry.tag)
            if place and place not in seen | {at}:
                found[entry.tag] = tree(block, place, seen=seen | {at})  # pyright: ignore[reportArgumentType]
        elif entry.data is not None:
            found[entry.tag] = Value(entry.kind, entry.count, entry.data)
    return found


def build(order: str, directory: Mapping[int, Value | Mapping[int, Value]]) -> bytes:
    """EXIF data from scratch: the inverse of `tree`."""
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    return head + _directory(order, directory, 8)


def _directory(order: str, directory: Mapping[int, Value | Mapping[int, Value]], at: int) -> bytes:
    rows, values = b"", b""
    behind = at + 2 + 12 * len(directory) + 4
    for tag, value in sorted(directory.items()):
        if isinstance(value, Value):
            kind, count, data = value.kind, value.count, value.data
        else:
            data = _directory(order, value, behind + len(values))
            rows += struct.pack(order + "HHII", tag, LONG, 1, behind + len(values))
            values += data + bytes(len(data) % 2)
            continue
        rows += struct.pack(order + "HHI", tag, kind, count)
        if len(data) <= 4:
            rows += data.ljust(4, b"\0")
        else:
            rows += struct.pack(order + "I", behind + len(values))
            values += data + bytes(len(data) % 2)
    return struct.pack(order + "H", len(directory)) + rows + bytes(4) + values


def with_values(block: Block, at: int, values: Mapping[int, Value]) -> tuple[bytes, int]:
    """A classic TIFF's data with a copy of a directory behind it that has these values, too.

    Returns:
        The data, in which nothing else was moved or changed, and the place of the copy.
    """
    entries: Sequence[Entry] = block.entries(at) if at else ()
    data = bytes(block.data)
    data += bytes(len(data) % 2)
    rows = {entry.tag: struct.pack(block.order + "HHI", entry.tag, entry.kind, entry.count) + entry.field
            for entry in entries}  # fmt: skip
    for tag, value in values.items():
        field = value.data.ljust(4, b"\0")
        if len(value.data) > 4:
            field = struct.pack(block.order + "I", len(data))
            data += value.data + bytes(len(value.data) % 2)
        rows[tag] = struct.pack(block.order + "HHI", tag, value.kind, value.count) + field
    place = len(data)
    following = struct.pack(block.order + "I", block.following(at) if at else 0)
    data += struct.pack(block.order + "H", len(rows)) + b"".join(rows[tag] for tag in sorted(rows)) + following
    return data, place
