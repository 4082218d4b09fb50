"""Deciding how to run a model on an image: at once, in exact tiles, or in overlapping ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from paragon_arch.errors import InvalidOptionError
from paragon_arch.networks.programs import convolutional, stages_of
from paragon_arch.networks.stages import Program

from ..backends.base import DTYPES
from ..inference import InferenceForm, form_stages
from ..progress import log
from ..upscaler import Upscaler
from . import memory
from .available import usable_memory
from .buffers import Limits, Store
from .overlap import AUTO_TILE, MIN_TILE, TileSize
from .streaming import MIN_TILE as SMALLEST
from .streaming import Streamer

M = TypeVar("M", bound=nn.Module)

Tiling = Literal["exact", "overlap"]
"""Whether tiles give the result of the whole image, or an approximation with feathered seams."""


@dataclass(frozen=True)
class Plan:
    """How an image will be run."""

    kind: Literal["untiled", "exact", "overlap"]
    tile: int
    """Side of a tile in input pixels, its halo not counted in exact tiling; the image's longer side if untiled."""


@dataclass(frozen=True)
class Work:
    """A way to run a model in exact tiles."""

    program: Program
    dtype: torch.dtype
    """Of the maps."""


@dataclass(frozen=True)
class Need:
    """Bytes that a streamed run needs."""

    tile: int
    """At the peak of the greediest tile, and what the C library keeps between tiles."""
    maps: int
    """For the maps between the stages."""
    total: int
    """At the peak of both together, and what the C library keeps; greediest tile and most maps need not coincide."""


def exact_work(upscaler: Upscaler, height: int, width: int, *, rehearsal: bool = False) -> Work | None:
    """How to run a model in exact tiles in its present precision; None if that is not known.

    A network that sees a limited neighbourhood is one stage, which a backend can run and which half precision can
    repeat. Any other one, and one that PyTorch runs in FP32, is taken in stages.

    Args:
        upscaler: the model.
        height, width: of the image that enters the network.
        rehearsal: on the meta device, without contents.
    """
    precision = upscaler.precision
    if upscaler.rewritten is None:
        inner = _module(upscaler, rehearsal=rehearsal)
        program = stages_of(inner, height, width) or convolutional(inner, height, width)
        return None if program is None else Work(program, DTYPES[precision])
    staged = upscaler.eager and precision == "fp32"
    whole = None if staged else convolutional(upscaler.rewritten, height, width, upscaler.whole)
    if whole is None:
        module = _module(upscaler, rehearsal=rehearsal)
        assert isinstance(module, InferenceForm)
        program = form_stages(module, height, width)
        return None if program is None else Work(program, DTYPES[precision])
    if rehearsal:  # what a backend allocates is not known; the inference form is near it
        form = memory.on_meta(upscaler.module("fp32"), upscaler.device.type)
        whole = convolutional(upscaler.rewritten, height, width, form)
        assert whole is not None
    return Work(whole, torch.float32)


def _module(upscaler: Upscaler, *, rehearsal: bool) -> nn.Module:
    if rehearsal:
        return memory.on_meta(upscaler.module(), upscaler.device.type)
    return upscaler.module().to(upscaler.device)


def can_tile_exactly(upscaler: Upscaler, x: Tensor) -> bool:
    """Whether exact tiles are known for the model and a batch of this size."""
    size = upscaler.subject.padded_size(*x.shape[-2:])
    fact = ("exact", upscaler.precision, size)
    return upscaler.remembered(fact, lambda: exact_work(upscaler, *size, rehearsal=True) is not None)


def untiled_need(upscaler: Upscaler, shape: tuple[int, ...]) -> int | None:
    """Bytes at the peak of an untiled run on a batch of this shape; None if the network does not run without contents.

    None of ours does so; running out is noticed anyway.
    """
    # what a backend allocates is not known; the inference form is near it
    precision = upscaler.precision if upscaler.eager else "fp32"

    def measure() -> int | None:
        try:
            return memory.untiled_peak(upscaler.module(precision), shape, DTYPES[precision], upscaler.device.type)
        except (RuntimeError, NotImplementedError):
            return None

    return upscaler.remembered(("untiled", precision, shape), measure)


def fits(upscaler: Upscaler, shape: tuple[int, ...], usable: int) -> bool:
    """Whether an untiled run on a batch of this shape is predicted to fit into ``usable`` bytes."""
    if not upscaler.predictable:
        return False
    precision = upscaler.precision if upscaler.eager else "fp32"
    bound = memory.untiled_bound(upscaler.module(precision).to(upscaler.device), shape, DTYPES[precision])
    if bound is not None and bound <= usable:
        return True
    need = untiled_need(upscaler, shape)
    return need is None or need <= usable


