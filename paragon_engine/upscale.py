"""Upscaling one picture, in memory or from file to file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from spandrel import ImageModelDescriptor
from torch import Tensor

from paragon_arch.errors import InvalidOptionError, OutputExistsError

from .pictures import MAX_PIXELS, Picture, Pixels, check_output, has_transparency, read_image, write_image
from .pictures.alpha import bleed, within_neighbourhood
from .progress import Progress
from .tiling import OnPart, TileSize, Tiling, upscale_tensor

MAX_OUTSCALE = 64.0
"""Largest output factor; beyond it a typing error is likelier than a wish."""


@dataclass(frozen=True)
class UpscaleSettings:
    """How to upscale."""

    tile: TileSize = "auto"
    """See `paragon_engine.tiling.upscale_tensor`."""
    tiling: Tiling = "exact"
    """See `paragon_engine.tiling.upscale_tensor`."""
    overlap: int | None = None
    """See `paragon_engine.tiling.upscale_tensor`."""
    memory_limit: int | None = None
    """See `paragon_engine.tiling.upscale_tensor`."""
    outscale: float | None = None
    """Output pixels per input pixel; None for the model's own scale. The model's result is resized to it."""
    size: tuple[int, int] | None = None
    """(width, height) of the output in pixels; goes before `outscale`."""
    max_pixels: int = MAX_PIXELS
    """Inputs with more pixels are refused."""

    def output_size(self, size: tuple[int, int], scale: int) -> tuple[int, int]:
        """(width, height) that an input of this (width, height) gets from a model of this scale.

        Raises:
            InvalidOptionError: `outscale` is not a sensible factor, or `size` has no pixels.
        """
        if self.size is not None:
            if min(self.size) < 1:
                raise InvalidOptionError(f"size {self.size[0]} x {self.size[1]} is empty: give at least one pixel")
            return self.size
        factor = float(scale) if self.outscale is None else self.outscale
        if not 0 < factor <= MAX_OUTSCALE:
            raise InvalidOptionError(f"outscale {factor:g} is out of range: give a factor up to {MAX_OUTSCALE:g}")
        return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def upscale_picture(
    model: ImageModelDescriptor[Any],
    picture: Picture,
    settings: UpscaleSettings | None = None,
    *,
    progress: Progress | None = None,
    on_part: OnPart | None = None,
) -> Picture:
    """Upscale a picture with an RGB or one-channel model.

    Grayscale stays grayscale. Alpha goes through the same network as a gray image, so that its edges are as sharp as
    the colours', then within the range of its neighbourhood: opaque stays 1, empty stays 0.

    Args:
        model: on the device that does the work.
        picture: not changed.
        settings: None for the defaults.
        progress: advanced by tiles; may cancel.
        on_part: called for finished parts of the colours, at the model's scale; see `OnPart`.

    Raises:
        InvalidOptionError: a setting makes no sense, or the model takes neither one nor three channels.
        MemoryError: not even the smallest tile fits.
        CancelledError: progress was cancelled.
    """
    settings, progress = settings or UpscaleSettings(), progress or Progress()
    size = settings.output_size(picture.size, model.scale)
    colour = _to_tensor(picture.pixels)
    alpha = None if picture.alpha is None else _to_tensor(picture.alpha[..., None])
    varies = alpha is not None and bool(alpha.amin() < alpha.amax())
    progress.start(2 if varies else 1)
    if alpha is not None:
        colour = bleed(colour, alpha)
    pixels = _resized(_run(model, colour, settings, progress.part(), on_part), size)
    if alpha is None:
        return replace(picture, pixels=pixels)
    if not varies:
        flat = np.full(pixels.shape[:2], float(alpha.amin()), dtype=np.float32)
        return replace(picture, pixels=pixels, alpha=flat)
    upscaled = within_neighbourhood(_run(model, alpha, settings, progress.part()), alpha, model.scale)
    return replace(picture, pixels=pixels, alpha=_resized(upscaled, size)[..., 0])


def upscale_file(
    model: ImageModelDescriptor[Any],
    source: Path,
    target: Path,
    settings: UpscaleSettings | None = None,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> None:
    """Upscale one file into another. The output appears complete or not at all, and never replaces the input.

    Raises:
        ImageError: the input cannot be read.
        OutputExistsError: the output exists and ``overwrite`` is False, or it is the input.
        OutputError: the output cannot be written or cannot hold the picture.
        InvalidOptionError, MemoryError, CancelledError: as `upscale_picture`.
    """
    settings = settings or UpscaleSettings()
    refuse_existing(source, target, overwrite=overwrite)
    picture = read_image(source, max_pixels=settings.max_pixels)
    # before the work, not after it
    check_output(target, settings.output_size(picture.size, model.scale), alpha=has_transparency(picture))
    write_image(upscale_picture(model, picture, settings, progress=progress), target, overwrite=overwrite)


def refuse_existing(source: Path, target: Path, *, overwrite: bool) -> None:
    """Refuse an output that would replace something.

    Raises:
        OutputExistsError: it is the input itself, or it exists and ``overwrite`` is False.
    """
    if not target.exists():
        return
    if source.exists() and target.samefile(source):
        raise OutputExistsError(f"{target}: the output would replace its own input; give another name")
    if not overwrite:
        raise OutputExistsError(f"{target}: exists already; give another name or allow overwriting")


def _run(
    model: ImageModelDescriptor[Any],
    x: Tensor,
    settings: UpscaleSettings,
    progress: Progress,
    on_part: OnPart | None = None,
) -> Tensor:
    """Upscale (1, C, H, W) with C = 1 or 3 by a model of 1 or 3 channels; the result has C channels too."""
    channels = x.shape[1]
    if model.input_channels not in (1, 3) or model.output_channels != model.input_channels:
        raise InvalidOptionError(
            f"the model turns {model.input_channels} channels into {model.output_channels}; "
            "pictures need a model of one or three"
        )
    if model.input_channels > channels:
        x = x.expand(-1, model.input_channels, -1, -1)
    elif model.input_channels < channels:
        x = x.transpose(0, 1)  # each channel is a picture of its own
    y = upscale_tensor(
        model,
        x,
        tile=settings.tile,
        tiling=settings.tiling,
        overlap=settings.overlap,
        progress=progress,
        memory_limit=settings.memory_limit,
        on_part=on_part,
    )
    if model.input_channels > channels:
        return y.mean(dim=1, keepdim=True)
    return y.transpose(0, 1) if model.input_channels < channels else y


def _to_tensor(pixels: Pixels) -> Tensor:
    planes: Pixels = np.ascontiguousarray(np.moveaxis(pixels, 2, 0))
    return torch.from_numpy(planes)[None]


def _resized(x: Tensor, size: tuple[int, int]) -> Pixels:
    """(1, C, H, W) in 0..1 as (H, W, C), brought to (width, height) by an antialiased Lanczos filter in float."""
    planes: Pixels = x[0].numpy()
    if (planes.shape[2], planes.shape[1]) != size:
        resized = [Image.fromarray(plane).resize(size, Image.Resampling.LANCZOS) for plane in planes]
        planes = np.stack([np.asarray(plane, dtype=np.float32) for plane in resized]).clip(0, 1)
    return np.ascontiguousarray(np.moveaxis(planes, 0, 2))
