"""From file to file against the network alone: time and peak memory of one photograph, in turns in one run.

``python -m benchmarks.file_to_file [PICTURE] [--megapixels 10] [--formats png,jpg,webp] [--rounds 3] [--model FILE]``

Every case is a process of its own, so that its peak is its own; its time is taken inside, without the start. On a
machine that others use, believe the CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

NETWORK, READING = "network", "reading"


def make_picture(path: Path, source: Path | None, megapixels: float) -> None:
    """A JPEG of a size, from a picture or from noise of several scales."""
    width, height = round((megapixels * 1e6 * 4 / 3) ** 0.5), round((megapixels * 1e6 * 3 / 4) ** 0.5)
    if source is not None:
        image = Image.open(source).convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    else:
        rng, total = np.random.default_rng(0), np.zeros((height, width, 3), np.float32)
        for step in (2, 8, 32, 128):
            coarse = rng.integers(0, 256, (height // step + 2, width // step + 2, 3), dtype=np.uint8)
            total += np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)) * (
                step / 170
            )
        image = Image.fromarray(total.clip(0, 255).astype(np.uint8))
    image.save(path, quality=92)


def case(name: str, picture: Path, model: str | None) -> dict[str, float]:
    """One measurement in this process: `NETWORK` and `READING` alone, or a whole file of a format."""
    import torch

    from paragon_engine.catalog import find_model
    from paragon_engine.pictures import Pixels, read_image
    from paragon_engine.tiling import upscale_tensor
    from paragon_engine.upscale import upscale_file
    from paragon_engine.upscaler import Upscaler

    loaded = Upscaler(find_model(model), device="cpu")
    upscale_tensor(loaded, torch.rand(1, 3, 64, 64))  # what the first run alone takes
    x = None
    if name == NETWORK:
        planes: Pixels = np.ascontiguousarray(np.moveaxis(read_image(picture).pixels, 2, 0))
        x = torch.from_numpy(planes)[None]
    before, began = time.process_time(), time.perf_counter()
    if x is not None:
        upscale_tensor(loaded, x)
    elif name == READING:
        read_image(picture)
    else:
        upscale_file(loaded, picture, picture.with_name(f"out.{name}"), overwrite=True)
    seconds, cpu = time.perf_counter() - began, time.process_time() - before
    unit = 1 if sys.platform == "darwin" else 1024
    return {"wall": seconds, "cpu": cpu, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6}


def table(names: list[str], found: dict[str, list[dict[str, float]]]) -> None:
    """Medians, and ratios to the network alone."""
    base = {key: median(run[key] for run in found[NETWORK]) for key in ("wall", "cpu", "peak")}
    print(f"{'':10}{'wall s':>9}{'ratio':>7}{'CPU s':>9}{'ratio':>7}{'peak MB':>9}")
    for name in names:
        values = {key: median(run[key] for run in found[name]) for key in base}
        wall, cpu = (f"{values[key]:9.1f}{values[key] / base[key]:7.2f}" for key in ("wall", "cpu"))
        print(f"{name:10}{wall}{cpu}{values['peak']:9.0f}")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path, nargs="?")
    parser.add_argument("--megapixels", type=float, default=10)
    parser.add_argument("--formats", default="jpg,png,webp")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        print(json.dumps(case(args.case, args.picture, args.model)))
        return 0
    names = [NETWORK, READING, *args.formats.split(",")]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as scratch:
        picture = Path(scratch) / "in.jpg"
        make_picture(picture, args.picture, args.megapixels)
        for _ in range(args.rounds):
            for name in names:
                model = ("--model", args.model) if args.model else ()
                command = [sys.executable, "-m", "benchmarks.file_to_file", str(picture), "--case", name, *model]
                done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - ourselves
                found[name].append(json.loads(done.stdout.splitlines()[-1]))
    table(names, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
