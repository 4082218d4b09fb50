"""What is no longer true of an enlarged picture is scaled or taken out; everything else keeps its bytes."""

from __future__ import annotations

import logging
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paragon_engine.pictures import Picture, PictureInfo, iptc, read_image, write_image, xmp
from paragon_engine.pictures import exif as exif_data
from paragon_engine.pictures.colour import conversion_of
from paragon_engine.pictures.icc import CURVES, PRIMARIES, described, profile
from paragon_engine.pictures.ifd import EXIF_IFD, LONG, SHORT, Block, Value, build
from paragon_engine.pictures.png_chunks import MAX_ONE
from tests.judges import exiftool
from tests.pictures.samples import chunk, exif, png, wave

RDF = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">%s</rdf:RDF></x:xmpmeta>'
    '<?xpacket end="w"?>'
)
NAMES = {
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpNote": "http://ns.adobe.com/xmp/note/",
    "hdrgm": "http://ns.adobe.com/hdr-gain-map/1.0/",
    "C": "http://ns.google.com/photos/1.0/container/",
    "GCamera": "http://ns.google.com/photos/1.0/camera/",
    "GPano": "http://ns.google.com/photos/1.0/panorama/",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
    "stDim": "http://ns.adobe.com/xmp/sType/Dimensions#",
    "my": "http://example.com/my/",
}


def packet(content: str, attributes: str = "") -> bytes:
    spaces = " ".join(f'xmlns:{name}="{uri}"' for name, uri in NAMES.items())
    return (RDF % f'<rdf:Description rdf:about="" {spaces} {attributes}>{content}</rdf:Description>').encode()


@pytest.mark.parametrize(
    ("attributes", "content"),
    [
        ('tiff:ImageWidth="24"', ""),
        ("exif:PixelXDimension = '24'", ""),
        ("", "<tiff:ImageLength>24</tiff:ImageLength>"),
        ("", "<exif:SubjectArea><rdf:Seq><rdf:li>24</rdf:li></rdf:Seq></exif:SubjectArea>"),
        ("", "<xmp:Thumbnails><rdf:Alt><rdf:li>24</rdf:li></rdf:Alt></xmp:Thumbnails>"),
        ('hdrgm:Version="24"', ""),
        ("", '<C:Directory><rdf:Seq><rdf:li C:Length="24"/></rdf:Seq></C:Directory>'),
        ('GCamera:MotionPhoto="24" GCamera:MicroVideoOffset="24"', ""),
        ('xmpNote:HasExtendedXMP="24"', ""),
    ],
)
def test_statements_that_are_not_true_go(attributes: str, content: str) -> None:
    kept = 'my:Note="a > b" xmp:Rating="5"'
    rest = "<dc:title>Größe 猫</dc:title>"
    cleaned = xmp.cleaned(packet(content + rest, f"{kept} {attributes}"))
    assert cleaned is not None
    assert b"24" not in cleaned
    expected = packet(rest, kept)
    assert cleaned.replace(b" ", b"") == expected.replace(b" ", b"")


def test_all_other_bytes_stay() -> None:
    data = packet("<dc:title>x</dc:title>\n<!-- a comment -->", "my:Note = 'it&apos;s'")
    assert xmp.cleaned(data) == data


def test_prefixes_are_looked_up() -> None:
    data = b'<r:RDF xmlns:r="r" xmlns:t="http://ns.adobe.com/tiff/1.0/" t:Orientation="6" t:ImageWidth="24"/>'
    assert xmp.cleaned(data) == data.replace(b'"6"', b'"1"').replace(b' t:ImageWidth="24"', b"")


@pytest.mark.parametrize("turned", [False, True])
def test_panoramas_and_regions_are_scaled_or_go_with_a_turn(turned: bool) -> None:
    region = '<mwg-rs:Regions><mwg-rs:AppliedToDimensions stDim:w="24" stDim:h="16"/></mwg-rs:Regions>'
    data = xmp.cleaned(packet(region, 'GPano:FullPanoWidthPixels="48" dc:format="image/jpeg"'), turned=turned)
    assert data is not None
    scaled = xmp.scaled(data, (2.0, 3.0), "image/png")
    assert scaled is not None
    assert b'dc:format="image/png"' in scaled
    for text in (b'stDim:w="48"', b'stDim:h="48"', b'GPano:FullPanoWidthPixels="96"'):
        assert (text in scaled) is not turned


