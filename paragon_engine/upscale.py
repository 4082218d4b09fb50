"""Upscaling one picture, in memory or from file to file."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from paragon_arch.errors import InvalidOptionError, NonFiniteError, OutputError, OutputExistsError

from .finite import cleaned_pixels
from .heap import HEAP
from .pictures import (
    MAX_PIXELS,
    Picture,
    Pixels,
    WriteOptions,
    check_output,
    has_transparency,
    prepared,
    read_image,
    write_image,
)
from .pictures.alpha import bleed, within_neighbourhood
from .pictures.colour import conversion_of
from .pictures.icc import described
from .pictures.resample import applications, resized, wanted_size
from .progress import Progress
from .restoring import Restorer, suited
from .tiling import OnPart, TileSize, Tiling, upscale_tensor
from .upscaler import Upscaler

MAX_OUTSCALE = 64.0
"""Largest output factor; beyond it a typing error is likelier than a wish."""


MAX_OUTPUT_PIXELS = 2**30
"""Default cap on the pixels of an output: some 13 GB while it is made."""


@dataclass(frozen=True)
class UpscaleSettings:
    """How to upscale."""

    tile: TileSize = "auto"
    """See `paragon_engine.tiling.upscale_tensor`."""
    tiling: Tiling | None = None
    """See `paragon_engine.tiling.upscale_tensor`."""
    overlap: int | None = None
    """See `paragon_engine.tiling.upscale_tensor`."""
    memory_limit: int | None = None
    """See `paragon_engine.tiling.upscale_tensor`."""
    outscale: float | None = None
    """Output pixels per input pixel; None for the model's own scale. The model's result is resized to it."""
    size: tuple[int | None, int | None] | None = None
    """(width, height) of the output in pixels; goes before `outscale`. None for a side keeps the proportions."""
    fit: bool = False
    """`size` is a box to fit into."""
    repeat: bool = True
    """Apply the model again where one application does not reach the output's size."""
    max_pixels: int = MAX_PIXELS
    """Inputs with more pixels are refused."""
    max_output_pixels: int = MAX_OUTPUT_PIXELS
    """Outputs with more pixels are refused, before any work is done."""

    def output_size(self, size: tuple[int, int], scale: int) -> tuple[int, int]:
        """(width, height) that an input of this (width, height) gets from a model of this scale.

        Raises:
            InvalidOptionError: `outscale` is not a sensible factor, or the output has no pixels or too many.
        """
        if self.size is not None:
            result = wanted_size(size, self.size, fit=self.fit)
        else:
            factor = float(scale) if self.outscale is None else self.outscale
            if not 0 < factor <= MAX_OUTSCALE:
                raise InvalidOptionError(f"outscale {factor:g} is out of range: give a factor up to {MAX_OUTSCALE:g}")
            result = max(1, round(size[0] * factor)), max(1, round(size[1] * factor))
        self._check(result)
        return result

    def applications(self, size: tuple[int, int], output: tuple[int, int], scale: int) -> int:
        """How often the model is applied to an input of a size to get an output of a size.

        Raises:
            InvalidOptionError: the result before resizing would have too many pixels.
        """
        count = applications(max(output[0] / size[0], output[1] / size[1]), scale) if self.repeat else 1
        self._check((size[0] * scale**count, size[1] * scale**count))
        return count

    def _check(self, size: tuple[int, int]) -> None:
        if size[0] * size[1] > self.max_output_pixels:
            raise InvalidOptionError(
                f"{size[0]} x {size[1]} pixels are over the limit of {self.max_output_pixels:,} for an output: "
                "choose a smaller one, or raise max_output_pixels"
            )


def upscale_picture(
    upscaler: Upscaler | Restorer[Upscaler],
    picture: Picture,
    settings: UpscaleSettings | None = None,
    *,
    progress: Progress | None = None,
    on_part: OnPart | None = None,
    name: str = "the picture",
) -> Picture:
    """Upscale a picture with an RGB or one-channel model.

    Grayscale stays grayscale. Alpha goes through the same network as a gray image, so that its edges are as sharp as
    the colours', then within the range of its neighbourhood: opaque stays 1, empty stays 0. Colours of another profile
    than sRGB are converted for the network and back. NaN and infinity in the picture are replaced by 0, with a warning.

    Args:
        upscaler: the model; or a pair, of which the blend that suits the picture is taken.
        picture: not changed.
        settings: None for the defaults.
        progress: advanced by tiles; may cancel.
        on_part: called for finished parts of the colours' first application; see `OnPart`.
        name: of the picture, for messages.

    Raises:
        InvalidOptionError: a setting makes no sense, or the model takes neither one nor three channels.
        NonFiniteError: the result is NaN or infinite in the last precision, too; the message has the picture's name.
        MemoryError: not even the smallest tile fits.
        CancelledError: progress was cancelled.
    """
    try:
        with naming(name):
            source = _cleaned(picture, name)
            upscaler = suited(upscaler, source, name)
            return _upscaled(upscaler, source, settings or UpscaleSettings(), progress or Progress(), on_part)
    finally:
        HEAP.release()


