"""What becomes of each kind of metadata in each format: the table that writing goes by and the documents show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from ..progress import log
from . import exif as exif_data
from .formats import Format
from .icc import CURVES, PRIMARIES, described
from .ifd import StructureError
from .picture import PictureInfo


class Fate(Enum):
    """What happens to a kind of metadata."""

    KEPT = "kept"
    TRANSLATED = "translated"
    DROPPED = "dropped, with a note"


@dataclass(frozen=True)
class Holding:
    """How a format holds a kind of metadata."""

    fate: Fate
    how: str = ""
    """What it is translated into, or why it is dropped; for the documents and messages."""
    limit: int | None = None
    """Bytes that fit."""


@dataclass(frozen=True)
class Kind:
    """A kind of metadata."""

    name: str
    """In messages and in the documents."""
    sources: tuple[str, ...]
    """Pillow's names of the formats that it is read from."""
    has: Callable[[PictureInfo], bool]
    without: Callable[[PictureInfo], PictureInfo]
    held: Mapping[str, Holding]
    """By Pillow's name of the format that is written; where it is not named, it is dropped."""
    colour: bool = False
    """It says what the colours mean, so it stays when metadata are stripped."""

    def holding(self, name: str) -> Holding:
        """How a format holds it."""
        return self.held.get(name, _NOWHERE)


_NOWHERE = Holding(Fate.DROPPED, "the format has no place for it")
_KEPT = Holding(Fate.KEPT)
_PROFILE = Holding(Fate.TRANSLATED, "into an ICC profile")
_PIXELS = Holding(Fate.TRANSLATED, "colours become sRGB")
_UNTAGGED = Holding(Fate.TRANSLATED, "pictures without a tag are sRGB")
_EXIF = Holding(Fate.TRANSLATED, "into EXIF")
_TEXT = Holding(Fate.TRANSLATED, "into text")
_HDR = Holding(Fate.DROPPED, "the format has no place for HDR colours: write PNG or AVIF")

SEGMENT = 65533
"""Bytes of a JPEG's segment."""
XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\0"
ICC_PART = 65519
"""Bytes of a profile in one segment of a JPEG, of which there are at most 255."""


def _hdr(info: PictureInfo) -> bool:
    return info.cicp is not None and (info.cicp[0] not in PRIMARIES or info.cicp[1] not in CURVES)


def _except(*names: str, **held: Holding) -> dict[str, Holding]:
    return {**dict.fromkeys(names, _KEPT), **held}


KINDS = (
    Kind(
        "EXIF",
        ("PNG", "JPEG", "WEBP", "TIFF", "AVIF", "HEIF", "JXL"),
        lambda info: info.exif is not None,
        lambda info: replace(info, exif=None),
        _except("PNG", "WEBP", "TIFF", "AVIF", JPEG=Holding(Fate.KEPT, limit=SEGMENT - len(exif_data.PREFIX))),
    ),
    Kind(
        "XMP",
        ("PNG", "JPEG", "WEBP", "TIFF", "AVIF", "HEIF", "JXL"),
        lambda info: info.xmp is not None,
        lambda info: replace(info, xmp=None),
        _except("PNG", "WEBP", "TIFF", "AVIF", JPEG=Holding(Fate.KEPT, limit=SEGMENT - len(XMP_HEAD))),
    ),
    Kind(
        "IPTC",
        ("PNG", "JPEG", "TIFF"),
        lambda info: info.iptc is not None,
        lambda info: replace(info, iptc=None),
        _except("JPEG", "TIFF"),
    ),
    Kind(
        "ICC profile",
        ("PNG", "JPEG", "WEBP", "TIFF", "AVIF", "HEIF", "JXL"),
        lambda info: info.icc_profile is not None,
        lambda info: replace(info, icc_profile=None),
        _except("PNG", "WEBP", "TIFF", "AVIF", JPEG=Holding(Fate.KEPT, limit=ICC_PART * 255), BMP=_PIXELS),
        colour=True,
    ),
    Kind(
        "gAMA and cHRM",
        ("PNG",),
        lambda info: info.gamma is not None or info.chromaticities is not None,
        lambda info: replace(info, gamma=None, chromaticities=None),
        {"PNG": _KEPT, **dict.fromkeys(("JPEG", "WEBP", "TIFF", "AVIF"), _PROFILE), "BMP": _PIXELS},
        colour=True,
    ),
    Kind(
        "sRGB",
        ("PNG",),
        lambda info: info.srgb_intent is not None,
        lambda info: replace(info, srgb_intent=None),
        {"PNG": _KEPT, **dict.fromkeys(("JPEG", "WEBP", "TIFF", "AVIF", "BMP"), _UNTAGGED)},
        colour=True,
    ),
    Kind(
        "colours by number (cICP, nclx)",
        ("PNG", "AVIF", "HEIF"),
        lambda info: info.cicp is not None and not _hdr(info),
        lambda info: replace(info, cicp=None),
        {"PNG": _KEPT, "AVIF": _KEPT, **dict.fromkeys(("JPEG", "WEBP", "TIFF"), _PROFILE), "BMP": _PIXELS},
        colour=True,
    ),
    Kind(
        "HDR colours (PQ, HLG)",
        ("PNG", "AVIF", "HEIF"),
        _hdr,
        lambda info: replace(info, cicp=None),
        {"PNG": _KEPT, "AVIF": _KEPT, **dict.fromkeys(("JPEG", "WEBP", "TIFF", "BMP"), _HDR)},
        colour=True,
    ),
    Kind(
        "mastering display and light level (mDCV, cLLI)",
        ("PNG",),
        lambda info: bool(info.light),
        lambda info: replace(info, light={}),
        {"PNG": _KEPT},
        colour=True,
    ),
    Kind(
        "text",
        ("PNG",),
        lambda info: bool(info.text),
        lambda info: replace(info, text={}),
        {"PNG": _KEPT, **dict.fromkeys(("JPEG", "WEBP", "TIFF", "AVIF"), _EXIF)},
    ),
    Kind(
        "comments",
        ("JPEG",),
        lambda info: bool(info.comments),
        lambda info: replace(info, comments=()),
        {"JPEG": _KEPT, "PNG": _TEXT, **dict.fromkeys(("WEBP", "TIFF", "AVIF"), _EXIF)},
    ),
    Kind(
        "print resolution",
        ("PNG", "JPEG", "TIFF", "BMP"),
        lambda info: info.dpi is not None,
        lambda info: replace(info, dpi=None),
        {**_except("PNG", "JPEG", "TIFF", "BMP"), **dict.fromkeys(("WEBP", "AVIF"), _EXIF)},
    ),
)
"""Every kind there is, in the order in which they are looked at."""


