"""Pictures in and out: nothing lost, nothing silently changed, every bad file one typed error."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from paragon_arch.errors import ImageError, OutputError, OutputExistsError
from paragon_engine.pictures import Picture, has_transparency, read_image, write_image

RNG = np.random.default_rng(0)
ORIENTATION = 0x0112


def noise(*shape: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def saved(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def opened(path: Path) -> Image.Image:
    image: Image.Image = Image.open(path)
    with image:
        image.load()
        image.getexif()
    return image


def srgb() -> bytes:
    return ImageCms.ImageCmsProfile(cast(Any, ImageCms.createProfile("sRGB"))).tobytes()


def png16(path: Path, values: np.ndarray[Any, np.dtype[np.uint16]]) -> Path:
    """A PNG with 16 bits a channel, written by hand: Pillow cannot."""
    height, width, channels = values.shape
    rows = values.astype(">u2").tobytes()
    stride = width * channels * 2
    raw = b"".join(b"\0" + rows[i * stride : (i + 1) * stride] for i in range(height))
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(raw)), (b"IEND", b""))
    body = b"".join(struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


@pytest.mark.parametrize("extension", ["png", "tif", "bmp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_lossless_formats_return_what_was_written(tmp_path: Path, extension: str, channels: int) -> None:
    pixels = noise(9, 13, channels)
    path = tmp_path / f"a.{extension}"
    write_image(Picture(np.true_divide(pixels, 255, dtype=np.float32)), path)
    picture = read_image(path)
    assert picture.size == (13, 9)
    assert picture.is_gray == (channels == 1)
    assert np.array_equal(np.rint(picture.pixels * 255), pixels)


@pytest.mark.parametrize("extension", ["jpg", "webp"])
def test_lossy_formats_come_close(tmp_path: Path, extension: str) -> None:
    ramp = np.linspace(0, 1, 64, dtype=np.float32)
    pixels = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], ramp[:, None]), axis=2)
    write_image(Picture(pixels), tmp_path / f"a.{extension}")
    assert np.abs(read_image(tmp_path / f"a.{extension}").pixels - pixels).max() < 0.03


def test_rounding_and_clipping(tmp_path: Path) -> None:
    pixels = np.array([[[-0.5], [0.4999 / 255], [0.5001 / 255], [2.0]]], dtype=np.float32)
    write_image(Picture(pixels), tmp_path / "a.png")
    assert np.asarray(opened(tmp_path / "a.png")).tolist() == [[0, 0, 1, 255]]


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P", "PA", "L+key", "RGB+key"])
def test_transparency_is_kept_apart(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(noise(6, 7, 4)).convert(mode.partition("+")[0])
    options: dict[str, Any] = {}
    if mode == "P":
        options["transparency"] = 3
    if mode.endswith("+key"):
        options["transparency"] = image.getpixel((2, 1))
    extension = "tif" if mode == "PA" else "png"
    if mode == "PA":
        image = image.convert("LA")
    picture = read_image(saved(tmp_path / f"a.{extension}", image, **options))
    expected = np.asarray(opened(tmp_path / f"a.{extension}").convert("RGBA"))
    assert picture.alpha is not None
    assert np.array_equal(np.rint(picture.alpha * 255), expected[..., 3])
    assert np.array_equal(np.rint(picture.pixels * 255)[..., 0], expected[..., 0])
    assert picture.is_gray == (mode[0] in "L" or mode == "PA")


@pytest.mark.parametrize("extension", ["png", "webp", "tif"])
def test_alpha_survives_writing(tmp_path: Path, extension: str) -> None:
    alpha = np.true_divide(noise(8, 8), 255, dtype=np.float32)
    write_image(Picture(np.zeros((8, 8, 3), np.float32), alpha), tmp_path / f"a.{extension}")
    back = read_image(tmp_path / f"a.{extension}").alpha
    assert back is not None
    assert np.abs(back - alpha).max() < 1e-6


def test_formats_without_alpha_refuse_transparency_but_not_an_opaque_channel(tmp_path: Path) -> None:
    pixels, alpha = np.zeros((4, 4, 3), np.float32), np.ones((4, 4), np.float32)
    write_image(Picture(pixels, alpha), tmp_path / "opaque.jpg")
    alpha[0, 0] = 0.5
    assert has_transparency(Picture(pixels, alpha))
    with pytest.raises(OutputError, match="transparency"):
        write_image(Picture(pixels, alpha), tmp_path / "a.jpg")
    assert [path.name for path in tmp_path.iterdir()] == ["opaque.jpg"]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("extension", ["jpg", "png", "tif", "webp"])
def test_orientation_is_applied_once(tmp_path: Path, orientation: int, extension: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[0x010F] = "Maker"
    image = Image.new("RGB", (24, 16))
    image.paste((255, 255, 255), (0, 0, 12, 8))
    path = saved(tmp_path / f"a.{extension}", image, exif=exif)
    picture = read_image(path)
    expected = np.asarray(ImageOps.exif_transpose(opened(path)).convert("RGB"))
    assert np.abs(picture.pixels * 255 - expected).max() < 1
    write_image(picture, tmp_path / f"b.{extension}")
    again = opened(tmp_path / f"b.{extension}")
    assert again.size == (expected.shape[1], expected.shape[0])
    assert again.getexif().get(ORIENTATION, 1) == 1
    assert again.getexif()[0x010F] == "Maker"


@pytest.mark.parametrize("extension", ["png", "jpg", "webp", "tif"])
def test_exif_loses_only_what_is_no_longer_true(tmp_path: Path, extension: str) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    details = exif.get_ifd(0x8769)
    details[0xA002], details[0x829A] = 24, 0.5
    picture = read_image(saved(tmp_path / "a.jpg", Image.new("RGB", (24, 16)), exif=exif))
    write_image(picture, tmp_path / f"b.{extension}")
    kept = opened(tmp_path / f"b.{extension}").getexif()
    assert kept[0x010F] == "Maker"
    assert set(kept.get_ifd(0x8769)) == {0x829A}


def test_tiff_structure_does_not_travel(tmp_path: Path) -> None:
    picture = read_image(saved(tmp_path / "a.tif", Image.new("RGB", (24, 16)), compression="tiff_lzw"))
    write_image(picture, tmp_path / "b.jpg")
    assert not {0x0100, 0x0111, 0x0103} & set(opened(tmp_path / "b.jpg").getexif())


def test_damaged_exif_does_not_cost_the_picture(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", Image.new("RGB", (8, 8), (9, 9, 9)), exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")
    assert read_image(path).size == (8, 8)


@pytest.mark.parametrize("extension", ["png", "jpg", "webp", "tif"])
def test_profile_is_kept(tmp_path: Path, extension: str) -> None:
    icc = srgb()
    picture = read_image(saved(tmp_path / f"a.{extension}", Image.new("RGB", (8, 8)), icc_profile=icc))
    write_image(picture, tmp_path / f"b.{extension}")
    assert opened(tmp_path / f"b.{extension}").info["icc_profile"] == icc


def test_a_profile_of_other_channels_is_dropped(tmp_path: Path) -> None:
    icc = bytearray(srgb())
    icc[16:20] = b"CMYK"
    picture = read_image(saved(tmp_path / "a.jpg", Image.new("CMYK", (8, 8), (0, 255, 255, 0)), icc_profile=bytes(icc)))
    assert picture.info.icc_profile is None
    assert picture.pixels.shape == (8, 8, 3)
    red, green, _ = picture.pixels[4, 4]
    assert red > 0.9
    assert green < 0.2


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_are_read_in_full(tmp_path: Path, channels: int) -> None:
    if channels > 1:
        pytest.importorskip("av", reason="16-bit colour needs PyAV")
    values = RNG.integers(0, 65536, (5, 7, channels)).astype(np.uint16)
    picture = read_image(png16(tmp_path / "a.png", values))
    colours = 1 if channels < 3 else 3
    assert picture.info.bits == 16
    assert np.array_equal(np.rint(picture.pixels * 65535), values[..., :colours])
    if channels in (2, 4):
        assert picture.alpha is not None
        assert np.array_equal(np.rint(picture.alpha * 65535), values[..., -1])


def test_sixteen_bit_colour_without_pyav_is_refused_not_truncated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(ImageError, match="pip install av"):
        read_image(png16(tmp_path / "a.png", np.zeros((2, 2, 3), np.uint16)))


def _truncated(path: Path) -> None:
    data = saved(path.with_name("whole.png"), Image.fromarray(noise(64, 64, 3))).read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _wrong_checksum(path: Path) -> None:
    data = bytearray(saved(path.with_name("whole.png"), Image.fromarray(noise(64, 64, 3))).read_bytes())
    data[40] ^= 0xFF
    path.write_bytes(data)


def _bomb(path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)))


def _animation(path: Path) -> None:
    frames = [Image.fromarray(noise(8, 8, 3)) for _ in range(3)]
    frames[0].save(path, format="PNG", save_all=True, append_images=frames[1:])


def _write(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def _float(path: Path) -> None:
    Image.new("F", (4, 4)).save(path, format="TIFF")


def _gif(path: Path) -> None:
    Image.new("P", (4, 4)).save(path, format="GIF")


def _nothing(path: Path) -> None:
    assert not path.exists()


BAD: dict[str, Callable[[Path], object]] = {
    "truncated": _truncated,
    "wrong checksum": _wrong_checksum,
    "decompression bomb": _bomb,
    "animation": _animation,
    "empty": _write(b""),
    "text": _write(b"no picture"),
    "gif, which is not on the list": _gif,
    "eps, which would run ghostscript": _write(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
    "32-bit float": _float,
    "folder": Path.mkdir,
    "missing": _nothing,
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_files_give_one_typed_error_that_names_them(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bad.png"
    BAD[kind](path)
    with pytest.raises(ImageError, match=r"bad\.png"):
        read_image(path)


def test_the_pixel_cap_can_be_set(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.new("L", (20, 10)))
    assert read_image(path, max_pixels=200).size == (20, 10)
    with pytest.raises(ImageError, match="20 x 10"):
        read_image(path, max_pixels=199)


def test_outputs_that_the_format_cannot_hold_are_refused(tmp_path: Path) -> None:
    wide = Picture(np.zeros((1, 16384, 3), np.float32))
    with pytest.raises(OutputError, match="WEBP"):
        write_image(wide, tmp_path / "a.webp")
    with pytest.raises(OutputError, match=r"\.gif.*\.png"):
        write_image(wide, tmp_path / "a.gif")
    assert not list(tmp_path.iterdir())


def test_existing_files_are_kept_unless_told(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("mine")
    with pytest.raises(OutputExistsError):
        write_image(Picture(np.zeros((2, 2, 3), np.float32)), path)
    assert path.read_text() == "mine"
    write_image(Picture(np.zeros((2, 2, 3), np.float32)), path, overwrite=True)
    assert read_image(path).size == (2, 2)
