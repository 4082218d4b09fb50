"""Makes tiling-difference.png and tiling-stages.png of docs/tiling.md.

    python docs/images/tiling.py docs/images

The picture is drawn and the network has random weights: what tiles do to a network with GroupNorm depends on neither.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import paragon_arch
from benchmarks.tiling import find
from paragon_engine import Upscaler
from paragon_engine.tiling import upscale_tensor

SIDE, TILE, OVERLAP, GAP, LINE = 192, 64, 16, 8, 58
INK, BLUE, PALE, ORANGE, GREY = "#222222", "#4e79a7", "#dbe6f1", "#f28e2b", "#d9d9d9"


def scene() -> Tensor:
    """A drawn landscape, ``(1, 3, SIDE, SIDE)``: dark and bright parts, so that tiles differ in their statistics."""
    big = SIDE * 4
    sky = np.linspace((30, 60, 120), (250, 190, 120), big)[:, None].repeat(big, 1)
    picture = Image.fromarray(sky.astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((500, 260, 640, 400), fill="#fff3c4")
    for step, colour in enumerate(("#5d6f8f", "#3d5068", "#1d2f38")):
        ridge = [(x, 430 + 90 * step + 60 * np.sin(x / (70 + 30 * step) + step)) for x in range(0, big + 8, 8)]
        draw.polygon([*ridge, (big, big), (0, big)], fill=colour)
    for x in range(30, 380, 44):
        draw.polygon([(x, 520), (x - 18, 650), (x + 18, 650)], fill="#0c2018")
    small = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS), np.float32) / 255
    return torch.from_numpy(small).permute(2, 0, 1)[None]


def network() -> paragon_arch.ParagonModelDescriptor:
    """A network with GroupNorm and a Magic base."""
    layout, shape = find("v2-hybrid-gn")
    torch.manual_seed(3)
    net = layout.network(**{**shape, "scale": 2, "num_blocks": 3})
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if "gamma" in name:
                parameter.uniform_(0.2, 0.5)
            elif name == "conv_out.weight":
                parameter.mul_(0.1)
    return paragon_arch.load(net.state_dict())


def shown(x: Tensor) -> Image.Image:
    """``(1, 3, H, W)`` in 0..1 as a picture."""
    return Image.fromarray((x[0].permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy())


def difference() -> Image.Image:
    """The whole image; what overlapping tiles change in it, amplified; what exact tiles change, amplified as much."""
    model, x = Upscaler(network(), device="cpu"), scene()
    whole = upscale_tensor(model, x, tile=0)
    overlap = (upscale_tensor(model, x, tile=TILE, tiling="overlap", overlap=OVERLAP) - whole).abs()
    exact = (upscale_tensor(model, x, tile=TILE) - whole).abs()
    gain = round(0.9 / float(overlap.amax()))
    panels = {
        "whole image\n": shown(whole),
        f"overlap tiles of {TILE}\ndifference x {gain}, at most {overlap.amax():.0e}": shown(overlap * gain),
        f"exact tiles of {TILE}\ndifference x {gain}, at most {exact.amax():.0e}": shown(exact * gain),
    }
    side = 2 * SIDE
    sheet = Image.new("RGB", (3 * side + 2 * GAP, side + LINE), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (name, panel) in enumerate(panels.items()):
        left = number * (side + GAP)
        sheet.paste(panel, (left, LINE))
        draw.text((left + 2, 3), name, fill=INK, font_size=21)
    return sheet


def stages() -> Image.Image:
    """What a tile goes through."""
    sheet = Image.new("RGB", (1200, 420), "white")
    draw = ImageDraw.Draw(sheet)
    titles = ("image", "convolutions", "statistics", "norm, windows", "upsampling")
    notes = (
        "one tile and its halo",
        "the result, without\nthe halo, is stored",
        "every tile adds its\nsums (float64); settled\nafter the last tile",
        "tiles follow the\nshifted grid, which\nwraps around",
        "twice the size",
    )
    for number, (title, note) in enumerate(zip(titles, notes, strict=True)):
        left = 20 + number * 236
        draw.text((left, 9), title, fill=INK, font_size=22)
        draw.text((left, 256), note, fill=INK, font_size=20)
        _map(draw, left, windows=number == 3, sums=number == 2, halo=number == 0)
        if number < 4:
            draw.line((left + 200, 140, left + 228, 140), fill=INK, width=2)
            draw.polygon([(left + 228, 134), (left + 228, 146), (left + 234, 140)], fill=INK)
    draw.text(
        (20, 348),
        "Between the stages lie whole feature maps: on the device, in host memory or in a file. ",
        fill=INK,
        font_size=20,
    )
    draw.text(
        (20, 380),
        "A stage starts when the stages it reads are complete; within a stage tiles are independent.",
        fill=INK,
        font_size=20,
    )
    return sheet


def _map(draw: ImageDraw.ImageDraw, left: int, *, windows: bool, sums: bool, halo: bool) -> None:
    """One map of 4 x 4 tiles, with one of them at work."""
    top, side = 46, 48
    draw.rectangle((left, top, left + 4 * side, top + 4 * side), fill=PALE, outline=INK)
    x, y = left + 2 * side, top + side
    if windows:
        x, y = left + side + side // 2, top + side // 2
        for line in range(5):
            at = side // 2 + line * side
            if at < 4 * side:
                draw.line((left + at, top, left + at, top + 4 * side), fill=BLUE)
                draw.line((left, top + at, left + 4 * side, top + at), fill=BLUE)
        for corner in (0, 4 * side - side // 2):  # one window, in the four corners of the map
            for edge in (0, 4 * side - side // 2):
                draw.rectangle(
                    (left + corner, top + edge, left + corner + side // 2, top + edge + side // 2),
                    fill=GREY,
                    outline=BLUE,
                )
    else:
        for line in range(1, 4):
            draw.line((left + line * side, top, left + line * side, top + 4 * side), fill="white", width=2)
            draw.line((left, top + line * side, left + 4 * side, top + line * side), fill="white", width=2)
    if halo:
        draw.rectangle((x - 12, y - 12, x + side + 12, y + side + 12), fill="#fbd9b5", outline=ORANGE)
    draw.rectangle((x, y, x + side, y + side), fill=ORANGE, outline=INK)
    if sums:
        for row in range(4):
            for column in range(4):
                draw.text((left + column * side + 18, top + row * side + 10), "+", fill=INK, font_size=20)


def main() -> None:
    """Write the pictures."""
    folder = Path(sys.argv[1])
    difference().save(folder / "tiling-difference.png", optimize=True)
    stages().save(folder / "tiling-stages.png", optimize=True)


if __name__ == "__main__":
    main()
