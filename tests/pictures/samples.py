"""Small pictures and metadata of every kind for tests."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from paragon_engine.pictures import Picture, PictureInfo
from paragon_engine.pictures.icc import CURVES, PRIMARIES, profile
from paragon_engine.pictures.ifd import ASCII, EXIF_IFD, RATIONAL, UNDEFINED, Value, build

RNG = np.random.default_rng(0)


def wave(height: int = 24, width: int = 32) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A smooth picture (H, W, 3)."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([0.5 + 0.4 * np.sin(x / 5 + k) + 0.08 * np.cos(y / 3) for k in range(3)], axis=2).astype(np.float32)


def chunk(kind: bytes, content: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))


def png(path: Path, bits: int, colour: int, samples: np.ndarray[Any, Any], *extra: bytes) -> Path:
    """A PNG of any depth and colour type, written by hand; ``samples`` are (H, W, C) codes."""
    height, width = samples.shape[:2]
    if bits < 8:
        flags = ((samples[..., 0, None] >> np.arange(bits - 1, -1, -1)) & 1).astype(np.uint8).reshape(height, -1)
        rows = np.packbits(flags, axis=1)
    else:
        rows = samples.astype(">u2" if bits == 16 else "u1").view(np.uint8).reshape(height, -1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + head + b"".join(extra) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    )
    return path


def ascii_value(text: bytes) -> Value:
    """A text as EXIF holds it."""
    return Value(ASCII, len(text) + 1, text + b"\0")


def exif(order: str = "<") -> bytes:
    """EXIF data with text that is not ASCII, a user comment, a maker's note and a rational number."""
    note = b"MAKER\0" + bytes(range(40))
    details = {
        0x829A: Value(RATIONAL, 1, struct.pack(order + "II", 1, 250)),
        0x9286: Value(UNDEFINED, 18, b"UNICODE\0" + "h\u00e9llo".encode("utf-16-be")),
        0x927C: Value(UNDEFINED, len(note), note),
        0xA005: {0x0001: ascii_value(b"R98")},
    }
    return build(order, {0x010F: ascii_value("Grö\u00dfe 猫".encode()), EXIF_IFD: details})  # type: ignore[dict-item]


XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="5"/></rdf:RDF></x:xmpmeta>'
)
IPTC = b"Photoshop 3.0\x008BIM\x04\x04\x00\x00\x00\x00\x00\x08\x1c\x02\x78\x00\x03abc"
P3 = profile(PRIMARIES[12], CURVES[13]) or b""

CARRIED: dict[str, Callable[[PictureInfo], PictureInfo]] = {
    "EXIF": lambda info: replace(info, exif=exif()),
    "XMP": lambda info: replace(info, xmp=XMP),
    "IPTC": lambda info: replace(info, iptc=IPTC),
    "ICC profile": lambda info: replace(info, icc_profile=P3),
    "gAMA and cHRM": lambda info: replace(
        info, gamma=1.0, chromaticities=(0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
    ),
    "sRGB": lambda info: replace(info, srgb_intent=0),
    "colours by number (cICP, nclx)": lambda info: replace(info, cicp=(12, 13, 0, 1)),
    "HDR colours (PQ, HLG)": lambda info: replace(info, cicp=(9, 16, 0, 1)),
    "mastering display and light level (mDCV, cLLI)": lambda info: replace(info, light={"cLLI": bytes(8)}),
    "text": lambda info: replace(info, text={"parameters": "a cat, Steps: 20", "Title": "Größe 猫", "seed": "7"}),
    "comments": lambda info: replace(info, comments=(b"a comment",)),
    "print resolution": lambda info: replace(info, dpi=(300.0, 300.0)),
}
"""Ways to give a picture metadata of each kind of `carried.KINDS`."""


def picture(*kinds: str) -> Picture:
    """A picture that carries these kinds."""
    info = PictureInfo()
    for kind in kinds:
        info = CARRIED[kind](info)
    return Picture(wave(), info=info)
