"""Colours of other profiles as sRGB and back, in float and without clipping (ICC.1:2022, matrix and gray profiles).

Networks are trained on sRGB. A picture with another profile is converted for the network alone and back afterwards, so
that its file keeps the profile. What lies outside sRGB is not lost: the caller gets values beyond 0..1.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..progress import log
from .picture import Pixels

Curve = NDArray[np.float64]
"""Linear light at evenly spaced code values."""

_SAMPLES = 4097
# linear sRGB to the profile connection space (XYZ, D50)
_SRGB = np.array(
    [
        [0.4360747, 0.3850649, 0.1430804],
        [0.2225045, 0.7168786, 0.0606169],
        [0.0139322, 0.0971045, 0.7141733],
    ]
)
_SAME = 0.002
"""Largest difference of a code value at which two profiles count as the same: half of an 8-bit step."""


@dataclass(frozen=True)
class Conversion:
    """From one profile to sRGB and back."""

    curves: tuple[Curve, ...]
    """One for each channel."""
    matrix: NDArray[np.float64] | None
    """Linear light to linear sRGB; None for gray."""

    def to_srgb(self, pixels: Pixels) -> Pixels:
        """(H, W, C) of the profile as sRGB; outside 0..1 where sRGB does not reach."""
        grid = np.linspace(0, 1, _SAMPLES)
        linear = np.stack([np.interp(pixels[..., i], grid, curve) for i, curve in enumerate(self.curves)], axis=2)
        if self.matrix is not None:
            linear = _times(linear, self.matrix)
        return _encode(linear).astype(np.float32)

    def from_srgb(self, pixels: Pixels) -> Pixels:
        """The inverse, clipped to 0..1 of the profile."""
        linear = _decode(pixels.astype(np.float64))
        if self.matrix is not None:
            linear = _times(linear, np.linalg.inv(self.matrix).astype(np.float64))
        grid = np.linspace(0, 1, _SAMPLES)
        channels = [np.interp(linear[..., i], curve, grid) for i, curve in enumerate(self.curves)]
        return np.stack(channels, axis=2).astype(np.float32)


def conversion_of(icc: bytes | None) -> Conversion | None:
    """How to convert pixels of a profile; None if they are sRGB already or must be taken as they are.

    Profiles with look-up tables (printers, some scanners) are taken as they are, with a note.
    """
    if icc is None:
        return None
    try:
        tags = _tags(icc)
        conversion = _conversion(tags)
    except (KeyError, ValueError, struct.error, IndexError, np.linalg.LinAlgError) as error:
        log.info("the colour profile is kept but its colours are not converted for the network (%r)", error)
        return None
    return None if _is_srgb(conversion) else conversion


def _times(colours: NDArray[np.float64], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.matmul(colours, np.transpose(matrix))


def _tags(icc: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", icc, 128)
    if count > 1000:
        raise ValueError("too many tags")
    entries = [struct.unpack_from(">4sII", icc, 132 + 12 * i) for i in range(count)]
    return {name: icc[start : start + size] for name, start, size in entries}


def _conversion(tags: dict[bytes, bytes]) -> Conversion:
    if b"A2B0" in tags:
        raise ValueError("a look-up table")
    if b"kTRC" in tags:
        return Conversion((_curve(tags[b"kTRC"]),), None)
    columns = [struct.unpack_from(">3i", tags[name], 8) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
    colorants: NDArray[np.float64] = np.transpose(np.array(columns, dtype=np.float64) / 65536)
    matrix: NDArray[np.float64] = np.matmul(np.linalg.inv(_SRGB), colorants)
    np.linalg.inv(matrix)
    return Conversion(tuple(_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")), matrix)


def _curve(tag: bytes) -> Curve:
    """A ``curv`` or ``para`` tag as samples, which must rise."""
    x = np.linspace(0, 1, _SAMPLES)
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        values = struct.unpack_from(f">{count}H", tag, 12)
        if count < 2:
            curve = x ** (values[0] / 256 if count else 1.0)
        else:
            curve = np.interp(x, np.linspace(0, 1, count), np.array(values) / 65535)
    elif tag[:4] == b"para":
        (kind,) = struct.unpack_from(">H", tag, 8)
        number = (1, 3, 4, 5, 7)[kind]
        curve = _parametric(x, kind, [value / 65536 for value in struct.unpack_from(f">{number}i", tag, 12)])
    else:
        raise ValueError(f"curve of type {tag[:4]!r}")
    if np.any(np.diff(curve) < 0) or curve[-1] <= curve[0]:
        raise ValueError("a curve that does not rise")
    return _strictly_rising(x, curve)


def _strictly_rising(x: Curve, curve: Curve) -> Curve:
    """A table's steps of equal values as slopes: a step has no inverse, and black must come back as 0."""
    values, first = np.unique(curve, return_index=True)
    first[-1] = curve.size - 1
    return np.interp(x, x[first], values)


def _parametric(x: Curve, kind: int, p: Sequence[float]) -> Curve:
    """The five functions of ``parametricCurveType``."""
    g = p[0]
    if kind == 0:
        return x**g
    a, b = p[1], p[2]
    power = np.maximum(a * x + b, 0) ** g
    if kind == 1:
        return np.where(x >= -b / a, power, 0)
    if kind == 2:
        return np.where(x >= -b / a, power + p[3], p[3])
    c, d = p[3], p[4]
    e, f = (p[5], p[6]) if kind == 4 else (0.0, 0.0)
    return np.where(x >= d, power + e, c * x + f)


def _is_srgb(conversion: Conversion) -> bool:
    """Corners and a gray ramp of the profile are the same in sRGB."""
    levels = np.linspace(0, 1, 33, dtype=np.float32)
    channels = len(conversion.curves)
    ramps = [np.repeat(levels[:, None], channels, axis=1)]
    ramps += [levels[:, None] * np.eye(channels, dtype=np.float32)[i] for i in range(channels)]
    samples = np.stack(ramps)
    return bool(np.abs(conversion.to_srgb(samples) - samples).max() < _SAME * (1 if channels == 1 else 4))


def _encode(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear light to sRGB code values, odd around zero."""
    size = np.abs(linear)
    return np.sign(linear) * np.where(size <= 0.0031308, 12.92 * size, 1.055 * size ** (1 / 2.4) - 0.055)


def _decode(values: NDArray[np.float64]) -> NDArray[np.float64]:
    size = np.abs(values)
    return np.sign(values) * np.where(size <= 0.04045, size / 12.92, ((size + 0.055) / 1.055) ** 2.4)
