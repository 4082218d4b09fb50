"""What a careful tool keeps of a picture: 16 bits, XMP, IPTC, text, resolution, profiles; and what it can leave out."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image, PngImagePlugin, features

from paragon_arch.errors import InvalidOptionError
from paragon_engine.pictures import (
    Picture,
    PictureInfo,
    WriteOptions,
    extension_of,
    image_size,
    read_image,
    write_image,
)
from paragon_engine.pictures.colour import conversion_of
from paragon_engine.upscale import UpscaleSettings, upscale_picture
from paragon_engine.upscaler import Upscaler
from tests.engine_models import descriptor, upscaler

RNG = np.random.default_rng(0)
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" tiff:ImageWidth="24" dc:creator="Me">'
    b"<exif:PixelXDimension>24</exif:PixelXDimension></rdf:Description></x:xmpmeta>"
)
av = pytest.importorskip("av", reason="16-bit colour needs PyAV: pip install av")


def deep(channels: int) -> tuple[np.ndarray[Any, np.dtype[np.uint16]], Picture]:
    """Words, and the picture that they are."""
    words = RNG.integers(0, 65536, (70, 33, channels)).astype(np.uint16)
    values = np.true_divide(words, 65535, dtype=np.float32)
    colours = 1 if channels < 3 else 3
    alpha = values[..., colours] if channels > colours else None
    return words, Picture(values[..., :colours], alpha, PictureInfo(bits=16))


def channels_of(picture: Picture) -> np.ndarray[Any, Any]:
    parts = [picture.pixels] if picture.alpha is None else [picture.pixels, picture.alpha[..., None]]
    return np.rint(np.concatenate(parts, axis=2) * 65535)


@pytest.mark.parametrize("extension", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_survive(tmp_path: Path, extension: str, channels: int) -> None:
    words, picture = deep(channels)
    write_image(picture, tmp_path / f"a.{extension}")
    back = read_image(tmp_path / f"a.{extension}")
    assert back.info.bits == 16
    expected = words[..., (0, 0, 0, 1)] if (extension, channels) == ("tif", 2) else words  # Pillow opens no gray one
    assert np.array_equal(channels_of(back), expected)


@pytest.mark.parametrize("extension", ["png", "tif"])
def test_sixteen_bit_files_open_elsewhere(tmp_path: Path, extension: str) -> None:
    words, picture = deep(3)
    write_image(picture, tmp_path / f"a.{extension}", WriteOptions(png_level=9))
    image: Image.Image = Image.open(tmp_path / f"a.{extension}")
    with image:
        image.verify()
    with av.open(str(tmp_path / f"a.{extension}")) as container:
        frame = next(container.decode(video=0))
        assert np.array_equal(frame.to_ndarray(format="rgb48le"), words)


def test_bits_can_be_chosen_and_jpeg_says_that_it_has_eight(tmp_path: Path) -> None:
    _, picture = deep(3)
    write_image(picture, tmp_path / "a.png", WriteOptions(bits=8))
    write_image(picture, tmp_path / "a.jpg")
    assert read_image(tmp_path / "a.png").info.bits == read_image(tmp_path / "a.jpg").info.bits == 8
    write_image(Picture(np.full((2, 2, 3), 0.5, np.float32)), tmp_path / "b.png", WriteOptions(bits=16))
    assert np.all(channels_of(read_image(tmp_path / "b.png")) == 32768)


def test_a_ramp_of_sixteen_bits_goes_through_the_network_as_one(tmp_path: Path) -> None:
    """65536 levels in, more than 8 bits' 256 levels out."""
    ramp = np.linspace(0, 1, 512, dtype=np.float32)
    pixels = np.repeat(np.repeat(ramp[None, :, None], 16, axis=0), 3, axis=2)
    write_image(Picture(pixels, info=PictureInfo(bits=16)), tmp_path / "ramp.png")
    result = upscale_picture(upscaler(), read_image(tmp_path / "ramp.png"))
    write_image(result, tmp_path / "out.png")
    back = read_image(tmp_path / "out.png")
    assert back.info.bits == 16
    assert len(np.unique(channels_of(back)[16, :, 0])) > 600


@pytest.mark.parametrize("extension", ["png", "jpg", "webp", "tif", "avif"])
def test_xmp_is_kept_upright_and_without_sizes(tmp_path: Path, extension: str) -> None:
    if extension == "avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    Image.new("RGB", (24, 16)).save(tmp_path / "a.jpg", xmp=XMP)
    write_image(read_image(tmp_path / "a.jpg"), tmp_path / f"b.{extension}")
    kept = read_image(tmp_path / f"b.{extension}").info.xmp
    assert kept is not None
    assert b'tiff:Orientation="1"' in kept
    assert b'dc:creator="Me"' in kept
    assert b"24" not in kept


