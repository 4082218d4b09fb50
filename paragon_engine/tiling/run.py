"""Running a model over a batch, with a result that does not depend on the tile size."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from paragon_arch.errors import InvalidOptionError

from ..devices import computing, device_failure, release_cached
from ..finite import is_finite
from ..progress import Progress, log
from ..upscaler import Upscaler
from . import overlap as overlapping
from .buffers import Store, limits_for
from .memory import is_out_of_memory
from .overlap import TileSize
from .plan import Plan, Tiling, can_tile_exactly, exact_work, make_plan, streaming_need
from .streaming import Streamer
from .watch import watched

OnPart = Callable[[Tensor, int, int], None]
"""Called with a finished part ``(C, h, w)`` of the result, in 0..1, and its topmost row and leftmost column."""


class _OverflowError(Exception):
    """A part of a result is not finite."""


def upscale_tensor(
    upscaler: Upscaler,
    x: Tensor,
    *,
    tile: TileSize = "auto",
    tiling: Tiling | None = None,
    overlap: int | None = None,
    progress: Progress | None = None,
    memory_limit: int | None = None,
    on_part: OnPart | None = None,
) -> Tensor:
    """Run a model over a batch, at once or in tiles.

    Where memory runs out the tiles shrink and the work goes on from the tile it had reached; none is ever skipped.

    Args:
        upscaler: the model; it may be on another device than ``x``.
        x: ``(N, C, H, W)``, 0..1.
        tile: side of a tile in input pixels; 0 or None for untiled; "auto" as `plan.make_plan` decides.
        tiling: "exact" gives the result of the whole image; "overlap" approximates it, with feathered seams. None is
            "exact" for models of the family, "overlap" for others.
        overlap: for "overlap" alone: input pixels shared by neighbours.
        progress: advanced by tiles, or by layers where the image runs at once; may cancel between layers or stages.
        memory_limit: bytes that the run may use on the model's device, where "auto" decides; None for what is free.
        on_part: called for every finished part of the result of each image of the batch; not for "overlap".

    Returns:
        ``(N, C, H*scale, W*scale)`` in 0..1, float32 on the device of ``x``.

    Raises:
        InvalidOptionError: a tile or overlap that makes no sense.
        NonFiniteError: the result is NaN or infinite in the last precision, too.
        MemoryError: not even the smallest tile fits; or the model runs untiled only, and does not fit.
        CancelledError: progress was cancelled.
        ParagonError: the device failed or disappeared.
    """
    progress = progress or Progress()
    try:
        return _upscale(upscaler, x, tile, tiling, overlap, progress, memory_limit, on_part)
    except RuntimeError as error:
        failure = device_failure(error, str(upscaler.device))
        if failure is None:
            raise
        raise failure from error


def _upscale(
    upscaler: Upscaler,
    x: Tensor,
    tile: TileSize,
    tiling: Tiling | None,
    overlap: int | None,
    progress: Progress,
    memory_limit: int | None,
    on_part: OnPart | None,
) -> Tensor:
    """The work of `upscale_tensor`."""
    if overlap is not None and tiling != "overlap":
        raise InvalidOptionError("exact tiles need no overlap: leave it out, or ask for the tiling overlap")
    plan = make_plan(upscaler, x, tile=tile, tiling=tiling, memory_limit=memory_limit)
    if plan.kind == "overlap" or (plan.kind == "untiled" and tiling == "overlap"):
        return overlapping.upscale_overlapping(upscaler, x, tile=plan.tile, overlap=overlap, progress=progress)
    with computing(upscaler.device):
        if plan.kind == "untiled":
            result = _untiled(upscaler, x, progress)
            if result is not None:
                if on_part is not None:
                    for image in result:
                        on_part(image, 0, 0)
                return result
            if upscaler.subject.family is None and not can_tile_exactly(upscaler, x):
                half = max(overlapping.MIN_TILE, max(x.shape[-2:]) // 2)
                return overlapping.upscale_overlapping(upscaler, x, tile=half, progress=progress)
            plan = _after_running_out(upscaler, x)
        return _streamed(upscaler, x, plan, progress, on_part, memory_limit)


def _untiled(upscaler: Upscaler, x: Tensor, progress: Progress) -> Tensor | None:
    """The result at once; None if memory ran out."""
    try:
        with watched(upscaler.module() if upscaler.eager else None, progress):
            return upscaler(x)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return None


def _after_running_out(upscaler: Upscaler, x: Tensor) -> Plan:
    """Exact tiles of half the image's size.

    Raises:
        MemoryError: exact tiles are not known for the model.
    """
    whole = max(x.shape[-2:])
    if not can_tile_exactly(upscaler, x) or whole <= overlapping.MIN_TILE:
        raise MemoryError(
            f"out of memory on {upscaler.device}, and exact tiles are not known for this model at this size; "
            "the tiling overlap would approximate the result"
        )
    release_cached(upscaler.device)
    tile = max(overlapping.MIN_TILE, whole // 2)
    log.warning("out of memory on %s: going on with tiles of %d pixels", upscaler.device, tile)
    return Plan("exact", tile)


def _streamed(
    upscaler: Upscaler, x: Tensor, plan: Plan, progress: Progress, on_part: OnPart | None, memory_limit: int | None
) -> Tensor:
    """Every image of the batch in exact tiles."""
    scale, device = upscaler.scale, upscaler.device
    height, width = (side * scale for side in x.shape[-2:])
    padded = upscaler.padded(x)
    need = streaming_need(upscaler, x, plan.tile)
    shape = (len(x), upscaler.channels[1], *(side * scale for side in padded.shape[-2:]))
    out = torch.empty(shape, dtype=torch.float32, device=x.device)
    # pages of a fresh tensor count as free until they are written
    reserve = need.tile + (out.nbytes if x.device == device else 0)
    log.info("exact tiles of %d pixels: equal to the untiled result", plan.tile)
    progress.start(len(x))
    announce = None if on_part is None else _within(height, width, on_part)

    def stream(image: Tensor, result: Tensor) -> None:
        work = exact_work(upscaler, *image.shape[-2:])
        assert work is not None
        limits = limits_for(device, reserve, memory_limit)
        store = Store(device, work.dtype, limits, channels_last=work.program.channels_last)
        like, part = torch.empty(0, dtype=work.dtype, device=device), progress.part()
        finished = _taken_in(result, announce)
        run = Streamer(work.program, store=store, like=like, tile=plan.tile, progress=part, on_region=finished)
        run.run(image, result)

    for index in range(len(x)):
        _in_a_precision_that_holds(upscaler, stream, padded[index : index + 1], out[index : index + 1])
    return out[..., :height, :width]


def _in_a_precision_that_holds(
    upscaler: Upscaler, stream: Callable[[Tensor, Tensor], None], image: Tensor, result: Tensor
) -> None:
    while True:
        try:
            return stream(image, result)
        except _OverflowError:
            upscaler.overflowed()
        except RuntimeError as error:
            if not upscaler.cannot(error):
                raise


def _taken_in(result: Tensor, on_part: OnPart | None) -> Callable[[int, int, int, int], None]:
    """Check, limit and announce each region of a result."""

    def finished(top: int, bottom: int, left: int, right: int) -> None:
        part = result[0, :, top:bottom, left:right]
        if not is_finite(part):
            raise _OverflowError
        part.clamp_(0, 1)
        if on_part is not None:
            on_part(part, top, left)

    return finished


def _within(height: int, width: int, on_part: OnPart) -> OnPart:
    """Announce only what is inside of a picture of this size."""

    def announce(part: Tensor, top: int, left: int) -> None:
        if top < height and left < width:
            on_part(part[:, : height - top, : width - left], top, left)

    return announce
