"""Proving that an artefact does what its checkpoint does, on photographs and at odd sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from paragon_arch.errors import InvalidOptionError

from ..devices import computing
from ..metrics import Pixels, psnr_y, ssim_y
from ..progress import Progress
from .artefacts import Artefact
from .pictures import PictureSet, fit_channels, odd_inputs, reduced, resized_inputs


@dataclass(frozen=True)
class Limits:
    """What an artefact must keep; None is not checked."""

    max_abs: float | None = None
    """Largest difference from the checkpoint's output, relative to the larger of 1 and its largest value."""
    psnr: float | None = None
    """Smallest PSNR between the outputs of any picture, in dB."""
    loss_db: float | None = None
    """Largest mean loss in PSNR against the ground truth, in dB."""


LIMITS = {
    "fp32": Limits(max_abs=1e-4),
    "fp16": Limits(psnr=60.0, loss_db=0.01),
    "int8": Limits(loss_db=0.25),
    "fp8": Limits(loss_db=0.25),
}
"""The defaults by precision."""
WITHOUT_TRUTH = 40.0
"""Smallest PSNR between outputs where a loss is to be limited and no ground truth can be made (scale 1)."""


@dataclass(frozen=True)
class Result:
    """One input."""

    name: str
    size: tuple[int, int]
    """Height and width of the input."""
    max_abs: float
    """As in `Limits`."""
    psnr: float
    """Between the outputs, in dB, with the larger of 1 and the checkpoint's largest value as the peak."""
    loss_db: float | None = None
    """PSNR (luma, 8 bits) of the checkpoint's output against the ground truth, less that of the artefact's."""
    loss_ssim: float | None = None


