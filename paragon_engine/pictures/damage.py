"""How damaged a picture is: compression by JPEG, and noise. Plain numbers, from at most `WINDOWS` parts of it.

What is measured:

- **JPEG quality**, on libjpeg's scale, from the quantisation table of a JPEG file. For any other picture from its
  pixels: coefficients of the 8 x 8 DCT of something that was a JPEG once are multiples of a few steps, at one of the 64
  places that the grid of blocks can have. The steps tell the quality, from about 93 down; above, most are 1.
- **Blocks**, how much larger steps between pixels are at the borders of such a grid than elsewhere: what is left of
  JPEG after a picture was changed, and of the blocks of video codecs.
- **Noise**, as a standard deviation in 8-bit steps, where a picture is flat but for noise.

Drawings with few colours have sharp steps wherever their maker wanted: of those only the quality counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from .picture import Picture, Pixels

WINDOWS, SIDE = 9, 128
"""Parts of a picture that are looked at, and their sides in pixels, multiples of the side of a block."""
BLOCK = 8
SMALLEST = 4 * BLOCK
"""Side of the smallest picture that is measured."""
STANDARD = np.array([
    [16, 11, 10, 16, 24, 40, 51, 61],
    [12, 12, 14, 19, 26, 58, 60, 55],
    [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62],
    [18, 22, 37, 56, 68, 109, 103, 77],
    [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101],
    [72, 92, 95, 98, 112, 100, 103, 99],
], dtype=np.float64)  # fmt: skip
"""Steps for brightness at quality 50, of the JPEG standard (ITU-T T.81, table K.1)."""
Plane = NDArray[np.float64]

_FREQUENCIES = tuple((v, u) for v in range(4) for u in range(4) if 0 < v + u < 4)
"""Rows and columns of coefficients that are looked at: low ones, which are seldom zero."""
_STEPS = np.arange(2, 121)
_BINS, _FINENESS, _LARGEST = 1601, 4, 200.0
"""Coefficients are counted in bins of a quarter, up to 200."""
_ENOUGH = 24
"""Coefficients that must not be zero for a step to be found."""
_SURE, _NEAR = 0.55, 0.93
"""How well coefficients must lie on multiples, 1 is exactly; and, of two steps, how much worse the larger may be."""
_COMMON, _FEW, _EQUAL = 8, 0.8, 0.6
"""A drawing with few colours: so many levels make up so much of it, or so many neighbours are equal."""
_PALETTE, _GRAYS = 256, 32
"""Nor has a picture more colours than a palette, or than so many grays."""
_PATCH = 8
"""Side of the parts in which noise is measured."""
_WHITE, _SMOOTH = 1.25, 0.6
"""A part is flat if it varies at most so much more than its finest detail, for noise has all frequencies alike; or if
it varies by no more than so many 8-bit steps."""
_SHARE = 0.05
"""So many parts must be flat, or what looks like noise is texture."""
_LOW = 20
"""Percentile of the flat parts that counts: noise is alike in all of them, texture is not."""


@dataclass(frozen=True)
class Damage:
    """What was measured in a picture."""

    quality: float | None = None
    """Of JPEG, 1 to 100; None where there are no traces of it."""
    blocks: float = 1.0
    """Steps at the borders of blocks by those elsewhere: 1 is none, JPEG of quality 50 has about 1.5."""
    noise: float = 0.0
    """Standard deviation in flat parts, in steps of 8 bits."""

    def __str__(self) -> str:
        found = [f"JPEG quality {self.quality:.0f}"] if self.quality is not None else []
        found += [f"blocks {self.blocks:.2f}"] if self.quality is None and self.blocks >= BLOCKS[0][0] else []
        found += [f"noise {self.noise:.1f}"] if self.noise >= NOISE[0][0] else []
        return ", ".join(found) or "clean"


QUALITY = ((75.0, 1.0), (85.0, 0.6), (90.0, 0.3), (97.0, 0.1))
"""Strengths by JPEG quality, by noise and by blocks: between them straight lines, beyond them the nearest."""
NOISE = ((2.0, 0.0), (4.0, 1.0))
BLOCKS = ((1.15, 0.0), (1.3, 0.5), (1.6, 1.0))
STEP = 0.25
"""Strengths are multiples of it, so that a folder needs few networks."""


def strength(damage: Damage) -> float:
    """How much to restore, 0 to 1: what the larger damage asks for, rounded to `STEP`. Made by benchmarks.restoring."""
    wanted = _line(NOISE, damage.noise)
    if damage.quality is not None:
        wanted = max(wanted, _line(QUALITY, damage.quality))
    else:
        wanted = max(wanted, _line(BLOCKS, damage.blocks))
    return round(wanted / STEP) * STEP


def _line(points: tuple[tuple[float, float], ...], at: float) -> float:
    return float(np.interp(at, [x for x, _ in points], [y for _, y in points]))


def measure(picture: Picture) -> Damage:
    """Measure a picture; the same picture gives the same numbers. A tenth of a second at most, whatever its size.

    A picture under 32 pixels counts as clean, but for the table of its file.
    """
    quality = table_quality(picture.info.jpeg_steps) if picture.info.jpeg_steps else None
    if min(picture.size) < SMALLEST:
        return Damage(quality)
    windows, clipped = _windows(picture.pixels)
    if quality is None:
        quality = pixel_quality(windows, clipped)
    if _is_drawn(windows, picture.is_gray):
        return Damage(quality)
    return Damage(quality, blockiness(windows), noise(windows) if quality is None else 0.0)


def table_quality(steps: tuple[int, ...]) -> float:
    """Quality of libjpeg whose table for brightness has such steps on average, in any order."""
    return _quality(100 * sum(steps) / float(STANDARD.sum()))


def _quality(percent: float) -> float:
    """From the percentage by which the standard's steps are scaled."""
    return float(np.clip((200 - percent) / 2 if percent <= 100 else 5000 / percent, 1, 100))