def fitted(info: PictureInfo, fmt: Format, path: Path, *, keep: bool = True) -> PictureInfo:
    """What of a picture's metadata a file of a format can hold, translated where it must be; the rest is told.

    To be called before the work; once more, it has nothing to do or tell.

    Args:
        info: of the picture.
        fmt: of the file.
        path: of the file, for messages.
        keep: False leaves out all but what the colours mean, untold.
    """
    lost: list[str] = []
    if info.exif is not None:
        info = replace(info, exif=exif_data.body(info.exif))
    for kind in KINDS:
        if not kind.has(info):
            continue
        holding = kind.holding(fmt.name)
        if not keep and not kind.colour:
            info = kind.without(info)
        elif holding.fate is Fate.DROPPED:
            info = kind.without(info)
            lost.append(f"{kind.name} ({holding.how})")
    if keep:
        info = _translated(info, fmt)
    info = _colours(info, fmt)
    info = _limited(info, fmt, lost)
    if lost:
        log.warning("%s: left out, because %s cannot hold it: %s", path, fmt.name, "; ".join(lost))
    return info


def _is_translated(name: str, fmt: Format, how: Holding) -> bool:
    return next(kind for kind in KINDS if kind.name == name).holding(fmt.name) is how


def _translated(info: PictureInfo, fmt: Format) -> PictureInfo:
    """Text, comments and resolution in the places that the format has for them."""
    comments = "\n".join(comment.decode("utf-8", "replace").strip("\0") for comment in info.comments)
    if comments and _is_translated("comments", fmt, _TEXT):
        text = dict(info.text)
        text["Comment"] = "\n".join(part for part in (text.get("Comment", ""), comments) if part)
        info = replace(info, text=text, comments=())
    text = dict(info.text) if _is_translated("text", fmt, _EXIF) else {}
    if comments and _is_translated("comments", fmt, _EXIF):
        text["Comment"] = comments
    resolution = info.dpi if _is_translated("print resolution", fmt, _EXIF) else None
    if not text and resolution is None:
        return info
    data = info.exif
    try:
        data = exif_data.with_text(data, text) if text else data
        data = exif_data.with_resolution(data, resolution) if resolution else data
    except StructureError as error:
        log.warning("text cannot be put into the EXIF data, which is damaged: %s", error)
        return info
    info = replace(info, exif=data, text={} if text else info.text, dpi=None if resolution else info.dpi)
    return replace(info, comments=() if _is_translated("comments", fmt, _EXIF) else info.comments)


def _colours(info: PictureInfo, fmt: Format) -> PictureInfo:
    """What a format other than PNG says about colours: one thing, the one that a PNG gives most weight."""
    if fmt.name == "PNG":
        return info
    bare = replace(info, icc_profile=None, gamma=None, chromaticities=None, srgb_intent=None)
    if info.cicp is not None and fmt.name == "AVIF":
        return bare
    if any(kind.has(info) and kind.holding(fmt.name) is _PROFILE for kind in KINDS):
        return replace(bare, icc_profile=described(info), cicp=None)
    return replace(bare, icc_profile=info.icc_profile)


def _limited(info: PictureInfo, fmt: Format, lost: list[str]) -> PictureInfo:
    """Without what is too long for the format; of EXIF data, the longest entries go."""
    for kind, field in (("EXIF", "exif"), ("XMP", "xmp"), ("ICC profile", "icc_profile")):
        data: bytes | None = getattr(info, field)
        limit = next(item for item in KINDS if item.name == kind).holding(fmt.name).limit
        if data is None or limit is None or len(data) <= limit:
            continue
        kept = None
        if field == "exif":
            try:
                kept, gone = exif_data.shortened(data, limit)
            except StructureError:
                gone = []
            what = f"EXIF tags {', '.join(f'0x{tag:04x}' for tag in gone)}" if kept is not None else kind
        else:
            what = kind
        lost.append(f"{what} ({len(data):,} bytes, {limit:,} fit)")
        info = replace(info, **{field: kept})
    return info
