"""Collecting the tracked kernels of a dynamic model by running pictures through it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

import paragon_arch
from paragon_arch.copying import private_copy
from paragon_arch.errors import ImageError, InvalidOptionError
from paragon_arch.loading import Opened
from paragon_arch.model import FamilyModel
from paragon_arch.networks.base import SRNetwork
from paragon_arch.networks.dynamic import TrackedTransformer

from ..progress import Progress
from .pictures import fit_channels, load, picture_files

if TYPE_CHECKING:
    from paragon_arch import ParagonModelDescriptor

Model = TypeVar("Model", "ParagonModelDescriptor", FamilyModel)

CROP = 128
"""Side of the crops: the size of training patches, whose kernels are to be averaged."""
FEW = 16
"""Below this many crops the average is too rough to be trusted without a word."""


@dataclass(frozen=True)
class Calibration:
    """What calibrating covered."""

    kernels: int
    """Tracked kernels of the model."""
    tracked: int
    """Those that have been collected: all of them, or the model does not run as it should."""
    pictures: int
    crops: int
    drift: float
    """Largest relative change of a kernel's mean between the first half of the crops and all of them."""
    change: float
    """Largest relative difference from the kernels that the checkpoint had; 0 where it had none."""

    @property
    def coverage(self) -> float:
        """Share of the kernels that have been collected."""
        return self.tracked / self.kernels

    @property
    def doubts(self) -> list[str]:
        """What speaks against trusting the result, in words."""
        found = [f"{self.kernels - self.tracked} kernels were not reached"] if self.tracked < self.kernels else []
        if self.crops < FEW:
            found.append(f"only {self.crops} crops: {FEW} or more give a steadier mean")
        if self.drift > 0.1:
            found.append(f"the means still moved by {self.drift:.0%} in the second half: give more pictures")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain types."""
        return asdict(self) | {"coverage": self.coverage, "doubts": self.doubts}


def calibrate(
    model: Model,
    pictures: Sequence[Path],
    *,
    limit: int = 256,
    progress: Progress | None = None,
) -> tuple[Model, Calibration]:
    """Collect a dynamic model's kernels: the mean over crops of what its generators predict.

    Args:
        model: of a dynamic layout, not fused; left as it is.
        pictures: files and folders of low-resolution pictures like those that the model will get.
        limit: crops at most, spread over the pictures.
        progress: advanced by pictures; may cancel.

    Returns:
        A new model of the same kind with the kernels, and what was covered.

    Raises:
        InvalidOptionError: the model has no kernel generators (left).
        ImageError: there are no pictures, or none is large enough to be read.
    """
    network = private_copy(model.model)
    blocks = [m for m in network.modules() if isinstance(m, TrackedTransformer) and m.kernel_generator is not None]
    if not blocks:
        reason = "is fused, so its generators are gone" if network.fused else "has no dynamic kernels"
        raise InvalidOptionError(f"{model.report.name} {reason}: there is nothing to calibrate")
    files, progress = picture_files(pictures), progress or Progress()
    before = [block.static_kernel().clone() if bool(block.tracked_initialized) else None for block in blocks]
    halfway = _collect(network, blocks, files, limit=limit, progress=progress)
    after = [block.tracked_kernel for block in blocks]
    total = blocks[0].steps
    report = Calibration(
        kernels=len(blocks),
        tracked=sum(bool(block.tracked_initialized) for block in blocks),
        pictures=len(files),
        crops=total,
        drift=max(map(_relative, halfway, after)),
        change=max((_relative(b, a) for b, a in zip(before, after, strict=True) if b is not None), default=0.0),
    )
    return type(model)(Opened(network, model.layout, model.report)), report


@torch.no_grad()
def _collect(
    network: SRNetwork, blocks: list[TrackedTransformer], files: list[Path], *, limit: int, progress: Progress
) -> list[Tensor]:
    """Track an exact mean in every block; returns the means at half the crops."""
    for block in blocks:
        block.tracked_initialized.fill_(False)
        block.steps, block.interval = 0, 1
        block.train()
    each, halfway = max(1, limit // len(files)), [block.tracked_kernel for block in blocks]
    progress.start(len(files), label="calibrating", unit="pictures")
    for index, path in enumerate(files):
        if index * each >= limit:
            break
        for crop in crops(load(path), each):
            for block in blocks:
                block.momentum = 1 / (block.steps + 1)  # the running mean is then the mean of all
            network(fit_channels(crop, network.hyperparameters.get("in_channels", 3)))
        if index <= len(files) // 2:
            halfway = [block.tracked_kernel.clone() for block in blocks]
        progress.advance()
    network.eval()
    if blocks[0].steps == 0:
        raise ImageError(f"{files[0]}: no picture gave a crop; pictures of 16 pixels or more are needed")
    return halfway


def crops(picture: Tensor, count: int) -> Iterator[Tensor]:
    """Up to ``count`` different crops of a picture on a grid; a small picture is taken whole."""
    height, width = picture.shape[2:]
    if min(height, width) < 16:
        return
    rows, columns = max(1, height // CROP), max(1, width // CROP)
    places = [(row * CROP, column * CROP) for row in range(rows) for column in range(columns)]
    step = max(1, len(places) // count)
    for top, left in places[::step][:count]:
        yield picture[:, :, top : top + CROP, left : left + CROP]


def _relative(first: Tensor, second: Tensor) -> float:
    scale = second.square().sum().clamp(min=1e-24)
    return float(((first - second).square().sum() / scale).sqrt())


def calibrate_checkpoint(
    path: Path,
    pictures: Sequence[Path],
    output: Path,
    *,
    limit: int = 256,
    overwrite: bool = False,
    progress: Progress | None = None,
    **overrides: Any,
) -> Calibration:
    """`calibrate` from file to file; the output is an unfused checkpoint.

    Raises:
        ParagonError: see `calibrate`, `paragon_arch.load` and `paragon_arch.save`.
    """
    model, report = calibrate(paragon_arch.open_model(path, **overrides), pictures, limit=limit, progress=progress)
    paragon_arch.save(model, output, overwrite=overwrite)
    return report
