"""What samples mean, at every depth: TIFF strips and tiles, white that is zero, transparency by colour, fewer bits."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from paragon_arch.errors import ImageError
from paragon_engine.pictures import image_size, read_image
from paragon_engine.pictures.deep import check_against
from tests.judges import magick, output, program
from tests.pictures.samples import chunk, png, wave

RNG = np.random.default_rng(1)
Words = np.ndarray[Any, np.dtype[np.uint16]]


def words(channels: int = 3, bits: int = 16, height: int = 20, width: int = 37) -> Words:
    return RNG.integers(0, 2**bits, (height, width, channels)).astype(np.uint16)


def packed(codes: Words, bits: int) -> bytes:
    """Rows of samples of so many bits, each row from a new byte on."""
    flat = codes.reshape(codes.shape[0], -1)
    flags = (flat[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(flags.reshape(codes.shape[0], -1).astype(np.uint8), axis=1).tobytes()


def tiff(
    path: Path,
    codes: Words,
    *,
    bits: int = 16,
    photometric: int = 2,
    order: str = "<",
    big: bool = False,
    extra: int | None = None,
    planar: bool = False,
    orientation: int = 1,
    changes: dict[int, tuple[int, Sequence[int]]] | None = None,
) -> Path:
    """An uncompressed TIFF in strips, written by hand."""
    height, width, samples = codes.shape
    layers = [codes[..., i : i + 1] for i in range(samples)] if planar else [codes]
    data = [layer.astype(order + "u2").tobytes() if bits == 16 else packed(layer, bits) for layer in layers]
    start = 16 if big else 8
    places = list(itertools.accumulate([start, *map(len, data)]))[:-1]
    tags: dict[int, tuple[int, Sequence[int]]] = {
        256: (4, (width,)), 257: (4, (height,)), 258: (3, (bits,) * samples), 259: (3, (1,)), 262: (3, (photometric,)),
        273: (4, places), 274: (3, (orientation,)), 277: (3, (samples,)), 278: (4, (height,)),
        279: (4, [len(item) for item in data]), 284: (3, (2 if planar else 1,)),
    }  # fmt: skip
    if extra is not None:
        tags[338] = (3, (extra,))
    tags |= changes or {}
    at = start + sum(map(len, data))
    at += at % 2
    room = 8 if big else 4
    behind = at + (8 + 20 * len(tags) + 8 if big else 2 + 12 * len(tags) + 4)
    rows, values = b"", b""
    for tag, (kind, numbers) in sorted(tags.items()):
        content = struct.pack(f"{order}{len(numbers)}{'H' if kind == 3 else 'I'}", *numbers)
        if len(content) > room:
            content, values = struct.pack(order + ("Q" if big else "I"), behind + len(values)), values + content
        rows += struct.pack(order + ("HHQ" if big else "HHI"), tag, kind, len(numbers)) + content.ljust(room, b"\0")
    mark = b"II" if order == "<" else b"MM"
    head = mark + (struct.pack(order + "HHHQ", 43, 8, 0, at) if big else struct.pack(order + "HI", 42, at))
    body = (head + b"".join(data)).ljust(at, b"\0") + struct.pack(order + ("Q" if big else "H"), len(tags)) + rows
    path.write_bytes(body + bytes(room) + values)
    return path


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_of_tiff(tmp_path: Path, big: bool, order: str, planar: bool, channels: int) -> None:
    codes = words(channels)
    path = tiff(tmp_path / "a.tif", codes, photometric=1 if channels == 1 else 2, order=order, big=big, planar=planar,
                extra=2 if channels == 4 else None)  # fmt: skip
    picture = read_image(path)
    assert picture.info.bits == 16
    assert np.array_equal(np.rint(picture.pixels * 65535), codes[..., : 1 if channels == 1 else 3])
    assert image_size(path) == picture.size == (37, 20)
    if channels == 4:
        assert picture.alpha is not None
        assert np.array_equal(np.rint(picture.alpha * 65535), codes[..., 3])


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("white_is_zero", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_depths_between(tmp_path: Path, bits: int, white_is_zero: bool, channels: int) -> None:
    if channels == 3 and white_is_zero:
        pytest.skip("only gray can be stored so")
    codes = words(channels, bits)
    codes[0, 0], codes[0, 1] = 0, 2**bits - 1
    photometric = 2 if channels == 3 else 0 if white_is_zero else 1
    picture = read_image(tiff(tmp_path / "a.tif", codes, bits=bits, photometric=photometric))
    expected = codes / (2**bits - 1)
    assert np.allclose(picture.pixels, 1 - expected if white_is_zero else expected, atol=1e-6)
    assert picture.pixels[0, 0, 0] == float(white_is_zero)
    assert picture.pixels[0, 1, 0] == float(not white_is_zero)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_white_is_zero_in_few_bits(tmp_path: Path, bits: int) -> None:
    codes = words(1, bits)
    picture = read_image(tiff(tmp_path / "a.tif", codes, bits=bits, photometric=0))
    assert np.allclose(picture.pixels, 1 - codes / (2**bits - 1), atol=1 / 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_tiffs_stand_upright(tmp_path: Path, orientation: int) -> None:
    codes = words(3)
    deep = read_image(tiff(tmp_path / "a.tif", codes, orientation=orientation))
    plain = read_image(tiff(tmp_path / "b.tif", codes // 256, bits=8, orientation=orientation))
    assert deep.size == plain.size == image_size(tmp_path / "a.tif")
    assert np.abs(deep.pixels - plain.pixels).max() < 1 / 200


def test_premultiplied_and_other_samples(tmp_path: Path) -> None:
    codes = words(4)
    codes[..., :3] = codes[..., :3] * (codes[..., 3:] / 65535.0)
    picture = read_image(tiff(tmp_path / "a.tif", codes, extra=1))
    assert picture.alpha is not None
    seen = codes[..., 3] > 2000
    assert np.abs(picture.pixels * picture.alpha[..., None] * 65535 - codes[..., :3])[seen].max() < 1
    assert read_image(tiff(tmp_path / "b.tif", codes, extra=0)).alpha is None


COMPRESSIONS = ["none", "lzw:2", "zip:2", "packbits", "lzw:1", "zip:1", "lzma", "zstd"]


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("layout", ["-s", "-t -w 16 -l 16"])
@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_libtiff_and_we_agree(tmp_path: Path, compression: str, layout: str, planes: str) -> None:
    """Every way of libtiff to store a picture; the means are those that ImageMagick finds."""
    tool = program("tiffcp")
    codes = words(3, height=40, width=50)
    source = tiff(tmp_path / "a.tif", codes)
    target = tmp_path / "b.tif"
    try:
        output(tool, "-c", compression, *layout.split(), "-p", planes, source, target)
    except AssertionError:
        pytest.skip(f"this tiffcp does not write {compression}, {planes}")
    picture = read_image(target)
    assert np.array_equal(np.rint(picture.pixels * 65535), codes)
    if compression not in ("lzma", "zstd"):
        assert abs(float(magick(target, "%[fx:mean]")) - picture.pixels.mean()) < 1e-4


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({339: (3, (3, 3, 3))}, "floating"),
        ({339: (3, (2, 2, 2))}, "signed"),
        ({262: (3, (6,))}, "kind 6"),
        ({259: (3, (7,))}, "compression 7"),
        ({317: (3, (3,))}, "predictor 3"),
    ],
)
def test_what_is_not_supported_is_called_so(
    tmp_path: Path, changes: dict[int, tuple[int, Sequence[int]]], word: str
) -> None:
    with pytest.raises(ImageError, match=rf"a\.tif: .*{word}.* not supported"):
        read_image(tiff(tmp_path / "a.tif", words(3), changes=changes))


def test_a_decoder_is_not_believed_unchecked(tmp_path: Path) -> None:
    values = wave()
    image = Image.fromarray((values * 255).astype(np.uint8))
    check_against(tmp_path / "a.tif", values, image)
    with pytest.raises(ImageError, match="two decoders"):
        check_against(tmp_path / "a.tif", np.zeros_like(values), image)
    with pytest.raises(ImageError, match="two decoders"):
        check_against(tmp_path / "a.tif", values[:-1], image)


@pytest.mark.parametrize(("bits", "colour"), [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (8, 2), (16, 2)])
def test_one_colour_of_a_png_is_transparent(tmp_path: Path, bits: int, colour: int) -> None:
    if (bits, colour) == (16, 2):
        pytest.importorskip("av")
    codes = words(1 if colour == 0 else 3, bits)
    codes[:, :10] = codes[0, 0]
    key = codes[0, 0]
    path = png(tmp_path / "a.png", bits, colour, codes, chunk(b"tRNS", key.astype(">u2").tobytes()))
    picture = read_image(path)
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha == 0, (codes == key).all(axis=2))
    assert np.array_equal(np.rint(picture.pixels * (2**bits - 1)), codes)


@pytest.mark.parametrize(("depth", "bits"), [(16, 10), (16, 12), (8, 5)])
@pytest.mark.parametrize("filled", ["zeros", "repeated"])
def test_samples_that_were_shifted_up_reach_white(tmp_path: Path, depth: int, bits: int, filled: str) -> None:
    codes = words(1, bits)
    codes[0, 0], codes[0, 1] = 0, 2**bits - 1
    stored = codes << (depth - bits)
    if filled == "repeated":
        stored = np.rint(codes / (2**bits - 1) * (2**depth - 1)).astype(np.uint16)
    picture = read_image(png(tmp_path / "a.png", depth, 0, stored, chunk(b"sBIT", bytes([bits]))))
    assert (picture.pixels[0, 0, 0], picture.pixels[0, 1, 0]) == (0, 1)
    assert np.allclose(picture.pixels, codes / (2**bits - 1), atol=0.6 / (2**depth - 1))


def test_a_wrong_statement_about_bits_costs_none(tmp_path: Path) -> None:
    codes = words(1)
    picture = read_image(png(tmp_path / "a.png", 16, 0, codes, chunk(b"sBIT", b"\x08")))
    assert np.array_equal(np.rint(picture.pixels * 65535), codes)


def test_imagemagick_sees_the_same_transparency(tmp_path: Path) -> None:
    codes = np.full((24, 32, 1), 40000, np.uint16)
    codes[:, :16] = 1000
    path = png(tmp_path / "a.png", 16, 0, codes, chunk(b"tRNS", struct.pack(">H", 1000)))
    picture = read_image(path)
    assert picture.alpha is not None
    for x in (2, 29):
        assert float(magick(path, f"%[fx:p{{{x},12}}.a]")) == picture.alpha[12, x]
