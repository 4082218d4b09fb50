"""An import graph as an SVG: importers above what they import, edges that others imply in pale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from xml.sax.saxutils import escape, quoteattr

from .import_graph import Edges, implied

INK, BLUE, PALE, LINE, FAINT = "#222222", "#4e79a7", "#dbe6f1", "#3b5f87", "#d3dbe4"
_HEIGHT, _ROW, _GAP, _MARGIN, _LETTER, _SMALL = 44, 92, 20, 20, 8.0, 6.1


@dataclass(frozen=True)
class _Box:
    x: float
    y: float
    width: float

    @property
    def middle(self) -> float:
        return self.x + self.width / 2


def svg(graph: Edges, notes: Mapping[str, str], title: str) -> str:
    """The picture.

    Args:
        graph: pairs (importer, imported); without cycles.
        notes: for each box, a few words below its name.
        title: read out by screen readers.
    """
    ranks, weak = _ranks(graph), implied(graph)
    chains = {edge: _chain(edge, ranks) for edge in sorted(graph - weak)}
    boxes = _place(_ordered(ranks, chains), notes)
    width = max(box.x + box.width for box in boxes.values()) + _MARGIN
    height = max(box.y for box in boxes.values()) + _HEIGHT + _MARGIN
    lines = [_edge([a, b], boxes, strong=False) for a, b in sorted(weak)]
    lines += [_edge(chain, boxes, strong=True) for chain in chains.values()]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'font-family="sans-serif" fill="{INK}" role="img">'
    )
    background = f'<rect width="{width:.0f}" height="{height:.0f}" fill="#fff"/>'
    drawn = [_box(name, notes.get(name, ""), boxes[name]) for name in sorted(ranks)]
    return "\n".join([head, f"<title>{escape(title)}</title>", background, *lines, *drawn, "</svg>", ""])


def _ranks(graph: Edges) -> dict[str, int]:
    """Length of the longest path down from each unit."""
    ranks = dict.fromkeys({unit for edge in graph for unit in edge}, 0)
    for _ in ranks:  # as many rounds as the longest path can have
        for a, b in graph:
            ranks[a] = max(ranks[a], ranks[b] + 1)
    return ranks


def _chain(edge: tuple[str, str], ranks: Mapping[str, int]) -> list[str]:
    """An edge with a point in each row that it crosses, so that it finds its way between the boxes."""
    a, b = edge
    return [a, *(f"{a}>{b}@{rank}" for rank in range(ranks[a] - 1, ranks[b], -1)), b]


def _ordered(ranks: Mapping[str, int], chains: Mapping[tuple[str, str], list[str]]) -> list[list[str]]:
    """Rows from top to bottom, boxes and points. Each stands near those that it is connected with."""
    rows: list[list[str]] = [[] for _ in range(max(ranks.values()) + 1)]
    for unit in sorted(ranks):
        rows[ranks[unit]].append(unit)
    for (a, _), chain in chains.items():
        for step, point in enumerate(chain[1:-1], 1):
            rows[ranks[a] - step].append(point)
    links = {pair for chain in chains.values() for pair in pairwise(chain)}
    for _ in range(24):
        for row in [*rows, *reversed(rows)]:
            places = {unit: (index + 0.5) / len(line) for line in rows for index, unit in enumerate(line)}
            row.sort(key=lambda unit: _pull(unit, links, places))
    return rows[::-1]


def _pull(unit: str, links: Edges, places: Mapping[str, float]) -> float:
    """Mean place of the neighbours of a unit, and of itself."""
    near = [places[b if a == unit else a] for a, b in links if unit in (a, b)]
    return (sum(near) + places[unit]) / (len(near) + 1)


def _place(rows: list[list[str]], notes: Mapping[str, str]) -> dict[str, _Box]:
    widths = {unit: _width(unit, notes.get(unit, "")) for row in rows for unit in row}
    totals = [sum(widths[unit] for unit in row) + _GAP * (len(row) - 1) for row in rows]
    boxes: dict[str, _Box] = {}
    for index, (row, total) in enumerate(zip(rows, totals, strict=True)):
        x = _MARGIN + (max(totals) - total) / 2
        for unit in row:
            boxes[unit] = _Box(x, _MARGIN + index * _ROW, widths[unit])
            x += widths[unit] + _GAP
    return boxes


def _width(unit: str, note: str) -> float:
    return 2.0 if ">" in unit else max(len(unit) * _LETTER, len(note) * _SMALL) + 20


def _edge(chain: list[str], boxes: Mapping[str, _Box], *, strong: bool) -> str:
    """A curve from box to box, straight through the rows of its points."""
    a, b = chain[0], chain[-1]
    x, y = boxes[a].middle, boxes[a].y + _HEIGHT
    path = f"M{x:.0f},{y:.0f}"
    for unit in chain[1:]:
        end, top = boxes[unit].middle, boxes[unit].y - 5 * (unit == b)
        half = (y + top) / 2
        path += f" C{x:.0f},{half:.0f} {end:.0f},{half:.0f} {end:.0f},{top:.0f}"
        x, y = end, boxes[unit].y + _HEIGHT
        if unit != b:
            path += f" L{x:.0f},{y:.0f}"
    colour, thickness = (LINE, 1.6) if strong else (FAINT, 1.0)
    tip = f'<path d="M{x - 4:.0f},{boxes[b].y - 6:.0f} l8,0 l-4,6 z" fill="{colour}"/>'
    return (
        f"<g data-from={quoteattr(a)} data-to={quoteattr(b)}><title>{escape(a)} imports {escape(b)}</title>"
        f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{thickness}"/>{tip}</g>'
    )


def _box(name: str, note: str, box: _Box) -> str:
    text = f'<text x="{box.middle:.0f}" text-anchor="middle" y='
    return (
        f'<rect x="{box.x:.0f}" y="{box.y:.0f}" width="{box.width:.0f}" height="{_HEIGHT}" rx="5" fill="{PALE}" '
        f'stroke="{BLUE}"/>\n{text}"{box.y + 19:.0f}" font-size="14" font-weight="bold">{escape(name)}</text>\n'
        f'{text}"{box.y + 35:.0f}" font-size="11">{escape(note)}</text>'
    )
