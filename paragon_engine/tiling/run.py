"""Running a model over a batch, with a result that does not depend on the tile size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from paragon_arch.errors import InvalidOptionError
from paragon_arch.model import ImageModel as ImageModelDescriptor
from paragon_arch.model import padded as padded_to

from ..devices import device_failure, without_gradients
from ..progress import Progress, log
from . import overlap as overlapping
from .buffers import Store, limits_for
from .memory import is_out_of_memory, release_cached
from .overlap import TileSize
from .plan import Plan, Tiling, can_tile_exactly, eager_module, exact_work, make_plan, padded_size, streaming_need
from .streaming import Streamer
from .watch import watched

OnPart = Callable[[Tensor, int, int], None]
"""Called with a finished part ``(C, h, w)`` of the result, in 0..1, and its topmost row and leftmost column."""


def upscale_tensor(
    model: ImageModelDescriptor[Any],
    x: Tensor,
    *,
    tile: TileSize = "auto",
    tiling: Tiling = "exact",
    overlap: int | None = None,
    progress: Progress | None = None,
    memory_limit: int | None = None,
    on_part: OnPart | None = None,
) -> Tensor:
    """Run a model over a batch, at once or in tiles.

    Where memory runs out the tiles shrink and the work goes on from the tile it had reached; none is ever skipped.

    Args:
        model: the descriptor, on the device that does the work; it may be on another one than ``x``.
        x: ``(N, C, H, W)``, 0..1.
        tile: side of a tile in input pixels; 0 or None for untiled; "auto" as `plan.make_plan` decides.
        tiling: "exact" gives the result of the whole image; "overlap" approximates it, with feathered seams.
        overlap: for "overlap" alone: input pixels shared by neighbours.
        progress: advanced by tiles, or by layers where the image runs at once; may cancel between layers or stages.
        memory_limit: bytes on the model's device that an "auto" tile may plan with; None for what is free there.
        on_part: called for every finished part of the result of each image of the batch; not for "overlap".

    Returns:
        ``(N, C, H*scale, W*scale)`` in 0..1, float32 on the device of ``x``.

    Raises:
        InvalidOptionError: a tile or overlap that makes no sense.
        MemoryError: not even the smallest tile fits; or the model runs untiled only, and does not fit.
        CancelledError: progress was cancelled.
        ParagonError: the device failed or disappeared.
    """
    progress = progress or Progress()
    try:
        return _upscale(model, x, tile, tiling, overlap, progress, memory_limit, on_part)
    except RuntimeError as error:
        failure = device_failure(error, str(model.device))
        if failure is None:
            raise
        raise failure from error


def _upscale(
    model: ImageModelDescriptor[Any],
    x: Tensor,
    tile: TileSize,
    tiling: Tiling,
    overlap: int | None,
    progress: Progress,
    memory_limit: int | None,
    on_part: OnPart | None,
) -> Tensor:
    """The work of `upscale_tensor`."""
    if overlap is not None and tiling == "exact":
        raise InvalidOptionError("exact tiles need no overlap: leave it out, or ask for the tiling overlap")
    plan = make_plan(model, x, tile=tile, tiling=tiling, memory_limit=memory_limit)
    if plan.kind == "overlap" or (plan.kind == "untiled" and tiling == "overlap"):
        size = 0 if plan.kind == "untiled" else plan.tile
        return overlapping.upscale_overlapping(model, x, tile=size, overlap=overlap, progress=progress)
    with without_gradients(model.device):
        if plan.kind == "untiled":
            result = _untiled(model, x, progress)
            if result is not None:
                if on_part is not None:
                    for image in result:
                        on_part(image, 0, 0)
                return result
            plan = _after_running_out(model, x)
        return _streamed(model, x, plan, progress, on_part)


def _untiled(model: ImageModelDescriptor[Any], x: Tensor, progress: Progress) -> Tensor | None:
    """The result at once; None if memory ran out."""
    try:
        with watched(eager_module(model.model), progress):
            return model(x.to(model.device, model.dtype)).to(x.device, torch.float32)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return None


def _after_running_out(model: ImageModelDescriptor[Any], x: Tensor) -> Plan:
    """Exact tiles of half the image's size.

    Raises:
        MemoryError: exact tiles are not known for the model.
    """
    whole = max(x.shape[-2:])
    if not can_tile_exactly(model, x) or whole <= overlapping.MIN_TILE:
        raise MemoryError(
            f"out of memory on {model.device}, and exact tiles are not known for this model at this size; "
            "the tiling overlap would approximate the result"
        )
    release_cached(model.device)
    tile = max(overlapping.MIN_TILE, whole // 2)
    log.warning("out of memory on %s: going on with tiles of %d pixels", model.device, tile)
    return Plan("exact", tile)


def _streamed(
    model: ImageModelDescriptor[Any], x: Tensor, plan: Plan, progress: Progress, on_part: OnPart | None
) -> Tensor:
    """Every image of the batch in exact tiles."""
    height, width = (side * model.scale for side in x.shape[-2:])
    padded = padded_to(x, padded_size(model, x))
    need = streaming_need(model, x, plan.tile)
    shape = (*padded.shape[:2], *(side * model.scale for side in padded.shape[-2:]))
    out = torch.empty(shape, dtype=torch.float32, device=x.device)
    # pages of a fresh tensor count as free until they are written
    reserve = need.tile + (out.nbytes if x.device == model.device else 0)
    log.info("exact tiles of %d pixels: equal to the untiled result", plan.tile)
    progress.start(len(x))
    announce = None if on_part is None else _within(height, width, on_part)
    for index in range(len(x)):
        image, result = padded[index : index + 1], out[index : index + 1]
        _stream_image(model, image, result, tile=plan.tile, reserve=reserve, progress=progress, on_part=announce)
    return out[..., :height, :width]


def _within(height: int, width: int, on_part: OnPart) -> OnPart:
    """Announce only what is inside of a picture of this size."""

    def announce(part: Tensor, top: int, left: int) -> None:
        if top < height and left < width:
            on_part(part[:, : height - top, : width - left], top, left)

    return announce


def _stream_image(
    model: ImageModelDescriptor[Any],
    image: Tensor,
    result: Tensor,
    *,
    tile: int,
    reserve: float,
    progress: Progress,
    on_part: OnPart | None,
) -> None:
    """One image, in the first precision that holds its values."""

    def finished(top: int, bottom: int, left: int, right: int) -> None:
        part = result[0, :, top:bottom, left:right].clamp_(0, 1)
        if on_part is not None:
            on_part(part, top, left)

    device, works = model.device, exact_work(model, *image.shape[-2:])
    work = next(works)
    while True:
        store = Store(device, work.dtype, limits_for(device, reserve), channels_last=work.program.channels_last)
        like, part = torch.empty(0, dtype=work.dtype, device=device), progress.part()
        Streamer(work.program, store=store, like=like, tile=tile, progress=part, on_region=finished).run(image, result)
        if work.dtype not in (torch.float16, torch.bfloat16) or bool(torch.isfinite(result).all()):
            return
        failed, work = work, next(works, None)
        if work is None:
            return
        log.warning("the image overflowed in %s: redone in %s", failed.dtype, work.dtype)
