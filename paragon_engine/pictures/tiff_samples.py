"""Samples of TIFF files with more than 8 bits, which Pillow cuts down to 8 or does not scale (TIFF 6.0).

Pillow's decoders unpack strips and tiles of every compression for us: they are given the same file with a directory
that calls its rows gray bytes. What the bytes mean is found out here.
"""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from paragon_arch.errors import ImageError

from .ifd import Block, StructureError

_BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _PLANAR, _PREDICTOR = 258, 259, 262, 277, 284, 317
_STRIP_PLACES, _STRIP_ROWS, _STRIP_BYTES = 273, 278, 279
_TILE_WIDTH, _TILE_HEIGHT, _TILE_PLACES, _TILE_BYTES = 322, 323, 324, 325
_EXTRA, _FORMAT, _FILL = 338, 339, 266
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_COMPRESSIONS = {1: "none", 5: "LZW", 8: "deflate", 32773: "PackBits", 32946: "deflate", 34925: "LZMA", 50000: "ZSTD"}
_ASSOCIATED, _UNASSOCIATED = 1, 2
Data: TypeAlias = "bytes | memoryview"
DEPTHS = (10, 12, 14, 16)


@dataclass(frozen=True)
class Layout:
    """How a TIFF stores its samples, as far as it is supported."""

    bits: int
    samples: int
    """Per pixel."""
    colours: int
    """1 or 3."""
    alpha: int
    """0 for none, else the kind of the sample behind the colours: 1 premultiplied, 2 not."""
    inverted: bool
    """White is zero."""
    planar: bool
    predictor: bool
    compression: int


def layout_of(path: Path, data: Data) -> Layout | None:
    """The layout of the first picture of a TIFF with more than 8 bits a sample; None if Pillow reads it in full.

    Raises:
        ImageError: it has more than 8 bits and is of a kind that is not supported; the message says of which.
        StructureError: the file is damaged.
    """
    block = Block(data)
    tags = {entry.tag: block.integers(entry) for entry in block.entries(block.first)}
    bits = tags.get(_BITS) or (1,)
    if max(bits) <= 8:
        return None
    samples, photometric = _one(tags, _SAMPLES, len(bits)), _one(tags, _PHOTOMETRIC, -1)
    compression, predictor = _one(tags, _COMPRESSION, 1), _one(tags, _PREDICTOR, 1)
    extra, colours = tags.get(_EXTRA, ()), 3 if photometric == _RGB else 1
    for fault, what in (
        (set(tags.get(_FORMAT, (1,))) - {1}, f"floating-point or signed samples ({max(bits)} bits)"),
        (len(set(bits)) > 1 or bits[0] not in DEPTHS, f"{'/'.join(map(str, bits))} bits a sample"),
        (photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB), f"colours of the kind {photometric}"),
        (compression not in _COMPRESSIONS, f"compression {compression}"),
        (predictor > 2 or (predictor == 2 and bits[0] != 16), f"predictor {predictor}"),
        (not colours <= samples <= colours + 1, f"{samples} samples a pixel"),
        (_one(tags, _FILL, 1) != 1, "bits in reverse order"),
    ):
        if fault:
            raise ImageError(f"{path}: a TIFF with {what} is not supported; save it as PNG or as 8- or 16-bit TIFF")
    alpha = 0
    if samples > colours:
        alpha = extra[0] if extra else _UNASSOCIATED
        alpha = alpha if alpha in (_ASSOCIATED, _UNASSOCIATED) else -1  # some other sample, no transparency
    return Layout(bits[0], samples, colours, alpha, photometric == _WHITE_IS_ZERO, _one(tags, _PLANAR, 1) == 2,
                  predictor == 2, compression)  # fmt: skip


def header(data: Data) -> Image.Image:
    """An image that has the size of the first picture of a TIFF and nothing else, where Pillow does not open it."""
    block = Block(data)
    tags = {entry.tag: block.integers(entry) for entry in block.entries(block.first)}
    width, height = tags[256][0], tags[257][0]
    plain = {256: (width,), 257: (height,), _BITS: (8,), _COMPRESSION: (1,), _PHOTOMETRIC: (1,), _SAMPLES: (1,),
             _STRIP_PLACES: (8,), _STRIP_ROWS: (height,), _STRIP_BYTES: (width * height,)}  # fmt: skip
    image: Image.Image = Image.open(io.BytesIO(_with_directory(bytes(8), plain)), formats=["TIFF"])
    return image


def read(path: Path, data: Data, layout: Layout) -> NDArray[np.float32]:
    """The samples of the first picture as (H, W, C) in 0..1, as they are stored.

    Raises:
        ImageError: Pillow cannot unpack it, or the file contradicts itself.
    """
    try:
        words = _Unpacker(bytes(data), layout).samples()
    except (StructureError, ValueError, struct.error, KeyError, IndexError, OSError) as error:
        name = _COMPRESSIONS[layout.compression]
        raise ImageError(f"{path}: damaged, or its compression ({name}) is not supported here: {error}") from error
    return np.true_divide(words, 2**layout.bits - 1, dtype=np.float32)


