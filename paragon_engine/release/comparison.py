"""Two models on the same pictures: figures, pictures side by side, and one HTML page that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any

import numpy as np

from paragon_arch.errors import InvalidOptionError

from ..metrics import Pixels, psnr_y, ssim_y
from ..progress import Progress
from . import samples
from .artefacts import Artefact
from .pictures import PictureSet, fit_channels, reduced
from .verify import to_pixels

GAIN = 16
"""How much brighter differences are shown."""
SHOWN = 384
"""Side of the pictures on the page, in output pixels."""
EQUAL = 100.0
"""Decibels that stand for equal pictures."""


@dataclass(frozen=True)
class Row:
    """One picture. PSNR and SSIM are on luma of 8 bits, the first two sets against the ground truth."""

    name: str
    size: tuple[int, int]
    """Height and width of the input."""
    psnr_first: float | None
    psnr_second: float | None
    ssim_first: float | None
    ssim_second: float | None
    psnr_between: float
    ssim_between: float
    max_abs: float
    """Largest difference of the outputs, in 0..1."""


@dataclass
class Comparison:
    """The result of `compare`."""

    first: str
    second: str
    scale: int
    pictures: str
    rows: list[Row] = field(default_factory=list[Row])
    shown: list[dict[str, Pixels]] = field(default_factory=list[dict[str, Pixels]])
    """Pictures of each row, by caption."""

    def mean(self, name: str) -> float | None:
        """Mean of a column over the pictures; None where it has no values."""
        values = [getattr(row, name) for row in self.rows]
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known else None

    def to_dict(self) -> dict[str, Any]:
        """Plain types, the pictures left out."""
        means = {name: self.mean(name) for name in COLUMNS}
        rows = [asdict(row) | {"size": list(row.size)} for row in self.rows]
        head = {"first": self.first, "second": self.second, "scale": self.scale, "pictures": self.pictures}
        return head | {"mean": means, "rows": rows}


COLUMNS = {
    "psnr_first": "PSNR A, dB",
    "psnr_second": "PSNR B, dB",
    "ssim_first": "SSIM A",
    "ssim_second": "SSIM B",
    "psnr_between": "PSNR A to B, dB",
    "ssim_between": "SSIM A to B",
    "max_abs": "max. difference",
}
"""Figures of a row, with their headings."""


def compare(first: Artefact, second: Artefact, pictures: PictureSet, *, progress: Progress | None = None) -> Comparison:
    """Run both models on pictures, reduced by their scale so that they are their own ground truth.

    Raises:
        InvalidOptionError: the scales or channels differ, or a graph takes one size only.
    """
    if (first.scale, first.channels) != (second.scale, second.channels):
        raise InvalidOptionError(
            f"{first.name} has scale {first.scale}, {second.name} scale {second.scale}: they cannot be compared"
        )
    for item in (first, second):
        if item.fixed_size is not None:
            raise InvalidOptionError(f"{item.name} takes one size only: compare it with `verify`")
    progress = progress or Progress()
    result = Comparison(first.name, second.name, first.scale, pictures.description)
    progress.start(len(pictures.photos), label="comparing", unit="pictures")
    for photo in pictures.photos:
        small, truth = reduced(fit_channels(photo.pixels, first.channels), first.scale)
        outputs = [item.run(small) for item in (first, second)]
        a, b, t = to_pixels(outputs[0]), to_pixels(outputs[1]), to_pixels(truth)
        result.rows.append(_row(photo.name, a, b, t if first.scale > 1 else None, _largest(outputs), small.shape[2:]))
        bicubic = to_pixels(samples.enlarged(small, first.scale))
        result.shown.append(_shown(first, second, a, b, t, bicubic))
        progress.advance()
    return result


def _largest(outputs: Sequence[Any]) -> float:
    return float((outputs[0] - outputs[1]).abs().max())


def _row(name: str, a: Pixels, b: Pixels, truth: Pixels | None, largest: float, size: Sequence[int]) -> Row:
    return Row(
        name=name,
        size=(size[0], size[1]),
        psnr_first=None if truth is None else psnr_y(a, truth),
        psnr_second=None if truth is None else psnr_y(b, truth),
        ssim_first=None if truth is None else ssim_y(a, truth),
        ssim_second=None if truth is None else ssim_y(b, truth),
        psnr_between=min(EQUAL, psnr_y(a, b)),
        ssim_between=ssim_y(a, b),
        max_abs=largest,
    )


def _shown(
    first: Artefact, second: Artefact, a: Pixels, b: Pixels, truth: Pixels, bicubic: Pixels
) -> dict[str, Pixels]:
    pictures = {
        "bicubic": bicubic,
        f"A: {first.name}": a,
        f"B: {second.name}": b,
        f"difference, {GAIN} times": samples.difference(a, b, gain=GAIN),
        "original": truth,
    }
    top, left = (max(0, (length - SHOWN) // 2) for length in a.shape[:2])
    return {caption: pixels[top : top + SHOWN, left : left + SHOWN] for caption, pixels in pictures.items()}


def html(comparison: Comparison) -> str:
    """The page, with the pictures inside."""
    figures = [_picture_section(row, shown) for row, shown in zip(comparison.rows, comparison.shown, strict=True)]
    title = f"{comparison.first} and {comparison.second}"
    return _PAGE.format(
        title=escape(title),
        first=escape(comparison.first),
        second=escape(comparison.second),
        pictures=escape(comparison.pictures),
        scale=comparison.scale,
        table=_table(comparison),
        sections="\n".join(figures),
    )


def _table(comparison: Comparison) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in ("picture", "input", *COLUMNS.values()))
    body: list[str] = []
    for row in comparison.rows:
        cells = [
            escape(row.name),
            f"{row.size[1]} x {row.size[0]}",
            *(_cell(name, getattr(row, name)) for name in COLUMNS),
        ]
        body.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    means = ["<b>mean</b>", "", *(f"<b>{_cell(name, comparison.mean(name))}</b>" for name in COLUMNS)]
    body.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in means) + "</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return ""
    if name.startswith("psnr"):
        return "equal" if value >= EQUAL else f"{value:.3f}"
    return f"{value:.5f}" if name.startswith("ssim") else f"{value:.1e}"


def _picture_section(row: Row, shown: dict[str, Pixels]) -> str:
    figures = "".join(
        f'<figure><img alt="{text}" src="{_data(pixels)}"><figcaption>{text}</figcaption></figure>'
        for text, pixels in ((escape(caption), pixels) for caption, pixels in shown.items())
    )
    return f'<h2>{escape(row.name)}</h2><div class="row">{figures}</div>'


def _data(pixels: Pixels) -> str:
    return "data:image/png;base64," + base64.b64encode(samples.png(pixels)).decode()


_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 110rem; padding: 0 1.5rem; }}
table {{ border-collapse: collapse; }}
th, td {{ padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #8884; }}
th:first-child, td:first-child {{ text-align: left; }}
.row {{ display: flex; gap: 8px; overflow-x: auto; }}
figure {{ margin: 0; }}
figcaption {{ font-size: 13px; }}
img {{ display: block; image-rendering: pixelated; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>A is <b>{first}</b>, B is <b>{second}</b>, scale {scale}. On {pictures}, reduced by the scale and enlarged again.
PSNR and SSIM are on luma of 8 bits, A and B against the original, then against each other.</p>
{table}
{sections}
</body>
</html>
"""