def streaming_need(upscaler: Upscaler, x: Tensor, tile: int) -> Need:
    """Memory that a run in exact tiles on each image of a batch (N, C, H, W) needs, beside image and result."""
    height, width = upscaler.subject.padded_size(*x.shape[-2:])
    fact = ("tiles", upscaler.precision, height, width, tile)
    return upscaler.remembered(fact, lambda: _streaming_need(upscaler, height, width, tile))


def _streaming_need(upscaler: Upscaler, height: int, width: int, tile: int) -> Need:
    meta, (channels, made), scale = torch.device("meta"), upscaler.channels, upscaler.scale
    work = exact_work(upscaler, height, width, rehearsal=True)
    assert work is not None
    store = Store(meta, work.dtype, Limits(), channels_last=work.program.channels_last)
    like = torch.empty(0, dtype=work.dtype, device=meta)
    image = torch.empty(1, channels, height, width, dtype=work.dtype, device=meta)
    out = torch.empty(1, made, height * scale, width * scale, dtype=work.dtype, device=meta)
    with torch.inference_mode():
        greediest, together = Streamer(work.program, store=store, like=like, tile=tile).rehearse(image, out)
    kept = memory.HEAP_SLACK if upscaler.device.type == "cpu" else 0
    return Need(greediest + kept, store.peak, together + kept)


def make_plan(
    upscaler: Upscaler,
    x: Tensor,
    *,
    tile: TileSize = "auto",
    tiling: Tiling | None = None,
    memory_limit: int | None = None,
) -> Plan:
    """Settle how to run a batch ``x`` (N, C, H, W).

    "auto" is untiled where that is predicted to fit into the memory that may be used (`usable_memory`). Otherwise the
    tile follows from that memory. A model for which exact tiles are not known runs untiled, with a warning, unless
    ``tiling="overlap"`` was asked for. Without a ``tiling`` the tiles of the family are exact; those of other
    families, of which little is known, overlap.

    Raises:
        InvalidOptionError: the tile is negative or too small to be of use.
    """
    whole = max(x.shape[-2:])
    untiled = Plan("untiled", whole)
    if tile != "auto" and tile and tile < MIN_TILE:
        raise InvalidOptionError(f"tile {tile} is too small: give at least {MIN_TILE}, 0 for untiled, or auto")
    if not tile or upscaler.subject.divides:
        return untiled
    if tiling is None:
        tiling = "exact" if upscaler.subject.family is not None or can_tile_exactly(upscaler, x) else "overlap"
    if tile == "auto":
        usable = usable_memory(upscaler.device, memory_limit)
        if fits(upscaler, tuple(x.shape), usable):
            return untiled
        if tiling == "exact" and can_tile_exactly(upscaler, x):
            return Plan("exact", fitting_tile(upscaler, x, usable))
        tile = min(whole, AUTO_TILE)
    if tile >= whole:
        return untiled
    if tiling == "overlap":
        return Plan("overlap", tile)
    if can_tile_exactly(upscaler, x):
        return Plan("exact", tile)
    log.warning('exact tiles are not known for this model: running untiled; tiling "overlap" would approximate it')
    return untiled


def memory_needed(upscaler: Upscaler, x: Tensor, tile: TileSize = "auto") -> int:
    """Predicted bytes at the peak of a run on a batch ``x`` (N, C, H, W), in tiles where it is larger than one.

    An overlapping tile is taken for an untiled run of its size. 0 where a network does not tell.
    """
    whole = max(x.shape[-2:])
    side = min(whole, AUTO_TILE if tile == "auto" else tile or whole)
    if not upscaler.predictable:
        return 0
    if side < whole and can_tile_exactly(upscaler, x):
        return streaming_need(upscaler, x, side).total
    return untiled_need(upscaler, (1, x.shape[1], min(side, x.shape[2]), min(side, x.shape[3]))) or 0


def fitting_tile(upscaler: Upscaler, x: Tensor, budget: float) -> int:
    """The largest sensible tile whose work, and if possible the maps too, fit into ``budget`` bytes."""
    tile = AUTO_TILE
    while True:
        need = streaming_need(upscaler, x, tile)
        room = max(budget - need.maps, budget / 2)
        if need.tile <= room or tile <= SMALLEST:
            return tile
        tile = max(SMALLEST, min(tile // 2, int(tile * math.sqrt(room / need.tile)) // SMALLEST * SMALLEST))