@pytest.mark.parametrize("data", [b"<a><b></a>", b"no xml", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'])
def test_damaged_packets_are_left_out_with_a_word(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "paragonsr"):
        assert xmp.cleaned(data) is None
    assert "XMP" in caplog.text


def with_thumbnail(order: str = "<") -> bytes:
    """EXIF data with sizes, an orientation and a thumbnail behind everything."""
    values = {
        0x0112: Value(SHORT, 1, struct.pack(order + "H", 6)),
        0x0100: Value(LONG, 1, struct.pack(order + "I", 24)),
        EXIF_IFD: {0xA002: Value(LONG, 1, struct.pack(order + "I", 24)), 0x9000: Value(7, 4, b"0232")},
        0x010F: Value(2, 6, b"Maker\0"),
    }
    data = bytearray(build(order, values))
    second = len(data)
    struct.pack_into(order + "I", data, Block(data).next_place(8), second)
    rows = [(0x0201, second + 2 + 24 + 4), (0x0202, 300)]
    data += struct.pack(order + "H", 2) + b"".join(struct.pack(order + "HHII", tag, LONG, 1, v) for tag, v in rows)
    return bytes(data + bytes(4) + b"\xff\xd8" + bytes(298))


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_is_changed_in_its_own_bytes(order: str) -> None:
    source = with_thumbnail(order)
    data = exif_data.cleaned(exif_data.PREFIX + source)
    assert data is not None
    assert len(data) == len(source) - 300
    block = Block(data)
    assert [entry.tag for entry in block.entries(block.first)] == [0x010F, EXIF_IFD]
    assert [entry.tag for entry in block.entries(block.sub(block.first, EXIF_IFD))] == [0x9000]
    assert block.following(block.first) == 0
    assert data.index(b"Maker\0") == source.index(b"Maker\0")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("extension", ["jpg", "png", "webp", "tif", "avif"])
def test_a_makers_note_keeps_its_place(order: str, extension: str, tmp_path: Path) -> None:
    """It points into the data by offsets from their beginning."""
    source = exif(order)
    Image.fromarray((wave() * 255).astype(np.uint8)).save(tmp_path / "a.jpg", exif=exif_data.PREFIX + source)
    write_image(read_image(tmp_path / "a.jpg"), tmp_path / f"b.{extension}")
    whole = (tmp_path / f"b.{extension}").read_bytes()
    begin = 0 if extension == "tif" else whole.index(source[:4], 1)
    assert whole.index(b"MAKER\0") - begin == source.index(b"MAKER\0")


def test_text_goes_into_exif_beside_what_is_there(tmp_path: Path) -> None:
    data = exif_data.with_text(exif(), {"parameters": "a cat", "Author": "Jörg"})
    block = Block(data)
    found = {entry.tag: entry.data for entry in block.entries(block.first)}
    assert found[0x010F] == "Größe 猫".encode() + b"\0"
    assert found[0x013B] == "Jörg".encode() + b"\0"
    assert found[0x9C9C] == "parameters: a cat\0".encode("utf-16-le")  # the user comment is taken
    assert data[8 : len(exif())] == exif()[8:]


def test_iptc_keeps_captions_and_loses_thumbnails() -> None:
    caption = b"8BIM\x04\x04\0\0\0\0\0\x08\x1c\x02\x78\0\x03abc"
    thumbnail = b"8BIM\x04\x0c\0\0\0\0\0\x05abcde\0"
    assert iptc.cleaned(iptc.PREFIX + thumbnail + caption) == iptc.PREFIX + caption
    assert iptc.cleaned(b"\x1c\x02\x78\0\x03abc") == iptc.PREFIX + caption
    assert iptc.cleaned(iptc.PREFIX + thumbnail) is None


def test_raw_profiles_of_a_png_are_what_they_say(tmp_path: Path) -> None:
    digits = (exif_data.PREFIX + with_thumbnail()).hex()
    text = f"\nexif\n{len(digits) // 2:8}\n{digits}\n".encode()
    samples = np.full((4, 6, 3), 9, np.uint16)
    path = png(tmp_path / "a.png", 8, 2, samples, chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text)))
    picture = read_image(path)
    assert picture.size == (4, 6)  # it stands upright
    assert dict(picture.info.text) == {}
    assert picture.info.exif is not None
    assert exif_data.orientation_of(picture.info.exif) == 1


