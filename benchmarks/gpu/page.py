"""The page docs/gpu.md and its plot, from the results alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any
from xml.sax.saxutils import escape

from .schedule import Report, Result

HEAD = """# On a GPU

Made by `python -m benchmarks.gpu`, from the results of one run; nothing here is written by hand.
"""
_SHOWN = ("fused", "eager form", "CUDA graph")
_COLOURS = {"fused": "#79706e", "eager form": "#4e79a7", "CUDA graph": "#59a14f"}


def document(report: Report, plot: str | None) -> str:
    """The page in Markdown."""
    sections = (
        _conditions(report),
        _summary(report),
        _problems(report),
        _speed(report, plot),
        _memory(report),
        _others(report),
        _left_out(report),
    )
    return "\n".join([HEAD, *(line for section in sections for line in section)]).rstrip() + "\n"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as a table; the first one is its head."""
    lines = [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
    return [lines[0], f"|{'---|' * len(rows[0])}", *lines[1:], ""]


def _conditions(report: Report) -> Iterator[str]:
    facts, card = report.facts, report.facts.get("card", {})
    packages = facts.get("packages", {})
    what = [f"device {report.device}", facts.get("system", ""), f"PyTorch {packages.get('torch')}"]
    if card:
        what.insert(1, f"{card['name']} (capability {card['capability']}, {card['memory'] / 2**30:.0f} GiB)")
    drivers = {item["driver"] for item in facts.get("cards", [])}
    what += [f"driver {driver}" for driver in sorted(drivers)]
    yield f"{', '.join(filter(None, what))}. {report.spent:.0f} s of a budget of {report.budget:.0f} s.\n"


def _summary(report: Report) -> Iterator[str]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for result in report.results:
        counts[result.part][result.outcome] += 1
    outcomes = ("passed", "measured", "failed", "error", "left out")
    rows = [("part", *outcomes)]
    rows += [(part, *(str(found[outcome] or "") for outcome in outcomes)) for part, found in counts.items()]
    yield "## Outcome\n"
    yield from table(rows)


def _problems(report: Report) -> Iterator[str]:
    bad = [result for result in report.results if result.outcome in ("failed", "error")]
    if bad:
        yield "### What did not hold\n"
        yield from table([("part", "case", "what")] + [(item.part, item.name, _why(item)) for item in bad])


def _why(result: Result) -> str:
    if result.error:
        return result.error
    return ", ".join(f"{key} {_figure(value)}" for key, value in result.values.items() if key != "passed")


def _figure(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, dict):
        return "; ".join(f"{key} {_figure(item)}" for key, item in value.items())  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return str(value)


def _speed(report: Report, plot: str | None) -> Iterator[str]:
    found = [result.values for result in report.results if result.part == "speed" and "form" in result.values]
    if not found:
        return
    yield "## Speed\n"
    yield "Milliseconds of one picture, by the clock; in brackets, kernels. The faster, the fewer.\n"
    if plot is not None:
        yield f"![Milliseconds of the forms of each network.]({plot})\n"
    forms = list(dict.fromkeys(values["form"] for values in found))
    groups: dict[tuple[str, str, str], dict[str, str]] = defaultdict(dict)
    for values in found:
        kernels = f" ({values['launches']})" if values.get("launches") else ""
        key = values["model"], f"{values['size'][1]} x {values['size'][0]}", values["precision"]
        groups[key][values["form"]] = f"{values['wall_ms']:.2f}{kernels}"
    rows = [("network", "input", "precision", *forms)]
    yield from table(rows + [(*key, *(cells.get(form, "") for form in forms)) for key, cells in groups.items()])


def _memory(report: Report) -> Iterator[str]:
    found = [result for result in report.results if result.part == "memory" and result.values.get("allocated")]
    if not found:
        return
    yield "## Memory\n"
    yield "MiB that a run was planned with, and that it took.\n"
    rows = [("case", "planned", "taken", "taken / planned")]
    for result in found:
        planned, taken = result.values["predicted"], result.values["allocated"]
        rows.append((result.name, str(planned >> 20), str(taken >> 20), f"{taken / planned:.2f}" if planned else "-"))
    yield from table(rows)


def _others(report: Report) -> Iterator[str]:
    for part in ("real use", "tests and training"):
        found = [item for item in report.results if item.part == part and item.values]
        if found:
            yield f"## {part.capitalize()}\n"
            yield from table([("case", "outcome", "")] + [(item.name, item.outcome, _why(item)) for item in found])
    found = [item for item in report.results if item.part == "correctness" and "differences" in item.values]
    if found:
        yield "## Correctness\n"
        yield "Largest difference from the network in float64 on the CPU, of values in 0..1, by path.\n"
        paths = list(found[0].values["differences"])
        rows = [("network, precision", *paths, "outcome")]
        for item in found:
            rows.append((item.name, *(f"{item.values['differences'][path]:.1e}" for path in paths), item.outcome))
        yield from table(rows)


def _left_out(report: Report) -> Iterator[str]:
    names = [f"{item.part}: {item.name}" for item in report.results if item.outcome == "left out"]
    if names:
        yield "## Left out\n"
        yield f"{len(names)} cases, for which there was no time.\n"


def svg(report: Report) -> str:
    """Bars: milliseconds of the forms that users get, for each network, size and precision."""
    groups: dict[str, dict[str, float]] = defaultdict(dict)
    for result in report.results:
        values = result.values
        if result.part == "speed" and values.get("form") in _SHOWN:
            name = f"{values['model']}, {values['size'][1]} x {values['size'][0]}, {values['precision']}"
            groups[name][values["form"]] = values["wall_ms"]
    most = max((ms for group in groups.values() for ms in group.values()), default=1.0)
    body: list[str] = []
    y = 40
    for name, group in groups.items():
        body.append(f'<text x="10" y="{y + 12}" font-weight="bold">{escape(name)}</text>')
        y += 18
        for form, ms in group.items():
            width = 480 * ms / most
            body.append(f'<text x="150" y="{y + 11}" text-anchor="end">{escape(form)}</text>')
            body.append(f'<rect x="158" y="{y + 1}" width="{width:.1f}" height="12" fill="{_COLOURS[form]}"/>')
            body.append(f'<text x="{163 + width:.1f}" y="{y + 11}">{ms:.2f} ms</text>')
            y += 15
        y += 8
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {y + 10}" font-family="sans-serif" font-size="12">'
    )
    title = '<text x="10" y="22" font-size="15">Milliseconds of one picture</text>'
    return "\n".join([head, f'<rect width="760" height="{y + 10}" fill="#fff"/>', title, *body, "</svg>", ""])
