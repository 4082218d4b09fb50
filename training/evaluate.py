"""Scores of models and of plain interpolation on a folder of pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from PIL import Image
from spandrel import ImageModelDescriptor

import paragon_arch
from paragon_arch.errors import InvalidOptionError
from paragon_arch.networks.magic import MagicResample
from paragon_engine import Upscaler, upscale_tensor
from paragon_engine.metrics import psnr_y, psnr_y_frame, ssim_y

from .data.pairs import downscale, to_pixels, to_tensor
from .data.pictures import Pixels, list_images, read_image, resize

Enlarge = Callable[[Pixels], Pixels]

FRAME = 4
"""Width of the outermost frame that is measured on its own, in output pixels: zero padding would show there."""


@dataclass(frozen=True)
class Score:
    """One method on one picture, or the mean over pictures."""

    method: str
    picture: str
    psnr: float
    """PSNR of luma in dB, ``scale`` border pixels left out."""
    ssim: float
    """SSIM of luma, ``scale`` border pixels left out."""
    frame: float
    """PSNR of luma in dB over the outermost `FRAME` pixels alone."""


def interpolation(kernel: Image.Resampling, scale: int) -> Enlarge:
    """Plain interpolation by one of Pillow's kernels."""
    return lambda low: resize(low, (low.shape[0] * scale, low.shape[1] * scale), kernel)


def magic_base(scale: int) -> Enlarge:
    """The image that a ParagonSR2 network adds its details to (alpha 0)."""
    base = MagicResample(3, scale=scale, alpha=0.0, keys="B").eval()

    def upscale(low: Pixels) -> Pixels:
        with torch.inference_mode():
            return to_pixels(base(to_tensor(low[None])))[0]

    return upscale


def network(model: ImageModelDescriptor[Any]) -> Enlarge:
    """A loaded model."""
    upscaler = Upscaler(model, device="cpu")
    return lambda low: to_pixels(upscale_tensor(upscaler, to_tensor(low[None])))[0]


def methods(paths: Sequence[Path], scale: int | None) -> tuple[int, dict[str, Enlarge]]:
    """Interpolations and models by name, and their common scale.

    Raises:
        InvalidOptionError: no scale is known, or two models differ in it.
    """
    models = {path.stem: paragon_arch.load(path, scale=scale) for path in paths}
    scales = {model.scale for model in models.values()} or {scale}
    if len(scales) > 1:
        raise InvalidOptionError(f"models of different scales {sorted(map(str, scales))}: evaluate them one by one")
    found = scales.pop()
    if found is None:
        raise InvalidOptionError("name a model or give --scale")
    table: dict[str, Enlarge] = {
        "bicubic": interpolation(Image.Resampling.BICUBIC, found),
        "Lanczos": interpolation(Image.Resampling.LANCZOS, found),
        "Magic base": magic_base(found),
    }
    return found, {**table, **{name: network(model) for name, model in models.items()}}


def references(folder: Path, scale: int, reduce: int) -> dict[str, Pixels]:
    """The pictures of a folder, reduced if asked for and cut to multiples of the scale."""
    pictures: dict[str, Pixels] = {}
    for path in list_images(folder):
        image = read_image(path)
        if reduce > 1:
            image = resize(image, (image.shape[0] // reduce, image.shape[1] // reduce), Image.Resampling.LANCZOS)
        height, width = image.shape[:2]
        pictures[path.stem] = image[: height // scale * scale, : width // scale * scale]
    return pictures


def evaluate(paths: Sequence[Path], folder: Path, *, reduce: int = 1, scale: int | None = None) -> list[Score]:
    """Score interpolations and models.

    Every picture is the reference for what is made of its reduction by `training.data.pairs.downscale`.

    Args:
        paths: checkpoints of one scale; none needs ``scale``.
        folder: pictures.
        reduce: shrink the pictures by this factor (Lanczos) before they become references.
        scale: of checkpoints that do not tell it.
    """
    scale, table = methods(paths, scale)
    scores: list[Score] = []
    for picture, reference in references(folder, scale, reduce).items():
        low = downscale(reference, scale)
        for name, upscale in table.items():
            scores.append(_score(name, picture, upscale(low), reference, scale))
    return scores


def _score(method: str, picture: str, result: Pixels, reference: Pixels, border: int) -> Score:
    return Score(
        method,
        picture,
        psnr_y(result, reference, border=border),
        ssim_y(result, reference, border=border),
        psnr_y_frame(result, reference, width=FRAME),
    )


def means(scores: Sequence[Score]) -> list[Score]:
    """Mean over pictures for each method, in the order of first appearance."""
    return [_mean(name, [s for s in scores if s.method == name]) for name in dict.fromkeys(s.method for s in scores)]


def _mean(method: str, scores: Sequence[Score]) -> Score:
    columns = ([s.psnr for s in scores], [s.ssim for s in scores], [s.frame for s in scores])
    return Score(method, "mean", *(fmean(column) for column in columns))


def table(scores: Sequence[Score], *, pictures: bool) -> str:
    """A Markdown table of the means, with a line for each picture before them if asked for."""
    rows: list[Score] = [*(scores if pictures else ()), *means(scores)]
    lines = ["| picture | method | PSNR-Y | over bicubic | SSIM-Y | PSNR-Y of the frame |", "|---|---|---|---|---|---|"]
    bicubic = {row.picture: row.psnr for row in rows if row.method == "bicubic"}
    for row in rows:
        gain = f"{row.psnr - bicubic[row.picture]:+.2f}"
        lines.append(f"| {row.picture} | {row.method} | {row.psnr:.2f} | {gain} | {row.ssim:.4f} | {row.frame:.2f} |")
    return "\n".join(lines)
