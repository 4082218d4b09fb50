"""Deciding how to run a model on an image: at once, in exact tiles, or in overlapping ones."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from paragon_arch.errors import InvalidOptionError
from paragon_arch.model import ImageModel as ImageModelDescriptor
from paragon_arch.model import tiles_itself
from paragon_arch.networks.programs import convolutional, stages_of
from paragon_arch.networks.stages import Program

from ..backends.base import DTYPES
from ..backends.network import BackendNetwork
from ..inference import form_stages
from ..progress import log
from . import memory
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
    """One way to run a model in exact tiles."""

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


def exact_work(model: ImageModelDescriptor[Any], height: int, width: int, *, rehearsal: bool = False) -> Iterator[Work]:
    """How to run a model in exact tiles, in every precision that is to be tried; none if that is not known.

    A model that computes through a backend is one stage wherever that can be. Where it cannot, and where the backend
    is PyTorch itself, its inference form is taken in stages.

    Args:
        model: plain, or from `paragon_engine.backends.model.with_backend`.
        height, width: of the image that enters the network.
        rehearsal: on the meta device, without contents.
    """
    network: nn.Module = model.model
    clone = memory.on_meta if rehearsal else _itself
    if not isinstance(network, BackendNetwork):
        inner = clone(network)
        program = stages_of(inner, height, width) or convolutional(inner, height, width)
        if program is not None:
            yield Work(program, model.dtype)
        return
    whole = None if network.staged else convolutional(network, height, width)
    if whole is None:
        for step in network.precisions:  # one after the other: the next form is only made when it is needed
            program = form_stages(clone(network.form(step)), height, width)
            if program is not None:
                yield Work(program, DTYPES[step])
    elif rehearsal:  # what the backend allocates is not known; the inference form is near it
        run = convolutional(network, height, width, clone(network.form()))
        assert run is not None
        yield Work(run, torch.float32)
    else:
        yield Work(whole, torch.float32)


def _itself(module: M) -> M:
    return module


def worker(network: nn.Module) -> nn.Module:
    """The module whose allocations are those of a network: the inference form, where a backend uses it."""
    return network.form() if isinstance(network, BackendNetwork) else network


def eager_module(network: nn.Module) -> nn.Module | None:
    """The module whose layers PyTorch calls one by one when a network runs; None if a backend runs it as a whole."""
    if isinstance(network, BackendNetwork):
        return network.form() if network.staged else None
    return network


def can_tile_exactly(model: ImageModelDescriptor[Any], x: Tensor) -> bool:
    """Whether exact tiles are known for the model and a batch of this size."""
    return next(exact_work(model, *padded_size(model, x), rehearsal=True), None) is not None


def padded_size(model: ImageModelDescriptor[Any], x: Tensor) -> tuple[int, int]:
    """Height and width that a batch is padded to before it enters the network."""
    height, width = x.shape[-2:]
    more_width, more_height = model.size_requirements.get_padding(width, height)
    return height + more_height, width + more_width


def streaming_need(model: ImageModelDescriptor[Any], x: Tensor, tile: int) -> Need:
    """Memory that a run in exact tiles on each image of a batch (N, C, H, W) needs, beside image and result."""
    height, width = padded_size(model, x)
    meta, channels, scale = torch.device("meta"), x.shape[1], model.scale
    work = next(exact_work(model, height, width, rehearsal=True))
    store = Store(meta, work.dtype, Limits(), channels_last=work.program.channels_last)
    like = torch.empty(0, dtype=work.dtype, device=meta)
    image, out = (torch.empty(1, channels, height * s, width * s, dtype=work.dtype, device=meta) for s in (1, scale))
    with torch.inference_mode():
        greediest, together = Streamer(work.program, store=store, like=like, tile=tile).rehearse(image, out)
    kept = memory.HEAP_SLACK if model.device.type == "cpu" else 0
    return Need(greediest + kept, store.peak, together + kept)


def make_plan(
    model: ImageModelDescriptor[Any],
    x: Tensor,
    *,
    tile: TileSize = "auto",
    tiling: Tiling = "exact",
    memory_limit: int | None = None,
) -> Plan:
    """Settle how to run a batch ``x`` (N, C, H, W).

    "auto" is untiled where that is predicted to fit into the memory that is free. Otherwise the tile follows from
    the free memory; ``memory_limit`` are bytes that it shall not exceed even if more are free. A model for which
    exact tiles are not known runs untiled, with a warning, unless ``tiling="overlap"`` was asked for.

    Raises:
        InvalidOptionError: the tile is negative or too small to be of use.
    """
    whole = max(x.shape[-2:])
    untiled = Plan("untiled", whole)
    if tile != "auto" and tile and tile < MIN_TILE:
        raise InvalidOptionError(f"tile {tile} is too small: give at least {MIN_TILE}, 0 for untiled, or auto")
    if not tile or tiles_itself(model):
        return untiled
    if tile == "auto":
        usable = memory.usable_memory(model.device, memory_limit)
        if memory.fits(worker(model.model), x.shape, model.dtype, usable):
            return untiled
        if tiling == "exact" and can_tile_exactly(model, x):
            return Plan("exact", fitting_tile(model, x, usable))
        tile = min(whole, AUTO_TILE)
    if tile >= whole:
        return untiled
    if tiling == "overlap":
        return Plan("overlap", tile)
    if can_tile_exactly(model, x):
        return Plan("exact", tile)
    log.warning('exact tiles are not known for this model: running untiled; tiling "overlap" would approximate it')
    return untiled


def memory_needed(model: ImageModelDescriptor[Any], x: Tensor, tile: TileSize = "auto") -> int:
    """Predicted bytes at the peak of a run on a batch ``x`` (N, C, H, W), in tiles where it is larger than one.

    An overlapping tile is taken for an untiled run of its size.
    """
    whole = max(x.shape[-2:])
    side = min(whole, AUTO_TILE if tile == "auto" else tile or whole)
    if side < whole and can_tile_exactly(model, x):
        return streaming_need(model, x, side).total
    shape = (1, x.shape[1], min(side, x.shape[2]), min(side, x.shape[3]))
    return memory.untiled_peak(worker(model.model), shape, model.dtype)


def fitting_tile(model: ImageModelDescriptor[Any], x: Tensor, budget: float) -> int:
    """The largest sensible tile whose work, and if possible the maps too, fit into ``budget`` bytes."""
    tile = AUTO_TILE
    while True:
        need = streaming_need(model, x, tile)
        room = max(budget - need.maps, budget / 2)
        if need.tile <= room or tile <= SMALLEST:
            return tile
        tile = max(SMALLEST, min(tile // 2, int(tile * math.sqrt(room / need.tile)) // SMALLEST * SMALLEST))