def test_iptc_text_and_resolution_are_kept(tmp_path: Path) -> None:
    caption = b"Photoshop 3.0\x008BIM\x04\x04\x00\x00\x00\x00\x00\x08\x1c\x02\x78\x00\x03abc"
    segment = b"\xff\xed" + struct.pack(">H", len(caption) + 2) + caption
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", extra=segment, dpi=(300, 300))
    write_image(read_image(tmp_path / "a.jpg"), tmp_path / "b.jpg")
    assert read_image(tmp_path / "b.jpg").info.iptc == caption
    assert read_image(tmp_path / "b.jpg").info.dpi == (300, 300)
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "a cat, 20 steps")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", pnginfo=text)
    for bits in (8, 16):
        write_image(read_image(tmp_path / "a.png"), tmp_path / f"{bits}.png", WriteOptions(bits=bits))
        assert read_image(tmp_path / f"{bits}.png").info.text == {"parameters": "a cat, 20 steps"}


def test_stripping_leaves_the_profile_and_nothing_else(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    info = PictureInfo(icc_profile=profile(2.2), exif=exif.tobytes(), xmp=XMP, dpi=(300, 300), text={"a": "b"})
    for extension in ("png", "jpg", "webp", "tif"):
        path = tmp_path / f"a.{extension}"
        write_image(Picture(np.zeros((4, 4, 3), np.float32), info=info), path, WriteOptions(metadata=False))
        back = read_image(path).info
        assert back.icc_profile == info.icc_profile
        assert (back.exif, back.xmp, dict(back.text)) == (None, None, {})


def test_quality_and_level_change_the_size(tmp_path: Path) -> None:
    picture = Picture(np.repeat(np.repeat(RNG.random((16, 16, 3), dtype=np.float32), 4, axis=0), 4, axis=1))
    sizes: dict[str, int] = {}
    for name, options in {
        "low.jpg": WriteOptions(quality=30),
        "high.jpg": WriteOptions(quality=98),
        "level0.png": WriteOptions(png_level=0),
        "level9.png": WriteOptions(png_level=9),
        "loss.webp": WriteOptions(),
        "lossless.webp": WriteOptions(lossless=True),
    }.items():
        write_image(picture, tmp_path / name, options)
        sizes[name] = (tmp_path / name).stat().st_size
    assert sizes["low.jpg"] < sizes["high.jpg"]
    assert sizes["level9.png"] < sizes["level0.png"]
    exact = read_image(tmp_path / "lossless.webp").pixels
    assert np.array_equal(exact, read_image(tmp_path / "level9.png").pixels)


@pytest.mark.parametrize("options", [{"quality": 0}, {"quality": 101}, {"png_level": 10}, {"bits": 12}])
def test_senseless_options_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(InvalidOptionError):
        WriteOptions(**options)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidOptionError, match="gif"):
        extension_of("gif")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_sizes_are_known_from_the_header(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8))
    kinds: dict[str, dict[str, Any]] = {"a.jpg": {"exif": exif}, "a.png": {"exif": exif}, "a.tif": {"tiffinfo": exif}}
    for name, options in kinds.items():
        image.save(tmp_path / name, **options)
        assert image_size(tmp_path / name) == read_image(tmp_path / name).size == ((9, 6), (6, 9))[orientation > 4]


def profile(gamma: float, *, primaries: str = "sRGB", samples: int = 0) -> bytes:
    """An ICC profile of version 2, with primaries of sRGB or Display P3 and a power as its curve, or as a table."""
    values = [round((i / (samples - 1)) ** gamma * 65535) for i in range(samples)] or [round(gamma * 256), 0]
    trc = struct.pack(f">4s4xI{len(values)}H", b"curv", samples or 1, *values)
    columns = {
        "sRGB": ((0.43607, 0.22250, 0.01393), (0.38506, 0.71688, 0.09710), (0.14308, 0.06062, 0.71417)),
        "P3": ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841)),
    }[primaries]
    tags = {b"wtpt": struct.pack(">4s4x3i", b"XYZ ", *(round(v * 65536) for v in (0.9642, 1, 0.8249)))}
    for name, column in zip((b"r", b"g", b"b"), columns, strict=True):
        tags[name + b"XYZ"] = struct.pack(">4s4x3i", b"XYZ ", *(round(v * 65536) for v in column))
        tags[name + b"TRC"] = trc
    body, table, start = b"", struct.pack(">I", len(tags)), 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(content))
        body += content
    head = struct.pack(">I4xI4s4s4s12x4s", start + len(body), 0x02100000, b"mntr", b"RGB ", b"XYZ ", b"acsp")
    return (head + bytes(128 - len(head)) + table + body)[: start + len(body)]