def _upscaled(
    upscaler: Upscaler,
    picture: Picture,
    settings: UpscaleSettings,
    progress: Progress,
    on_part: OnPart | None,
) -> Picture:
    """The work of `upscale_picture`."""
    size = settings.output_size(picture.size, upscaler.scale)
    count = settings.applications(picture.size, size, upscaler.scale)
    alpha = None if picture.alpha is None else _to_tensor(picture.alpha[..., None])
    varies = alpha is not None and bool(alpha.amin() < alpha.amax())
    progress.start(2 if varies else 1)
    pixels = _colours(upscaler, picture, alpha, size, count, settings, progress.part(), on_part)
    if alpha is None:
        return replace(picture, pixels=pixels)
    if not varies:
        flat = np.full(pixels.shape[:2], float(alpha.amin()), dtype=np.float32)
        return replace(picture, pixels=pixels, alpha=flat)
    upscaled = _repeated(upscaler, alpha, count, settings, progress.part(), limit=True)
    return replace(picture, pixels=pixels, alpha=_to_size(upscaled, size)[..., 0])


def _colours(
    upscaler: Upscaler,
    picture: Picture,
    alpha: Tensor | None,
    size: tuple[int, int],
    count: int,
    settings: UpscaleSettings,
    progress: Progress,
    on_part: OnPart | None,
) -> Pixels:
    conversion = conversion_of(described(picture.info))
    source = picture.pixels if conversion is None else conversion.to_srgb(picture.pixels)
    colour = _to_tensor(source)
    if alpha is not None:
        colour = bleed(colour, alpha)
    inside = colour if conversion is None else colour.clamp(0, 1)
    pixels = _to_size(_repeated(upscaler, inside, count, settings, progress, on_part=on_part), size)
    if conversion is None:
        return pixels
    beyond = colour - inside  # what sRGB cannot show goes round the network
    if bool(beyond.any()):
        pixels = pixels + resized(_to_array(beyond), size)
    return conversion.from_srgb(pixels)


def upscale_planes(
    upscaler: Upscaler,
    x: Tensor,
    size: tuple[int, int],
    settings: UpscaleSettings,
    *,
    progress: Progress | None = None,
    first: Tensor | None = None,
) -> Tensor:
    """Upscale a tensor to a size, as `upscale_picture` does with colours.

    Args:
        upscaler: the model.
        x: ``(1, C, H, W)`` in 0..1, C = 1 or 3.
        size: (width, height) of the result.
        settings: tiles, and whether to repeat.
        progress: advanced by tiles; may cancel.
        first: result of the first application, where the caller has made it.

    Returns:
        ``(1, C, height, width)`` float32 in 0..1, on the device of ``x``.

    Raises:
        InvalidOptionError, NonFiniteError, MemoryError, CancelledError: as `upscale_picture`.
    """
    count = settings.applications((x.shape[3], x.shape[2]), size, upscaler.scale)
    y = _repeated(upscaler, x, count, settings, progress or Progress(), first=first)
    if (y.shape[3], y.shape[2]) == size:
        return y
    planes = _to_tensor(np.ascontiguousarray(resized(_to_array(y.cpu()), size).clip(0, 1)))
    return planes.to(x.device)


def _repeated(
    upscaler: Upscaler,
    x: Tensor,
    count: int,
    settings: UpscaleSettings,
    progress: Progress,
    *,
    limit: bool = False,
    first: Tensor | None = None,
    on_part: OnPart | None = None,
) -> Tensor:
    """Apply the model several times; ``limit`` keeps each result within its input's neighbourhood (alpha)."""
    shares = [float(upscaler.scale) ** (2 * index) for index in range(count)]
    progress.start(sum(shares))
    for share in shares:
        y = _run(upscaler, x, settings, progress.part(share), on_part) if first is None else first
        first, on_part = None, None
        x = within_neighbourhood(y, x, upscaler.scale) if limit else y
    return x