@pytest.mark.parametrize("size", [1_500_000, MAX_ONE + 1])
def test_limits_of_profile_and_text_are_ours(size: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    icc = (profile(PRIMARIES[12], CURVES[13]) or b"").ljust(size, b"\0")
    extra = (
        chunk(b"iCCP", b"big\0\0" + zlib.compress(icc)),
        chunk(b"zTXt", b"workflow\0\0" + zlib.compress(b"x" * size)),
    )
    path = png(tmp_path / "a.png", 8, 2, np.zeros((4, 4, 3), np.uint16), *extra)
    with caplog.at_level(logging.WARNING, "paragonsr"):
        info = read_image(path).info
    if size <= MAX_ONE:
        assert info.icc_profile == icc
        assert len(info.text["workflow"]) == size
    else:
        assert (info.icc_profile, dict(info.text)) == (None, {})
        assert "colour profile of over" in caplog.text
        assert "text of over" in caplog.text


@pytest.mark.parametrize(
    ("info", "same"),
    [
        (PictureInfo(gamma=0.45455), True),
        (PictureInfo(gamma=0.45455, chromaticities=(0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)), True),
        (PictureInfo(srgb_intent=0, gamma=1.0), True),
        (PictureInfo(cicp=(1, 13, 0, 1)), True),
        (PictureInfo(cicp=(12, 13, 0, 1)), False),
        (PictureInfo(gamma=1.0), False),
        (PictureInfo(gamma=1.0, gray=True), False),
        (PictureInfo(cicp=(9, 16, 0, 1)), True),
    ],
)
def test_colours_by_number_are_used(info: PictureInfo, same: bool) -> None:
    conversion = conversion_of(described(info))
    assert (conversion is None) == same
    if conversion is not None:
        values = wave()[..., : 1 if info.gray else 3]
        assert np.abs(conversion.from_srgb(conversion.to_srgb(values)) - values).max() < 2e-3


def test_linear_light_is_what_its_formula_says() -> None:
    conversion = conversion_of(described(PictureInfo(gamma=1.0)))
    assert conversion is not None
    middle = conversion.to_srgb(np.full((1, 1, 3), 0.2140, np.float32))
    assert np.abs(middle - 0.5).max() < 2e-3


def test_littlecms_reads_our_profiles() -> None:
    import io

    from PIL import ImageCms

    data = profile(PRIMARIES[9], CURVES[13])
    assert data is not None
    found = ImageCms.getOpenProfile(io.BytesIO(data))
    assert "colours" in ImageCms.getProfileDescription(found)
    values = (wave() * 160 + 40).astype(np.uint8)
    srgb = ImageCms.createProfile("sRGB")  # pyright: ignore[reportUnknownVariableType]
    theirs = ImageCms.profileToProfile(Image.fromarray(values), found, srgb)  # pyright: ignore
    conversion = conversion_of(data)
    assert conversion is not None
    ours = conversion.to_srgb(np.true_divide(values, 255, dtype=np.float32)).clip(0, 1) * 255
    assert np.abs(ours - np.asarray(theirs)).max() < 3


def test_exiftool_finds_no_fault(tmp_path: Path) -> None:
    write_image(Picture(wave(), info=PictureInfo(exif=exif_data.cleaned(with_thumbnail()))), tmp_path / "a.jpg")
    write_image(replace(read_image(tmp_path / "a.jpg"), pixels=wave(48, 64)), tmp_path / "b.tif")
    for name in ("a.jpg", "b.tif"):
        found = exiftool(tmp_path / name, "-a")
        assert found["IFD0:Make"] == "Maker"
        assert not {"IFD1:ThumbnailOffset", "ExifIFD:ExifImageWidth"} & set(found)