def test_a_linear_profile_is_converted_as_littlecms_does() -> None:
    import io

    from PIL import ImageCms

    icc = profile(1.0, primaries="P3")
    conversion = conversion_of(icc)
    assert conversion is not None
    pixels = RNG.integers(40, 200, (9, 9, 3), dtype=np.uint8)
    ours = conversion.to_srgb(np.true_divide(pixels, 255, dtype=np.float32)).clip(0, 1) * 255
    srgb = cast(Any, ImageCms.createProfile("sRGB"))
    theirs = ImageCms.profileToProfile(Image.fromarray(pixels), ImageCms.ImageCmsProfile(io.BytesIO(icc)), srgb)
    assert np.abs(ours - np.asarray(theirs)).max() < 2


@pytest.mark.parametrize(("gamma", "primaries"), [(1.0, "sRGB"), (1.8, "P3"), (2.2, "P3")])
def test_colours_beyond_srgb_survive_the_network(gamma: float, primaries: str) -> None:
    """Flat areas keep even the purest colours of the profile, which the network's own range would clip."""
    info = PictureInfo(icc_profile=profile(gamma, primaries=primaries))
    model = descriptor(alpha=0.0)
    model.model.state_dict()["detail_gain"].zero_()  # leaves the network's resampler, which keeps flat areas
    for colour in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (0.5, 0.5, 0.5)):
        flat = np.ones((24, 24, 3), np.float32) * np.array(colour, np.float32)
        result = upscale_picture(Upscaler(model), Picture(flat, info=info)).pixels
        assert np.abs(result[8:-8, 8:-8] - np.array(colour, np.float32)).max() < 2e-3


def test_black_comes_back_as_black_from_a_curve_whose_table_starts_with_zeros() -> None:
    conversion = conversion_of(profile(2.4, primaries="P3", samples=1024))
    assert conversion is not None
    pixels = np.zeros((1, 64, 3), np.float32)
    pixels[0, :, 0] = np.linspace(0, 1, 64)
    pixels[0, :, 1] = pixels[0, ::-1, 0]
    assert np.abs(conversion.from_srgb(conversion.to_srgb(pixels)) - pixels).max() < 1e-3


def test_srgb_and_unknown_profiles_are_left_alone() -> None:
    from PIL import ImageCms

    srgb = cast(Any, ImageCms.createProfile("sRGB"))
    assert conversion_of(ImageCms.ImageCmsProfile(srgb).tobytes()) is None
    assert conversion_of(None) is None
    damaged: list[Callable[[bytes], bytes]] = [lambda b: b[:140], lambda b: b[:128] + b"\xff" * 40, lambda b: b""]
    for damage in damaged:
        assert conversion_of(damage(profile(1.0))) is None


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        (UpscaleSettings(size=(50, None)), (50, 33)),
        (UpscaleSettings(size=(None, 50)), (75, 50)),
        (UpscaleSettings(size=(50, 50)), (50, 50)),
        (UpscaleSettings(size=(50, 50), fit=True), (50, 33)),
        (UpscaleSettings(outscale=5), (150, 100)),
        (UpscaleSettings(outscale=5, repeat=False), (150, 100)),
    ],
)
def test_sizes(settings: UpscaleSettings, size: tuple[int, int]) -> None:
    source = Picture(RNG.random((20, 30, 3), dtype=np.float32))
    assert upscale_picture(upscaler(), source, settings).size == size


@pytest.mark.parametrize(("factor", "times"), [(1, 1), (2, 1), (2.05, 1), (3, 2), (4, 2), (5, 3)])
def test_the_model_is_repeated_only_where_needed(factor: float, times: int) -> None:
    settings = UpscaleSettings(outscale=factor)
    output = settings.output_size((100, 100), 2)
    assert settings.applications((100, 100), output, 2) == times


def test_too_large_outputs_are_refused() -> None:
    with pytest.raises(InvalidOptionError, match="max_output_pixels"):
        UpscaleSettings(max_output_pixels=1000).output_size((20, 30), 2)
    for size in ((None, None), (0, 5)):
        with pytest.raises(InvalidOptionError):
            UpscaleSettings(size=size).output_size((20, 30), 2)