def upscale_file(
    upscaler: Upscaler | Restorer[Upscaler],
    source: Path | str,
    target: Path | str,
    settings: UpscaleSettings | None = None,
    *,
    options: WriteOptions | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> None:
    """Upscale one file into another. The output appears complete or not at all, and never replaces the input.

    Raises:
        ImageError: the input cannot be read.
        OutputExistsError: the output exists and ``overwrite`` is False, or it is the input.
        OutputError: the output cannot be written or cannot hold the picture.
        InvalidOptionError, NonFiniteError, MemoryError, CancelledError: as `upscale_picture`.
    """
    source, target = Path(source), Path(target)
    settings = settings or UpscaleSettings()
    refuse_existing(source, target, overwrite=overwrite)
    picture = read_image(source, max_pixels=settings.max_pixels)
    # before the work, not after it
    check_output(target, settings.output_size(picture.size, upscaler.scale), alpha=has_transparency(picture))
    picture = prepared(picture, target, options)
    result = upscale_picture(upscaler, picture, settings, progress=progress, name=str(source))
    write_image(result, target, options, overwrite=overwrite)


def refuse_existing(source: Path | None, target: Path, *, overwrite: bool) -> None:
    """Refuse, before the work, an output that would replace something or has no folder to be in.

    The source is None where it is no file.

    Raises:
        OutputExistsError: it is the input itself, or it exists and ``overwrite`` is False.
        OutputError: its folder does not exist.
    """
    if not target.parent.is_dir():
        raise OutputError(f"{target}: cannot be written: there is no folder {target.parent}; create it first")
    if not target.exists():
        return
    if source is not None and source.exists() and target.samefile(source):
        raise OutputExistsError(f"{target}: the output would replace its own input; give another name")
    if not overwrite:
        raise OutputExistsError(f"{target}: exists already; give another name or allow overwriting")


def _run(
    upscaler: Upscaler,
    x: Tensor,
    settings: UpscaleSettings,
    progress: Progress,
    on_part: OnPart | None = None,
) -> Tensor:
    """Upscale (1, C, H, W) with C = 1 or 3 by a model of 1 or 3 channels; the result has C channels too."""
    channels = x.shape[1]
    taken, made = upscaler.channels
    if taken not in (1, 3) or made != taken:
        raise InvalidOptionError(f"the model turns {taken} channels into {made}; pictures need a model of one or three")
    if taken > channels:
        x = x.expand(-1, taken, -1, -1)
    elif taken < channels:
        x = x.transpose(0, 1)  # each channel is a picture of its own
    y = upscale_tensor(
        upscaler,
        x,
        tile=settings.tile,
        tiling=settings.tiling,
        overlap=settings.overlap,
        progress=progress,
        memory_limit=settings.memory_limit,
        on_part=on_part,
    )
    if taken > channels:
        return y.mean(dim=1, keepdim=True)
    return y.transpose(0, 1) if taken < channels else y


@contextmanager
def naming(name: str) -> Generator[None, None, None]:
    """What is not finite inside is so in a picture or frame of this name."""
    try:
        yield
    except NonFiniteError as error:
        raise NonFiniteError(f"{name}: {error}") from error


def _cleaned(picture: Picture, name: str) -> Picture:
    """A picture without NaN and infinity."""
    alpha = None if picture.alpha is None else cleaned_pixels(picture.alpha, f"{name}, transparency")
    return replace(picture, pixels=cleaned_pixels(picture.pixels, name), alpha=alpha)


def _to_tensor(pixels: Pixels) -> Tensor:
    planes: Pixels = np.ascontiguousarray(np.moveaxis(pixels, 2, 0))
    return torch.from_numpy(planes)[None]


def _to_array(x: Tensor) -> Pixels:
    return x[0].permute(1, 2, 0).numpy()


def _to_size(x: Tensor, size: tuple[int, int]) -> Pixels:
    """(1, C, H, W) in 0..1 as (H, W, C), brought to (width, height)."""
    pixels = _to_array(x)
    if (pixels.shape[1], pixels.shape[0]) != size:
        pixels = resized(pixels, size).clip(0, 1)
    return pixels