@dataclass
class Verification:
    """The outcome of `verify`."""

    artefact: str
    checkpoint: str
    precision: str
    limits: Limits
    pictures: str
    """What it was proved on."""
    pictures_sha256: str
    results: list[Result] = field(default_factory=list[Result])

    @property
    def max_abs(self) -> float:
        """The worst of all inputs."""
        return max((item.max_abs for item in self.results), default=math.nan)

    @property
    def psnr(self) -> float:
        """The worst of all inputs."""
        return min((item.psnr for item in self.results), default=math.nan)

    @property
    def loss_db(self) -> float | None:
        """Mean over the photographs; None without ground truth."""
        return _mean([item.loss_db for item in self.results])

    @property
    def loss_ssim(self) -> float | None:
        """Mean over the photographs; None without ground truth."""
        return _mean([item.loss_ssim for item in self.results])

    @property
    def failures(self) -> list[str]:
        """The limits that do not hold, in words."""
        found: list[str] = []
        limits = self.limits
        if not self.results or not math.isfinite(self.max_abs):
            return ["an output is NaN or infinite"]
        if limits.max_abs is not None and not self.max_abs <= limits.max_abs:
            found.append(f"the largest difference is {self.max_abs:.1e}, above {limits.max_abs:.0e}")
        least = limits.psnr
        if limits.loss_db is not None and self.loss_db is None:
            least = max(WITHOUT_TRUTH, least or 0.0)
        if least is not None and not self.psnr >= least:
            found.append(f"the PSNR between the outputs is {self.psnr:.1f} dB, below {least:g} dB")
        if limits.loss_db is not None and self.loss_db is not None and not self.loss_db <= limits.loss_db:
            found.append(f"the loss against the ground truth is {self.loss_db:.3f} dB, above {limits.loss_db:g} dB")
        return found

    @property
    def passed(self) -> bool:
        """All limits hold."""
        return not self.failures

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for `json.dumps`; figures rounded to what they mean."""
        return {
            "artefact": self.artefact,
            "checkpoint": self.checkpoint,
            "precision": self.precision,
            "passed": self.passed,
            "failures": self.failures,
            "limits": asdict(self.limits),
            "pictures": self.pictures,
            "pictures_sha256": self.pictures_sha256,
            "max_abs": _brief(self.max_abs),
            "psnr": _brief(self.psnr),
            "loss_db": _brief(self.loss_db),
            "loss_ssim": _brief(self.loss_ssim),
            "results": [{key: _brief(value) for key, value in asdict(item).items()} for item in self.results],
        }

    def summary(self) -> str:
        """The figures in one line."""
        parts = [f"max. difference {self.max_abs:.1e}", f"PSNR {self.psnr:.1f} dB"]
        if self.loss_db is not None:
            parts.append(f"loss {self.loss_db:+.4f} dB")
        return ", ".join(parts)


def limits_for(precision: str, **changes: float | None) -> Limits:
    """The default limits of a precision, with those changes that are not None.

    Raises:
        InvalidOptionError: an unknown precision.
    """
    if precision not in LIMITS:
        raise InvalidOptionError(f"precision {precision!r} has no limits: give {', '.join(LIMITS)}")
    return Limits(
        **{**asdict(LIMITS[precision]), **{key: value for key, value in changes.items() if value is not None}}
    )


def verify(
    candidate: Artefact,
    reference: Artefact,
    pictures: PictureSet,
    *,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> Verification:
    """Compare an artefact with its checkpoint.

    Photographs are reduced by the scale, so that they are their own ground truth, and upscaled by both; then odd
    sizes follow. A graph of a fixed size is only given that size. A video graph gets the features of another frame.

    Args:
        candidate: the artefact.
        reference: the checkpoint it was made from.
        pictures: what to compare on.
        limits: None for those of the candidate's precision.
        progress: advanced by inputs; may cancel.

    Raises:
        InvalidOptionError: the scales or channels differ.
        OutputError: the artefact fails at a size.
    """
    if (candidate.scale, candidate.channels) != (reference.scale, reference.channels):
        raise InvalidOptionError(
            f"{candidate.name} (scale {candidate.scale}, {candidate.channels} channels) cannot have been made from "
            f"{reference.name} (scale {reference.scale}, {reference.channels} channels)"
        )
    progress = progress or Progress()
    limits = limits or limits_for(candidate.precision)
    report = Verification(
        candidate.name, reference.name, candidate.precision, limits, pictures.description, pictures.sha256
    )
    inputs = _inputs(candidate, reference, pictures)
    progress.start(len(inputs), label=f"verifying {candidate.name}", unit="inputs")
    for name, x, truth in inputs:
        expected, found = _outputs(candidate, reference, x)
        report.results.append(_result(name, x, expected, found, truth))
        progress.advance()
    return report


def _inputs(candidate: Artefact, reference: Artefact, pictures: PictureSet) -> list[tuple[str, Tensor, Tensor | None]]:
    """(name, input, ground truth) of everything to compare on."""
    channels, least = reference.channels, max(candidate.minimum_size, reference.minimum_size)
    if candidate.fixed_size is not None:
        fixed = resized_inputs(pictures, candidate.fixed_size, channels=channels)
        return [(photo.name, x, None) for photo, x in zip(pictures.photos, fixed, strict=True)]
    inputs: list[tuple[str, Tensor, Tensor | None]] = []
    for photo in pictures.photos:
        small, truth = reduced(fit_channels(photo.pixels, channels), reference.scale)
        if min(small.shape[2:]) >= least:
            inputs.append((photo.name, small, truth if reference.scale > 1 and channels == 3 else None))
    odd = odd_inputs(pictures, least=least, channels=channels)
    return inputs + [(f"{x.shape[0]} x {x.shape[2]} x {x.shape[3]}", x, None) for x in odd]


def _outputs(candidate: Artefact, reference: Artefact, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """What the checkpoint and the artefact make of an input: the picture first."""
    if candidate.video is None or candidate.kind == "checkpoint":
        return [reference.run(x)], [candidate.run(x)]
    if reference.network is None or reference.video is None:
        raise InvalidOptionError(f"{candidate.name} is a video graph: verify it against a checkpoint")
    with computing(next(reference.network.parameters()).device):
        previous = reference.network(x.flip(3).to(next(reference.network.parameters())), feature_tap=True)[1].cpu()
    return list(reference.video(x, previous)), list(candidate.video(x, previous))


def _result(name: str, x: Tensor, expected: list[Tensor], found: list[Tensor], truth: Tensor | None) -> Result:
    worst, errors = 0.0, list[float]()
    for first, second in zip(expected, found, strict=True):
        if first.shape != second.shape or not bool(torch.isfinite(second).all()):
            worst = math.inf
            continue
        peak = max(1.0, float(first.abs().max()))
        worst = max(worst, float((first - second).abs().max()) / peak)
        errors.append(float((first.double() - second.double()).square().mean()) / peak**2)
    loss_db = loss_ssim = None
    if truth is not None and math.isfinite(worst):
        loss_db, loss_ssim = _losses(to_pixels(expected[0]), to_pixels(found[0]), to_pixels(truth))
    psnr = _decibels(max(errors)) if math.isfinite(worst) else -math.inf
    return Result(name, (x.shape[2], x.shape[3]), worst, psnr, loss_db, loss_ssim)


def _losses(expected: Pixels, found: Pixels, truth: Pixels) -> tuple[float, float]:
    before, after = psnr_y(expected, truth), psnr_y(found, truth)
    loss = 0.0 if before == after else before - after
    return loss, ssim_y(expected, truth) - ssim_y(found, truth)


def to_pixels(x: Tensor) -> Pixels:
    """The first image of ``(N, 3, H, W)`` in 0..1 as ``(H, W, 3)`` in 8 bits."""
    return (x[0].clamp(0, 1) * 255).round().permute(1, 2, 0).numpy().astype(np.uint8)


def _decibels(error: float) -> float:
    return 150.0 if error <= 1e-15 else -10 * math.log10(error)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _brief(value: Any) -> Any:
    """Three significant digits of a float; JSON knows no infinity."""
    if not isinstance(value, float):
        return list(value) if isinstance(value, tuple) else value  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return float(f"{value:.3g}") if math.isfinite(value) else None