def _windows(pixels: Pixels) -> tuple[Plane, NDArray[np.bool_]]:
    """Parts of a picture's brightness, spread over it, ``(N, side, side)`` in 0..255, and where a channel is clipped.

    They begin at multiples of 8.
    """
    height, width = pixels.shape[:2]
    count = int(np.sqrt(WINDOWS))
    side_y, side_x = min(SIDE, height), min(SIDE, width)
    places = [
        (_place(height - side_y, row, count), _place(width - side_x, column, count))
        for row in range(count)
        for column in range(count)
    ]
    weights = np.array([0.299, 0.587, 0.114] if pixels.shape[2] == 3 else [1.0])
    parts = [pixels[y : y + side_y, x : x + side_x] for y, x in dict.fromkeys(places)]
    clipped = np.stack([((part <= 0) | (part >= 1)).any(axis=2) for part in parts])
    return 255 * np.stack([part.astype(np.float64) @ weights for part in parts]), clipped


def _place(room: int, index: int, count: int) -> int:
    return room * index // (count - 1) // BLOCK * BLOCK


def _is_drawn(windows: Plane, gray: bool) -> bool:
    """Whether a maker set the pixels: few levels make up nearly all of it, or it has a palette or large flat parts."""
    levels = np.rint(windows).astype(np.int64).clip(0, 255)
    counts = np.bincount(levels.ravel(), minlength=256)
    if float(np.sort(counts)[-_COMMON:].sum()) >= _FEW * windows.size:
        return True
    if float((np.diff(windows, axis=2) == 0).mean()) >= _EQUAL:
        return True
    return len(np.unique(windows)) <= (_GRAYS if gray else _PALETTE)


def _transform() -> Plane:
    """The first four rows of the orthonormal DCT of 8 numbers, ``(8, 4)``."""
    at, frequency = np.arange(BLOCK)[:, None], np.arange(4)[None]
    rows = np.cos((2 * at + 1) * frequency * np.pi / (2 * BLOCK)) / 2
    rows[:, 0] /= np.sqrt(2)
    return rows


