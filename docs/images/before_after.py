"""Makes before-after.png: a photograph reduced by two, then enlarged by bicubic and by the included model.

    python docs/images/before_after.py PHOTO docs/images/before-after.png LEFT TOP

PHOTO is any photograph; the one in the repository is astronaut.png of scikit-image (NASA, public domain).
LEFT and TOP are the corner, in the photograph, of the part that is shown.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import paragon_arch
from paragon_engine.catalog import find_model

PART, ZOOM, GAP, LINE = 140, 3, 6, 36


def enlarge(small: Image.Image) -> Image.Image:
    """Enlarge by the included model."""
    model = paragon_arch.load(find_model())
    pixels = torch.from_numpy(np.asarray(small, np.float32) / 255).permute(2, 0, 1)[None]
    result: NDArray[np.float32] = model(pixels)[0].permute(1, 2, 0).numpy()
    return Image.fromarray(np.round(result * 255).astype(np.uint8))


def main() -> None:
    """Write the picture."""
    photo, target, left, top = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    original = Image.open(photo).convert("RGB")
    size = (original.width // 2 * 2, original.height // 2 * 2)
    original = original.crop((0, 0, *size))
    small = original.resize((size[0] // 2, size[1] // 2), Image.Resampling.BICUBIC)
    columns = {
        "bicubic": small.resize(size, Image.Resampling.BICUBIC),
        "2x ParagonSR2 Realtime": enlarge(small),
        "original": original,
    }
    side = PART * ZOOM
    sheet = Image.new("RGB", (len(columns) * side + (len(columns) - 1) * GAP, side + LINE), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (name, picture) in enumerate(columns.items()):
        part = picture.crop((left, top, left + PART, top + PART)).resize((side, side), Image.Resampling.NEAREST)
        sheet.paste(part, (index * (side + GAP), LINE))
        draw.text((index * (side + GAP) + 4, 4), name, fill="black", font_size=24)
    sheet.save(target)


if __name__ == "__main__":
    main()
