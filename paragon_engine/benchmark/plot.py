"""The plot of a report: speed-ups as bars, as an SVG file without dependencies."""

from __future__ import annotations

from xml.sax.saxutils import escape

from .run import Case, Report, Row

COLOURS = {
    "torch": "#4e79a7",
    "torch-compile": "#76b7b2",
    "onnxruntime": "#f28e2b",
    "openvino": "#59a14f",
}
"""By backend, told apart in print and by most colour-blind people; all others are grey."""
OTHER = "#79706e"
REFERENCE_OPACITY = 0.4
"""Forms other than ours are paler."""

_WIDTH, _LEFT, _RIGHT, _BAR, _GAP, _TITLE, _TOP = 900, 300, 80, 15, 16, 22, 56


def svg(report: Report) -> str:
    """Bars of speed-up over the baseline, one group for each model and size."""
    cases = [case for case in report.cases if case.rows]
    most = max((row.ratio for case in cases for row in case.rows), default=1.0)
    unit = (_WIDTH - _LEFT - _RIGHT) / most
    bottom = _TOP + sum(_height(case) for case in cases)
    body: list[str] = [*_grid(most, unit, bottom)]
    top = _TOP
    for case in cases:
        body += _group(case, top, unit)
        top += _height(case)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {bottom + 10}" '
        f'font-family="sans-serif" font-size="12" fill="#222">'
    )
    background = f'<rect width="{_WIDTH}" height="{bottom + 10}" fill="#fff"/>'
    heading = _text(12, 22, "Speed-up over the baseline: the first line of each group", size=15)
    return "\n".join([head, background, heading, *body, "</svg>", ""])


def _height(case: Case) -> int:
    return _TITLE + _BAR * len(case.rows) + _GAP


def _grid(most: float, unit: float, bottom: int) -> list[str]:
    step = 1 if most < 12 else 5
    lines: list[str] = []
    for value in range(0, int(most) + 1, step):
        x = _LEFT + value * unit
        lines.append(f'<line x1="{x:.1f}" y1="{_TOP - 8}" x2="{x:.1f}" y2="{bottom - 8}" stroke="#ddd"/>')
        lines.append(_text(x, _TOP - 14, f"{value}x", anchor="middle"))
    return lines


def _group(case: Case, top: int, unit: float) -> list[str]:
    lines = [_text(12, top + 14, f"{case.model}, {case.size} x {case.size}", weight="bold")]
    for index, row in enumerate(case.rows):
        lines += _bar(row, top + _TITLE + index * _BAR, unit)
    return lines


def _bar(row: Row, y: int, unit: float) -> list[str]:
    width, base = row.ratio * unit, y + _BAR - 4
    opacity = 1.0 if row.form == "inference" else REFERENCE_OPACITY
    colour = f'fill="{COLOURS.get(row.backend, OTHER)}" fill-opacity="{opacity}"'
    return [
        _text(_LEFT - 8, base, f"{row.form}, {row.backend}", anchor="end"),
        f'<rect x="{_LEFT}" y="{y + 1}" width="{width:.1f}" height="{_BAR - 3}" {colour}/>',
        _text(_LEFT + width + 5, base, f"{row.ratio:.2f}x"),
    ]


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal", size: int = 12) -> str:
    return (
        f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" font-weight="{weight}" font-size="{size}">'
        f"{escape(text)}</text>"
    )
