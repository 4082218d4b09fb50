"""Makes chainner-tiles.png: how far the tiles of two nodes of chaiNNer are from the whole picture.

    python docs/images/chainner_tiles.py MODEL PHOTO docs/images/chainner-tiles.png

Both nodes run in a real back end: CHAINNER_PATH names a checkout of chaiNNer, CHAINNER_PYTHON a Python with its
dependencies and this package. The upper row is MODEL, in the repository 2xParagonSR2_Nano_Pretrain by Philip Hofmann.
The lower one has random weights, because no trained model that normalises over the whole image is public.
The photograph in the repository is astronaut.png of scikit-image (NASA, public domain).
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "chainner")]

TILE, AMPLIFICATION, SIDE, GAP, CAPTION = 64, 8, 192, 6, 36
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "whole": ("paragonsr:upscale_image", {"Tile_Size": -1}),
    "own": ("pytorch:upscale_image", {"Tile_Size": -3, "Custom_Tile_Size": TILE}),
    "ours": ("paragonsr:upscale_image", {"Tile_Size": -3, "Custom_Tile_Size": TILE}),
}
TITLES = {"own": "Upscale Image", "ours": "Upscale Image (ParagonSR)"}

Levels = NDArray[np.int16]


def upscale(backend: Any, model: Path, photo: Path, folder: Path) -> dict[str, Levels]:
    """The picture by each of `RUNS`, in levels of 8 bits."""
    chain = backend.chain()
    image = chain.add("image:load", Image_File=photo)["Image"]
    loaded = chain.add("pytorch:load_model", Model=model)["Model"]
    for name, (node, options) in RUNS.items():
        result = chain.add(node, Image=image, Model=loaded, **options)["Image"]
        chain.add("image:save", Image=result, Directory=folder, Image_Name=name, Image_Format="png")
    error: str = backend.run(chain).error
    if error:
        raise RuntimeError(error)
    return {name: np.asarray(Image.open(folder / f"{name}.png").convert("RGB")).astype(np.int16) for name in RUNS}


def row(label: str, made: dict[str, Levels]) -> Image.Image:
    """The tiled picture of chaiNNer's node, and the differences of both nodes from the whole picture."""
    panels = {f"{label}\nUpscale Image, tiles of {TILE}": made["own"]}
    for name, title in TITLES.items():
        error = np.abs(made[name] - made["whole"])
        panels[f"{title}: difference x {AMPLIFICATION}\nat most {error.max()} of 255"] = error * AMPLIFICATION
    side = 2 * SIDE
    strip = Image.new("RGB", (len(panels) * (side + GAP) - GAP, side + CAPTION), "white")
    draw = ImageDraw.Draw(strip)
    for index, (caption, pixels) in enumerate(panels.items()):
        strip.paste(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), (index * (side + GAP), CAPTION))
        draw.text((index * (side + GAP) + 4, 4), caption, fill="black")
    return strip


def normalising_model(folder: Path) -> Path:
    """A checkpoint with random weights."""
    paragon_arch, models = importlib.import_module("paragon_arch"), importlib.import_module("tests.engine.exact_models")
    file = folder / "group-norm.safetensors"
    paragon_arch.save(models.build("v2-static"), file)
    return file


def main() -> None:
    """Write the picture."""
    warnings.simplefilter("ignore")
    model, photo, target = (Path(argument).resolve() for argument in sys.argv[1:4])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Image.open(photo).convert("RGB").crop((128, 0, 128 + SIDE, SIDE)).save(folder / "photo.png")
        models = {"trained model without norms": model, "random weights, group norm": normalising_model(folder)}
        source, python = Path(os.environ["CHAINNER_PATH"]), Path(os.environ["CHAINNER_PYTHON"])
        backend = importlib.import_module("backend").Backend(source, python, folder)
        try:
            rows = [row(label, upscale(backend, file, folder / "photo.png", folder)) for label, file in models.items()]
        finally:
            backend.stop()
    page = Image.new("RGB", (rows[0].width, sum(strip.height for strip in rows)), "white")
    for index, strip in enumerate(rows):
        page.paste(strip, (0, index * strip.height))
    page.save(target, optimize=True)


if __name__ == "__main__":
    main()
