"""Scores on standard sets: every method on every set under every condition."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from PIL import Image

from paragon_arch.errors import InvalidOptionError
from paragon_engine.metrics import psnr_y, ssim_y

from ..data.pictures import Pixels
from ..evaluate import Enlarge, references
from .conditions import degraded
from .methods import BICUBIC, bicubic, open_method
from .squares import dot_share, step_ratio

Metric = Callable[[Pixels, Pixels], float]


@dataclass(frozen=True)
class StandardScore:
    """Means of one method over the pictures of one set under one condition."""

    scale: int
    method: str
    folder: str
    condition: str
    psnr: float
    """PSNR of luma in dB, ``scale`` border pixels left out, every step on 8-bit RGB."""
    ssim: float
    ssimulacra2: float | None
    steps: float
    """`step_ratio`."""


def score_standard(
    folders: Sequence[Path], files: Sequence[Path], conditions: Sequence[str], *, ssimulacra2: bool = False
) -> list[StandardScore]:
    """Score bicubic and models.

    Args:
        folders: one for each set.
        files: model files of any scales.
        conditions: names of `conditions.CONDITIONS`.
        ssimulacra2: also that, which takes long.

    Raises:
        ParagonError: a folder or a file cannot be read, or SSIMULACRA2 is not installed.
    """
    metric = _ssimulacra2() if ssimulacra2 else None
    scores: list[StandardScore] = []
    for scale, methods in by_scale(files).items():
        for folder in folders:
            pictures = references(folder, scale, 1)
            for condition in conditions:
                lows = {name: degraded(reference, scale, condition) for name, reference in pictures.items()}
                for method, upscale in methods.items():
                    results = [(upscale(lows[name]), reference) for name, reference in pictures.items()]
                    found = _means(results, scale, metric)
                    scores.append(StandardScore(scale, method, folder.name, condition, *found))
    return scores


def by_scale(files: Sequence[Path]) -> dict[int, dict[str, Enlarge]]:
    """Methods by name for each scale among the files, bicubic first.

    Raises:
        InvalidOptionError: two files of one scale have one name.
        ParagonError: a file cannot be opened.
    """
    found: dict[int, dict[str, Enlarge]] = {}
    for path in files:
        scale, upscale = open_method(path)
        methods = found.setdefault(scale, {BICUBIC: bicubic(scale)})
        if path.stem in methods:
            raise InvalidOptionError(f"{path}: another {scale}x file is called {path.stem}, too; rename one")
        methods[path.stem] = upscale
    return dict(sorted(found.items()))


def _means(
    results: Sequence[tuple[Pixels, Pixels]], scale: int, metric: Metric | None
) -> tuple[float, float, float | None, float]:
    psnr = fmean(psnr_y(result, reference, border=scale) for result, reference in results)
    ssim = fmean(ssim_y(result, reference, border=scale) for result, reference in results)
    third = None if metric is None else fmean(metric(reference, result) for result, reference in results)
    return psnr, ssim, third, fmean(step_ratio(result, scale) for result, _ in results)


def _ssimulacra2() -> Metric:
    try:
        package: Any = import_module("ssimulacra2")
    except ImportError as error:
        raise InvalidOptionError('SSIMULACRA2 is not installed: pip install -e ".[scores]"') from error
    return partial(_by_files, package.compute_ssimulacra2)


def _by_files(compute: Callable[[Any, Any], float], reference: Pixels, result: Pixels) -> float:
    """The package reads pictures by itself; memory does for files."""
    streams = [io.BytesIO(), io.BytesIO()]
    for image, stream in zip((reference, result), streams, strict=True):
        Image.fromarray(np.ascontiguousarray(image)).save(stream, "PNG")
    return float(compute(*streams))


def standard_table(scores: Sequence[StandardScore]) -> str:
    """Markdown: a table for each scale and set, a row for each method, a column for each condition."""
    parts: list[str] = []
    for scale, folder in dict.fromkeys((score.scale, score.folder) for score in scores):
        own = [score for score in scores if (score.scale, score.folder) == (scale, folder)]
        conditions = list(dict.fromkeys(score.condition for score in own))
        lines = [f"## {folder}, {scale}x", "", f"| method | {' | '.join(conditions)} |"]
        lines.append("|---" * (len(conditions) + 1) + "|")
        for method in dict.fromkeys(score.method for score in own):
            cells = {score.condition: _cell(score) for score in own if score.method == method}
            lines.append(f"| {method} | {' | '.join(cells[condition] for condition in conditions)} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _cell(score: StandardScore) -> str:
    third = "" if score.ssimulacra2 is None else f" / {score.ssimulacra2:.1f}"
    return f"{score.psnr:.2f} / {score.ssim:.4f}{third} / {score.steps:.2f}"


def squares_table(methods: Mapping[int, Mapping[str, Enlarge]]) -> str:
    """Markdown: how much of single pixels stays in their squares (`dot_share`), and that over bicubic's."""
    lines = ["| method | scale | share of dots in their squares | over bicubic's |", "|---|---|---|---|"]
    for scale, found in methods.items():
        plain = dot_share(found[BICUBIC], scale)
        for name, upscale in found.items():
            share = dot_share(upscale, scale)
            lines.append(f"| {name} | {scale} | {share:.3f} | {share / plain:.2f} |")
    return "\n".join(lines)