def _comb() -> Plane:
    """How well each bin lies on multiples of each step, -1 to 1; 0 where it is nearer to 0 than to the step."""
    values = (np.arange(_BINS) - _BINS // 2) / _FINENESS
    fit = np.cos(2 * np.pi * values[:, None] / _STEPS[None])
    return fit * _counted()


def _counted() -> Plane:
    values = np.abs((np.arange(_BINS) - _BINS // 2) / _FINENESS)
    return (values[:, None] > 0.5 * _STEPS[None]).astype(np.float64)


_TRANSFORM, _COMB, _COUNTED = _transform(), _comb(), _counted()


def pixel_quality(windows: Plane, clipped: NDArray[np.bool_]) -> float | None:
    """JPEG quality that pixels betray, or None. See `measure`."""
    across = np.lib.stride_tricks.sliding_window_view(windows, BLOCK, axis=2) @ _TRANSFORM
    every = np.lib.stride_tricks.sliding_window_view(across, BLOCK, axis=1)  # (N, rows, columns, u, 8)
    coefficients = every @ _TRANSFORM
    spoilt = np.lib.stride_tricks.sliding_window_view(clipped, (BLOCK, BLOCK), axis=(1, 2))
    for top, left in _phases(windows):
        whole = ~spoilt[:, top::BLOCK, left::BLOCK].any(axis=(3, 4))
        steps = _steps(coefficients[:, top::BLOCK, left::BLOCK][whole])
        if len(steps) >= 3:
            standard = sum(STANDARD[place] for place in steps)
            return _quality(100 * sum(steps.values()) / float(standard))
    return None


def _phases(windows: Plane) -> list[tuple[int, int]]:
    """Where the grid may begin: at the corner, as in whole pictures; and where most borders are."""
    rows, columns = _profile(windows, 1), _profile(windows, 2)
    best = (int(np.argmax(rows)) + 1) % BLOCK, (int(np.argmax(columns)) + 1) % BLOCK
    return list(dict.fromkeys([(0, 0), best]))


def _steps(coefficients: Plane) -> dict[tuple[int, int], int]:
    """Steps by frequency, where coefficients ``(..., u, v)`` lie on multiples of one."""
    found: dict[tuple[int, int], int] = {}
    for v, u in _FREQUENCIES:
        values = coefficients[..., u, v].ravel()
        values = values[np.abs(values) < _LARGEST]
        counts = np.bincount(np.rint(values * _FINENESS).astype(np.int64) + _BINS // 2, minlength=_BINS)
        number = counts @ _COUNTED
        fit = np.where(number >= _ENOUGH, (counts @ _COMB) / np.maximum(number, 1), 0)
        best = float(fit.max())
        if best >= _SURE:
            found[v, u] = int(_STEPS[np.flatnonzero(fit >= _NEAR * best)[-1]])
    return found


def blockiness(windows: Plane) -> float:
    """Steps at the borders of blocks by those elsewhere, of the direction that has fewer; 1 without blocks."""
    ratios: list[float] = []
    for axis in (1, 2):
        profile = _profile(windows, axis)
        place = int(np.argmax(profile))
        others = np.delete(profile, place)
        ratios.append(float(profile[place] / max(float(others.mean()), 0.05)))
    return max(1.0, min(ratios))


def _profile(windows: Plane, axis: int) -> Plane:
    """Mean excess of steps from a row (column) to the next over those beside them, by place within 8, ``(8,)``."""
    moved = np.moveaxis(windows, axis, 2)
    steps = np.diff(moved, axis=2)
    excess = np.abs(steps[..., 1:-1] - (steps[..., :-2] + steps[..., 2:]) / 2)
    limited = np.minimum(excess, 16)  # edges of the picture's own count little
    means = limited.mean(axis=(0, 1))
    places = cast("NDArray[np.int64]", (np.arange(means.size) + 1) % BLOCK)
    return np.array([float(means[places == place].mean()) for place in range(BLOCK)])


def noise(windows: Plane) -> float:
    """Standard deviation in flat parts, in 8-bit steps; 0 where there are none.

    A part's finest detail (the second difference along both axes, as of Immerkaer) gives its noise; it is flat if all
    that it varies by, less a slope, is little more than that.
    """
    count, height, width = windows.shape
    rows, columns = height // _PATCH, width // _PATCH
    cut = windows[:, : rows * _PATCH, : columns * _PATCH]
    blocks = cast("Plane", cut.reshape(count, rows, _PATCH, columns, _PATCH).transpose(0, 1, 3, 2, 4))
    parts = cast("Plane", blocks.reshape(-1, _PATCH, _PATCH))
    clipped = cast("Plane", ((parts < 1) | (parts > 254)).mean(axis=(1, 2)))
    parts = parts[clipped < 0.05]
    if not len(parts):
        return 0.0
    fine = np.diff(np.diff(parts, 2, axis=1), 2, axis=2)
    sigma = np.sqrt(np.square(fine).mean(axis=(1, 2))) / 6
    flat = _without_slope(parts).std(axis=(1, 2)) <= np.maximum(_WHITE * sigma, _SMOOTH)
    chosen = sigma[flat]
    return float(np.percentile(chosen, _LOW)) if len(chosen) >= max(4, _SHARE * len(sigma)) else 0.0


def _without_slope(parts: Plane) -> Plane:
    """Parts less the plane that fits each best."""
    at = np.arange(_PATCH) - (_PATCH - 1) / 2
    scale = _PATCH * float(np.square(at).sum())
    mean = parts.mean(axis=(1, 2), keepdims=True)
    down = (parts.sum(axis=2) @ at / scale)[:, None, None] * at[None, :, None]
    across = (parts.sum(axis=1) @ at / scale)[:, None, None] * at[None, None, :]
    return parts - mean - down - across