def meaning(values: NDArray[np.float32], layout: Layout) -> NDArray[np.float32]:
    """Colours, black is 0, and alpha that is not premultiplied, of samples as they are stored."""
    if layout.inverted:
        values[..., : layout.colours] = 1 - values[..., : layout.colours]
    if layout.alpha == -1:
        return values[..., : layout.colours]
    if layout.alpha == _ASSOCIATED:
        values[..., :-1] /= np.maximum(values[..., -1:], 1 / 65535)
        values.clip(0, 1, out=values)
    return values


def _one(tags: dict[int, tuple[int, ...]], tag: int, default: int) -> int:
    return (tags.get(tag) or (default,))[0]


class _Unpacker:
    """One TIFF's bytes as samples."""

    def __init__(self, data: bytes, layout: Layout) -> None:
        self._data, self._layout = data, layout
        self._block = block = Block(data)
        self._tags = {entry.tag: block.integers(entry) for entry in block.entries(block.first)}
        self._width, self._height = self._tags[256][0], self._tags[257][0]
        self._tile = self._tags.get(_TILE_WIDTH, (0,))[0], self._tags.get(_TILE_HEIGHT, (0,))[0]

    def samples(self) -> NDArray[np.uint16]:
        """(H, W, samples)."""
        layout = self._layout
        if not layout.planar or layout.samples == 1:
            return self._plane(layout.samples, 0, 1)
        planes = [self._plane(1, index, layout.samples) for index in range(layout.samples)]
        return np.concatenate(planes, axis=2)

    def _plane(self, samples: int, index: int, planes: int) -> NDArray[np.uint16]:
        """Samples of a plane, of which there are so many, or of all of them side by side."""
        bits = self._layout.bits
        tile = self._tile[0] if self._tile[0] else self._width
        across = -(-self._width // tile)
        row = -(-tile * samples * bits // 8)  # bytes of a row of a tile or strip
        raw = self._decoded(row, across, index, planes).reshape(self._height, across, row)
        if bits == 16:
            words = raw.view("<u2" if self._block.order == "<" else ">u2").astype(np.uint16)
        else:
            words = _unpacked(raw, bits)
        words = words[..., : tile * samples].reshape(self._height, across, tile, samples)
        if self._layout.predictor:
            words = np.cumsum(words, axis=2, dtype=np.uint16)
        return words.reshape(self._height, across * tile, samples)[:, : self._width]

    def _decoded(self, row: int, across: int, index: int, planes: int) -> NDArray[np.uint8]:
        """Pillow's reading of the file as gray bytes."""
        tags = self._tags
        width = row * across
        places, sizes = (_TILE_PLACES, _TILE_BYTES) if self._tile[0] else (_STRIP_PLACES, _STRIP_BYTES)
        each = len(tags[places]) // planes
        new = {256: (width,), 257: (self._height,), _BITS: (8,), _COMPRESSION: (self._layout.compression,),
               _PHOTOMETRIC: (1,), _SAMPLES: (1,),
               places: tags[places][index * each : (index + 1) * each],
               sizes: tags[sizes][index * each : (index + 1) * each]}  # fmt: skip
        if self._tile[0]:
            new |= {_TILE_WIDTH: (row,), _TILE_HEIGHT: (self._tile[1],)}
        else:
            new[_STRIP_ROWS] = (min(tags.get(_STRIP_ROWS, (self._height,))[0], self._height),)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image: Image.Image = Image.open(io.BytesIO(_with_directory(self._data, new)), formats=["TIFF"])
            with image:
                image.load()
                return np.asarray(image)


def _with_directory(data: bytes, tags: dict[int, tuple[int, ...]]) -> bytes:
    """The file with this directory as its only one, as a classic little-endian TIFF whatever it was."""
    at = len(data) + len(data) % 2
    behind = at + 2 + 12 * len(tags) + 4
    rows, values = b"", b""
    for tag, numbers in sorted(tags.items()):
        packed = struct.pack(f"<{len(numbers)}I", *numbers)
        if len(packed) > 4:
            packed, values = struct.pack("<I", behind + len(values)), values + packed
        rows += struct.pack("<HHI", tag, 4, len(numbers)) + packed
    directory = struct.pack("<H", len(tags)) + rows + bytes(4) + values
    return struct.pack("<2sHI", b"II", 42, at) + data[8:] + bytes(len(data) % 2) + directory


def _unpacked(raw: NDArray[np.uint8], bits: int) -> NDArray[np.uint16]:
    """Numbers of so many bits, the highest first, as words."""
    flags = np.unpackbits(raw, axis=-1)
    flags = flags[..., : flags.shape[-1] // bits * bits]
    parts = flags.reshape(*flags.shape[:-1], -1, bits)
    weights = (1 << np.arange(bits - 1, -1, -1)).astype(np.uint16)
    return (parts * weights).sum(axis=-1, dtype=np.uint16)
