"""The table of what becomes of each kind of metadata, held cell by cell, and by random metadata."""

from __future__ import annotations

import logging
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, features
from PIL.PngImagePlugin import PngInfo

from paragon_engine.pictures import FORMATS, PictureInfo, WriteOptions, prepared, read_image, write_image
from paragon_engine.pictures.carried import KINDS, Fate
from paragon_engine.pictures.exif import cleaned
from paragon_engine.pictures.formats import plug_ins
from paragon_engine.pictures.ifd import ASCII, EXIF_IFD, Block, Value, build
from tests.judges import exiftool
from tests.pictures.samples import CARRIED, IPTC, P3, XMP, exif, picture, wave

EXTENSIONS = {fmt.name: fmt.extensions[0] for fmt in FORMATS}
CELLS = [
    (kind.name, source, target)
    for kind in KINDS
    for source in kind.sources
    if source in EXTENSIONS or source in {plug.name for plug in plug_ins()}
    for target in EXTENSIONS
]


def source_file(folder: Path, name: str, kind: str) -> Path:
    """A file of a format that has metadata of a kind, made by Pillow where it can, else by us."""
    path = folder / f"in{EXTENSIONS.get(name, '.heic' if name == 'HEIF' else '.jxl')}"
    image = Image.fromarray((wave() * 255).astype(np.uint8))
    options: dict[str, Any] = {"EXIF": {"exif": b"Exif\0\0" + exif()}, "XMP": {"xmp": XMP},
                               "ICC profile": {"icc_profile": P3}}.get(kind, {})  # fmt: skip
    if name in ("HEIF", "JXL"):
        pytest.importorskip({"HEIF": "pillow_heif", "JXL": "pillow_jxl"}[name])
        if name == "HEIF":
            __import__("pillow_heif").register_heif_opener()
        if not options:
            pytest.skip("the plug-in does not write this")
        image.save(path, **options)
    elif options and (name in ("JPEG", "WEBP", "AVIF") or (name == "PNG" and kind != "XMP")):
        image.save(path, **options)
    elif name == "PNG" and kind == "XMP":
        chunks = PngInfo()
        chunks.add_itxt("XML:com.adobe.xmp", XMP.decode())
        image.save(path, pnginfo=chunks)
    elif (name, kind) == ("PNG", "IPTC"):  # as ImageMagick does it
        chunks = PngInfo()
        digits = IPTC.removeprefix(b"Photoshop 3.0\0").hex()
        chunks.add_text("Raw profile type 8bim", f"\n8bim\n{len(digits) // 2:8}\n{digits}\n", zip=True)
        image.save(path, pnginfo=chunks)
    else:
        write_image(picture(kind), path)
    return path


def carries(info: PictureInfo, kind: str) -> bool:
    return next(item for item in KINDS if item.name == kind).has(info)


def same(kind: str, before: PictureInfo, after: PictureInfo) -> bool:
    """Whether a kind came through with its contents."""
    fields = {"EXIF": ("exif",), "XMP": ("xmp",), "IPTC": ("iptc",), "ICC profile": ("icc_profile",),
              "gAMA and cHRM": ("gamma", "chromaticities"), "sRGB": ("srgb_intent",), "text": ("text",),
              "comments": ("comments",), "print resolution": ("dpi",)}  # fmt: skip
    names = fields.get(kind, ("light",) if kind.startswith("mastering") else ("cicp",))
    for name in names:
        values: list[Any] = [tags(info.exif) if name == "exif" else getattr(info, name) for info in (before, after)]
        first, second = values
        if name in ("dpi", "chromaticities") and first is not None:
            if second is None or not np.allclose(first, second, rtol=2e-3):
                return False
        elif first != second:
            return False
    return True


def tags(data: bytes | None) -> dict[tuple[int, int], bytes | None]:
    """Values by directory and tag, without pointers."""
    if data is None:
        return {}
    block = Block(data)
    found: dict[tuple[int, int], bytes | None] = {}
    details = block.sub(block.first, EXIF_IFD)
    interop = block.sub(details, 0xA005) if details else 0
    for number, place in enumerate((block.first, details, interop)):
        for entry in block.entries(place) if place else ():
            if entry.tag not in (EXIF_IFD, 0xA005, 0x011A, 0x011B, 0x0128):
                found[number, entry.tag] = entry.data
    return found


