"""The plot of a report: the loss of each layer alone, on a logarithmic axis, as an SVG file without dependencies."""

from __future__ import annotations

import math
from xml.sax.saxutils import escape

from .report import LayerLoss, QuantizationReport

COLOURS = {"int8": "#59a14f", "fp8": "#4e79a7", "int16": "#f28e2b", "fp32": "#b07aa1"}
MEANING = {
    "int8": "8 bits",
    "fp8": "FP8",
    "int16": "16-bit activations",
    "fp32": "kept in FP32",
}
LEAST, MOST = 1e-3, 100.0
"""Ends of the axis in dB; smaller losses have no bar."""

_WIDTH, _LEFT, _RIGHT, _BAR, _TOP = 900, 260, 130, 18, 74


def svg(report: QuantizationReport) -> str:
    """One bar for each layer, coloured by what it got, with the target as a line."""
    bottom = _TOP + _BAR * len(report.layers) + 8
    body = [*_legend(report), *_grid(bottom), *_target(report, bottom)]
    for index, layer in enumerate(report.layers):
        body += _bar(layer, _TOP + index * _BAR)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {bottom + 12}" '
        f'font-family="sans-serif" font-size="12" fill="#222">'
    )
    background = f'<rect width="{_WIDTH}" height="{bottom + 12}" fill="#fff"/>'
    title = _text(
        12, 20, "Loss of PSNR in dB if this layer alone is quantised; at the right, its share of the work", 14
    )
    return "\n".join([head, background, title, *body, "</svg>", ""])


def _x(loss: float) -> float:
    """Place of a loss on the axis."""
    span = math.log10(MOST / LEAST)
    share = math.log10(min(max(loss, LEAST), MOST) / LEAST) / span
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _legend(report: QuantizationReport) -> list[str]:
    lines, x = list[str](), 12
    for precision in dict.fromkeys(layer.precision for layer in report.layers):
        lines.append(f'<rect x="{x}" y="30" width="12" height="12" fill="{COLOURS[precision]}"/>')
        lines.append(_text(x + 18, 40, MEANING[precision]))
        x += 150
    return lines


def _grid(bottom: int) -> list[str]:
    lines = list[str]()
    for exponent in range(round(math.log10(LEAST)), round(math.log10(MOST)) + 1):
        x = _x(10.0**exponent)
        lines.append(f'<line x1="{x:.1f}" y1="{_TOP - 6}" x2="{x:.1f}" y2="{bottom}" stroke="#ddd"/>')
        lines.append(_text(x, _TOP - 12, f"{10.0**exponent:g}", anchor="middle"))
    return lines


def _target(report: QuantizationReport, bottom: int) -> list[str]:
    target = float(report.options["target_db"])
    x = _x(target)
    line = f'<line x1="{x:.1f}" y1="{_TOP - 6}" x2="{x:.1f}" y2="{bottom}" stroke="#e15759" stroke-dasharray="4 3"/>'
    return [line, _text(x + 4, bottom + 8, f"target for all together: {target:g}")]


def _bar(layer: LayerLoss, y: int) -> list[str]:
    width, base = _x(layer.loss_db) - _LEFT, y + _BAR - 5
    shown = f"{layer.loss_db:.3f}" if layer.loss_db < 10 else f"{layer.loss_db:.1f}"
    return [
        _text(_LEFT - 8, base, layer.name, anchor="end"),
        f'<rect x="{_LEFT}" y="{y + 2}" width="{width:.1f}" height="{_BAR - 5}" fill="{COLOURS[layer.precision]}"/>',
        _text(_LEFT + width + 5, base, shown),
        _text(_WIDTH - 12, base, f"{100 * layer.work:.1f} %", anchor="end"),
    ]


def _text(x: float, y: float, text: str, size: int = 12, *, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'
