"""ICC profiles for colours that a file describes by numbers (ICC.1, matrix profiles; ITU-T H.273)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from .picture import PictureInfo

PRIMARIES = {
    1: (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, 0.3127, 0.3290),
    5: (0.640, 0.330, 0.290, 0.600, 0.150, 0.060, 0.3127, 0.3290),
    6: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, 0.3127, 0.3290),
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, 0.3127, 0.3290),
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.3140, 0.3510),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.3127, 0.3290),
}
"""H.273 colour primaries as chromaticities x, y of red, green, blue and white."""
_SRGB_CURVE = (3, (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))
_BT709_CURVE = (3, (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081))
CURVES: dict[int, tuple[int, tuple[float, ...]]] = {
    1: _BT709_CURVE,
    4: (0, (2.2,)),
    5: (0, (2.8,)),
    6: _BT709_CURVE,
    8: (0, (1.0,)),
    13: _SRGB_CURVE,
    14: _BT709_CURVE,
    15: _BT709_CURVE,
}
"""H.273 transfer characteristics as ICC's parametric curves; those of HDR (PQ, HLG) are none."""
_D50 = (0.9642, 1.0, 0.8249)
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def described(info: PictureInfo) -> bytes | None:
    """The profile of a picture: the one that it has, else one made of what it says in numbers; None for sRGB.

    The order is that of PNG: cICP, profile, sRGB, gAMA and cHRM.
    """
    gray = info.gray
    if info.cicp is not None:
        primaries, transfer, _, full = info.cicp
        if (primaries, transfer) == (1, 13) or not full:
            return None
        if primaries in PRIMARIES and transfer in CURVES:
            return profile(PRIMARIES[primaries], CURVES[transfer], gray=gray)
        return None
    if info.icc_profile is not None or info.srgb_intent is not None:
        return info.icc_profile
    xy = PRIMARIES[1] if info.chromaticities is None else (*info.chromaticities[2:], *info.chromaticities[:2])
    usual = info.gamma is None or abs(info.gamma - 0.4545) < 0.01
    if usual and np.allclose(xy, PRIMARIES[1], atol=0.002):
        return None  # what many programs write into every file of sRGB
    curve = _SRGB_CURVE if info.gamma is None else (0, (1 / info.gamma,))
    return profile(xy, curve, gray=gray)


def profile(xy: Sequence[float], curve: tuple[int, tuple[float, ...]], *, gray: bool = False) -> bytes | None:
    """A profile of primaries (x, y of red, green, blue, white) and a curve; None where they make no sense."""
    try:
        colorants = _colorants(xy)
    except (ZeroDivisionError, np.linalg.LinAlgError):
        return None
    trc = struct.pack(">4s4xH2x", b"para", curve[0]) + b"".join(_fixed(value) for value in curve[1])
    tags = {b"wtpt": _xyz(_D50), b"cprt": b"text" + bytes(4) + b"no copyright, use freely\0"}
    tags[b"desc"] = _description("colours of the picture")
    if gray:
        tags[b"kTRC"] = trc
    else:
        columns = cast("list[list[float]]", colorants.T.tolist())
        for name, column in zip((b"r", b"g", b"b"), columns, strict=True):
            tags[name + b"XYZ"], tags[name + b"TRC"] = _xyz(column), trc
    return _assembled(tags, b"GRAY" if gray else b"RGB ")


def _colorants(xy: Sequence[float]) -> NDArray[np.float64]:
    """XYZ of the primaries under D50, in columns."""
    rows = [[x / y, 1, (1 - x - y) / y] for x, y in zip(xy[::2], xy[1::2], strict=True)]
    points = cast("NDArray[np.float64]", np.array(rows).T)
    white: NDArray[np.float64] = points[:, 3]
    columns: NDArray[np.float64] = points[:, :3] * np.linalg.solve(points[:, :3], white)
    ratio: NDArray[np.float64] = (_BRADFORD @ np.array(_D50)) / (_BRADFORD @ white)
    return np.linalg.inv(_BRADFORD) @ (ratio[:, None] * (_BRADFORD @ columns))


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(max(-32768.0, min(32767.0, value)) * 65536))


def _xyz(values: Sequence[float]) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(_fixed(value) for value in values)


def _description(text: str) -> bytes:
    words = text.encode("utf-16-be")
    return b"mluc" + struct.pack(">4xII2s2sII", 1, 12, b"en", b"US", len(words), 28) + words


def _assembled(tags: dict[bytes, bytes], space: bytes) -> bytes:
    body, table, start = b"", struct.pack(">I", len(tags)), 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4xI4s4s4s6H4s", start + len(body), 0x04300000, b"mntr", space, b"XYZ ",
                       2026, 1, 1, 0, 0, 0, b"acsp")  # fmt: skip
    head += bytes(68 - len(head)) + b"".join(_fixed(value) for value in _D50)
    return head + bytes(128 - len(head)) + table + body