@pytest.mark.parametrize(("kind", "source", "target"), CELLS)
def test_cell(kind: str, source: str, target: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    read = read_image(source_file(tmp_path, source, kind))
    assert carries(read.info, kind)
    holding = next(item for item in KINDS if item.name == kind).holding(target)
    out = tmp_path / f"out{EXTENSIONS[target]}"
    with caplog.at_level(logging.INFO, "paragonsr"):
        write_image(read, out)
    back = read_image(out)
    told = any(kind in record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING)
    assert told == (holding.fate is Fate.DROPPED)
    if holding.fate is Fate.KEPT:
        assert same(kind, read.info, back.info)
    elif holding.fate is Fate.DROPPED:
        assert not carries(back.info, kind)
    else:
        _check_translation(kind, holding.how, read, back)


def _check_translation(kind: str, how: str, before: Any, after: Any) -> None:
    if how == "into an ICC profile":
        assert after.info.icc_profile is not None
        assert after.info.icc_profile[16:20] == b"RGB "
    elif how == "colours become sRGB":
        assert after.info.icc_profile is None
        assert np.abs(after.pixels - before.pixels).max() > 0.02  # the codes of a wider or linear space are others
    elif how == "into text":
        assert after.info.text["Comment"] == "a comment"
    elif how == "into EXIF":
        whole = tags(after.info.exif)
        if kind == "text":
            assert whole[1, 0x9286] == b"ASCII\0\0\0a cat, Steps: 20"
            assert whole[0, 0x010E] == "Größe 猫".encode() + b"\0"
            assert "seed: 7" in (whole[0, 0x9C9C] or b"").decode("utf-16-le")
        elif kind == "comments":
            assert whole[1, 0x9286] == b"ASCII\0\0\0a comment"
        else:
            block = Block(after.info.exif)
            assert {0x011A, 0x011B, 0x0128} <= {entry.tag for entry in block.entries(block.first)}
    else:
        assert how == "pictures without a tag are sRGB"
        assert after.info.icc_profile is None


def test_every_kind_has_a_sample() -> None:
    assert set(CARRIED) == {kind.name for kind in KINDS}
    assert {name for kind in KINDS for name in kind.held} <= {"PNG", "JPEG", "WEBP", "TIFF", "BMP", "AVIF"}


@pytest.mark.parametrize("target", EXTENSIONS)
def test_what_was_told_before_the_work_is_not_told_again(
    target: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / f"out{EXTENSIONS[target]}"
    with caplog.at_level(logging.WARNING, "paragonsr"):
        ready = prepared(picture(*CARRIED), out)
        told = len(caplog.records)
        write_image(ready, out)
    assert len(caplog.records) == told
    assert told == 1  # no format holds everything


@pytest.mark.parametrize("target", EXTENSIONS)
def test_stripping_keeps_colours_alone(target: str, tmp_path: Path) -> None:
    out = tmp_path / f"out{EXTENSIONS[target]}"
    write_image(picture("EXIF", "XMP", "IPTC", "ICC profile", "text", "comments"), out, WriteOptions(metadata=False))
    info = read_image(out).info
    assert (info.exif, info.xmp, info.iptc, dict(info.text), info.comments) == (None, None, None, {}, ())
    assert (info.icc_profile == P3) == (target != "BMP")


def _random_info(chance: random.Random) -> PictureInfo:
    kinds = chance.sample(sorted(CARRIED), chance.randrange(1, len(CARRIED) + 1))
    if "ICC profile" in kinds:  # which a PNG must not have beside it
        kinds = [kind for kind in kinds if kind != "sRGB"]
    info = picture(*kinds).info
    letters = "aé猫 <&>\"'\n\t\u202e\U0001f600" + "x" * 10
    words = "".join(chance.choice(letters) for _ in range(chance.choice((0, 1, 50, 3000, 40_000))))
    changes: dict[str, Any] = {}
    if info.text:
        changes["text"] = {chance.choice(("parameters", "workflow", "Title", "kéy")): words, "other": "1"}
    if info.exif is not None:
        order = chance.choice("<>")
        values = {0x010E: words.encode("utf-8", "surrogatepass") + b"\0", 0x8298: bytes(chance.randrange(1, 70_000))}
        changes["exif"] = build(order, {tag: Value(ASCII, len(data), data) for tag, data in values.items()})
    if info.xmp is not None:
        text = words.replace("&", "").replace("<", "").replace('"', "").replace("\n", " ").replace("\t", " ")
        changes["xmp"] = XMP.replace(b'xmp:Rating="5"', f'xmp:Rating="5" xmp:Label="{text}"'.encode())
    if info.icc_profile is not None:
        changes["icc_profile"] = P3 + bytes(chance.choice((0, 1000, 70_000)))
    return replace(info, **changes)


@pytest.mark.parametrize("seed", [*range(24), *(pytest.param(n, marks=pytest.mark.exhaustive) for n in range(24, 400))])
def test_random_metadata_hold_the_table(seed: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    chance = random.Random(seed)
    info = _random_info(chance)
    target = chance.choice(sorted(EXTENSIONS))
    out = tmp_path / f"out{EXTENSIONS[target]}"
    before = picture()
    with caplog.at_level(logging.WARNING, "paragonsr"):
        write_image(type(before)(before.pixels, info=info), out)
    told = " ".join(record.getMessage() for record in caplog.records)
    back = read_image(out).info
    for kind in KINDS:
        if not kind.has(info):
            assert kind.name not in told
            continue
        holding = kind.holding(target)
        if holding.fate is Fate.DROPPED:
            assert kind.name in told
        elif holding.fate is Fate.KEPT and holding.limit is None and kind.name not in ("EXIF", "ICC profile", "text"):
            assert same(kind.name, info, back), kind.name
        elif kind.name == "EXIF" and "EXIF" not in told:
            assert tags(cleaned(info.exif)).items() <= tags(back.exif).items()
        elif kind.name == "XMP" and "XMP" not in told:
            assert back.xmp == info.xmp
        elif kind.name == "text" and target == "PNG":
            assert all(back.text.get(key) == value for key, value in info.text.items())


@pytest.mark.parametrize("target", [name for name in EXTENSIONS if name != "BMP"])
def test_exiftool_reads_what_was_kept(target: str, tmp_path: Path) -> None:
    if target == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    out = tmp_path / f"out{EXTENSIONS[target]}"
    write_image(picture("EXIF", "XMP", "ICC profile", "text"), out)
    found = exiftool(out, "-a")
    assert found["IFD0:Make"] == "Größe 猫"
    assert found["ExifIFD:ExposureTime"] == "1/250"
    assert found["InteropIFD:InteropIndex"].startswith("R98")
    assert found["XMP-xmp:Rating"] == 5
    assert "ICC-header:ColorSpaceData" in found
