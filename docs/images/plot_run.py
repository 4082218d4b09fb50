"""Draws values of a training run over its steps, one panel for each group of names.

python docs/images/plot_run.py out/training/2x-realtime-munet/log.tsv docs/images/munet.png \
        critic,adversarial real,fake r1,r2 l1
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw

WIDTH, HEIGHT, LEFT, TOP = 420, 230, 62, 26
COLOURS = ("#1b6ca8", "#d1495b", "#3a7d44")
Series = list[tuple[int, float]]


def read(path: Path) -> dict[str, Series]:
    """Values by name from a ``log.tsv``."""
    found: dict[str, Series] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        step, loss, _, *cells = line.split("\t")
        pairs = [("loss", loss), *((name, value) for name, _, value in (cell.partition("=") for cell in cells))]
        for name, value in pairs:
            if value:
                found.setdefault(name, []).append((int(step), float(value)))
    return found


def panel(series: dict[str, Series]) -> Image.Image:
    """One set of axes, scaled to its values."""
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    values = [value for points in series.values() for _, value in points]
    low, high = min(values), max(values)
    low, high = (low - 0.5, high + 0.5) if low == high else (low, high)
    last = max(step for points in series.values() for step, _ in points)
    right, bottom = WIDTH - 12, HEIGHT - 26

    def place(step: int, value: float) -> tuple[float, float]:
        across, up = step / last, (value - low) / (high - low)
        return LEFT + across * (right - LEFT), bottom - up * (bottom - TOP)

    draw.rectangle((LEFT, TOP, right, bottom), outline="#888888")
    for value in (low, (low + high) / 2, high):
        draw.text((4, place(0, value)[1] - 6), f"{value:.3g}", fill="black")
    draw.text((LEFT, bottom + 6), "0", fill="black")
    draw.text((right - 60, bottom + 6), f"step {last}", fill="black")
    for index, (name, points) in enumerate(series.items()):
        colour = COLOURS[index % len(COLOURS)]
        draw.text((LEFT + 130 * index, 8), name, fill=colour)
        draw.line([place(step, value) for step, value in points], fill=colour, width=2)
    return image


def main() -> None:
    """Write the picture."""
    source, target, *groups = sys.argv[1:]
    values = read(Path(source))
    panels = [panel({name: values[name] for name in group.split(",")}) for group in groups]
    rows = -(-len(panels) // 2)
    sheet = Image.new("RGB", (2 * WIDTH, rows * HEIGHT), "white")
    for index, part in enumerate(panels):
        sheet.paste(part, (index % 2 * WIDTH, index // 2 * HEIGHT))
    sheet.save(target)


if __name__ == "__main__":
    main()
