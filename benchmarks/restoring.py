"""How much to restore: the table behind `paragon_engine.pictures.damage`, and whether what it chooses is right.

``python -m benchmarks.restoring table TILES [--every 60]``: PSNR-Y of five strengths by JPEG quality and noise, on
parts of the photographs of a folder, and the best strength of each: what `QUALITY` and `NOISE` in that module are drawn
through.

``python -m benchmarks.restoring proof FOLDER...``: 40 pictures of known degradation, made of the pictures of these
folders, which nothing may have been trained on; the strength that is chosen against the best of five for each picture.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from paragon_arch import FamilyModel
from paragon_engine.catalog import find_model
from paragon_engine.metrics import psnr_y
from paragon_engine.pictures import Picture
from paragon_engine.pictures.damage import Damage, measure, strength
from paragon_engine.restoring import Restorer, pair_of
from training.data.codecs import compress_jpeg
from training.data.degrade import add_noise
from training.data.pictures import SUFFIXES, Pixels, read_image, resize

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
SIDE = 128
"""Side of a low-resolution part in pixels."""
PICTURES = 40
Degrade = Callable[[Pixels, np.random.Generator], Pixels]


def jpeg(quality: int) -> Degrade:
    """JPEG, 4:2:0, as a new file."""
    return lambda image, _: compress_jpeg(image, quality, halved=True)


def grain(sigma: float) -> Degrade:
    """Noise of brightness."""
    return lambda image, rng: add_noise(image, sigma, True, rng)


def both(sigma: float, quality: int) -> Degrade:
    """Noise, then JPEG whose blocks begin somewhere."""
    return lambda image, rng: compress_jpeg(add_noise(image, sigma, False, rng), quality, halved=True, offset=(3, 5))


KINDS: dict[str, Degrade] = {
    "clean": lambda image, _: image,
    **{f"JPEG {quality}": jpeg(quality) for quality in (97, 95, 92, 90, 85, 75, 60, 40)},
    **{f"noise {sigma}": grain(sigma) for sigma in (1, 2, 3, 5, 8)},
}
PROOF: dict[str, Degrade] = {
    **{name: KINDS[name] for name in ("clean", "JPEG 95", "JPEG 90", "JPEG 85", "JPEG 75", "JPEG 40")},
    **{name: KINDS[name] for name in ("noise 2", "noise 5")},
    "noise 5, JPEG 85": both(5, 85),
    "noise 3, JPEG 60": both(3, 60),
}


@dataclass(frozen=True)
class Case:
    """A picture of known degradation."""

    name: str
    kind: str
    damage: Damage
    scores: tuple[float, ...]
    """PSNR-Y in dB by `STRENGTHS`."""

    @property
    def loss(self) -> float:
        """How much worse the chosen strength is than the best, in dB."""
        return max(self.scores) - self.scores[STRENGTHS.index(strength(self.damage))]


def scored(name: str, high: Pixels, kind: str, degrade: Degrade, restorer: Restorer[FamilyModel], seed: int) -> Case:
    """Reduce, degrade, measure, and enlarge by every strength."""
    scale = restorer.scale
    side = tuple(min(SIDE, length // scale) for length in high.shape[:2])
    top, left = ((length - part * scale) // 2 for length, part in zip(high.shape[:2], side, strict=True))
    target = np.asarray(high[top : top + side[0] * scale, left : left + side[1] * scale])
    low = resize(target, (side[0], side[1]), Image.Resampling.BICUBIC)
    low = degrade(low, np.random.default_rng(seed))
    pixels: NDArray[np.float32] = np.true_divide(low, 255, dtype=np.float32)
    planes = cast("NDArray[np.float32]", pixels.transpose(2, 0, 1).copy())
    x = torch.from_numpy(planes)[None]
    scores: list[float] = []
    for weight in STRENGTHS:
        with torch.inference_mode():
            result = restorer.at(weight)(x)[0].clamp(0, 1).permute(1, 2, 0).numpy()
        unrounded = cast("Pixels", 255 * result)  # of the metric's range; rounding would hide small differences
        scores.append(psnr_y(unrounded, target, border=2 * scale))
    return Case(name, kind, measure(Picture(pixels)), tuple(scores))


def pictures(folders: Iterable[Path]) -> list[Path]:
    """Picture files, by name."""
    return sorted(path for folder in folders for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def table(files: list[Path], restorer: Restorer[FamilyModel]) -> None:
    """Print the gain of each strength over 0 by kind of damage, and what was measured."""
    print("| damage | measured | " + " | ".join(f"{weight:.2f}" for weight in STRENGTHS[1:]) + " | best | loss |")
    print("|---|---|" + "---|" * (len(STRENGTHS) + 1))
    images = [read_image(path) for path in files]
    for kind, degrade in KINDS.items():
        cases = [
            scored(path.name, image, kind, degrade, restorer, seed)
            for seed, (path, image) in enumerate(zip(files, images, strict=True))
        ]
        means = np.mean([case.scores for case in cases], axis=0)
        qualities = [case.damage.quality for case in cases if case.damage.quality is not None]
        noise = np.median([case.damage.noise for case in cases])
        found = f"{len(qualities)} of {len(cases)}: {np.median(qualities):.0f}" if qualities else f"noise {noise:.2f}"
        gains = " | ".join(f"{gain:+.2f}" for gain in means[1:] - means[0])
        loss = np.mean([case.loss for case in cases])
        print(f"| {kind} | {found} | {gains} | {STRENGTHS[int(means.argmax())]:.2f} | {loss:.3f} |", flush=True)


def proof(files: list[Path], restorer: Restorer[FamilyModel]) -> float:
    """Print the chosen and the best strength of 40 pictures; returns the mean loss in dB."""
    print("| picture | damage | measured | chosen | best | loss in dB |\n|---|---|---|---|---|---|")
    cases: list[Case] = []
    for index in range(PICTURES):
        path, (kind, degrade) = files[index % len(files)], list(PROOF.items())[index % len(PROOF)]
        case = scored(path.stem, read_image(path), kind, degrade, restorer, index)
        cases.append(case)
        best = STRENGTHS[int(np.argmax(case.scores))]
        chosen = strength(case.damage)
        print(f"| {case.name} | {kind} | {case.damage} | {chosen:.2f} | {best:.2f} | {case.loss:.3f} |", flush=True)
    mean = float(np.mean([case.loss for case in cases]))
    always = [float(np.mean([max(c.scores) - c.scores[i] for c in cases])) for i in range(len(STRENGTHS))]
    print(
        f"\nmean loss {mean:.3f} dB, largest {max(case.loss for case in cases):.3f}; with one strength for all: ",
        end="",
    )
    print(", ".join(f"{loss:.3f} ({weight:.2f})" for loss, weight in zip(always, STRENGTHS, strict=True)))
    return mean


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("table", "proof"))
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--model", help="one of a shipped pair (default: the default model)")
    parser.add_argument("--every", type=int, default=1, help="take every N-th file")
    parser.add_argument("--first", type=int, default=0, help="begin with the N-th file")
    args = parser.parse_args()
    restorer = Restorer(pair_of(find_model(args.model)), lambda model: model)
    files = pictures(args.folders)[args.first :: args.every]
    if args.what == "table":
        table(files, restorer)
    elif proof(files, restorer) > 0.1:
        raise SystemExit("the mean loss is over 0.1 dB")


if __name__ == "__main__":
    main()
