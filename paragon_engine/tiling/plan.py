"""Deciding how to run a model on an image: at once, in exact tiles, or in overlapping ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from spandrel import ImageModelDescriptor, ModelTiling
from torch import Tensor, nn

from paragon_arch.errors import InvalidOptionError
from paragon_arch.networks.base import SRNetwork
from paragon_arch.networks.programs import convolutional, stages_of
from paragon_arch.networks.stages import Program

from ..progress import log
from . import memory
from .buffers import Limits, Store
from .overlap import AUTO_TILE, MIN_TILE, TileSize
from .streaming import MIN_TILE as SMALLEST
from .streaming import Streamer

Tiling = Literal["exact", "overlap"]
"""Whether tiles give the result of the whole image, or an approximation with feathered seams."""


@dataclass(frozen=True)
class Plan:
    """How an image will be run."""

    kind: Literal["untiled", "exact", "overlap"]
    tile: int
    """Side of a tile in input pixels, its halo not counted in exact tiling; the image's longer side if untiled."""


@dataclass(frozen=True)
class Need:
    """Bytes that a streamed run needs."""

    tile: int
    """At the peak of the greediest tile."""
    maps: int
    """For the maps between the stages."""


def program_for(network: nn.Module, height: int, width: int) -> Program | None:
    """The stages of a network, or the network as one stage; None if exact tiles are not known for it."""
    return _program(network, plain(network), height, width)


def _program(network: nn.Module, inner: nn.Module, height: int, width: int) -> Program | None:
    """A backend runs whole networks; where that cannot be tiled, the network inside is taken in stages."""
    whole = convolutional(network, height, width) if network is not inner else None
    return whole or stages_of(inner, height, width) or convolutional(inner, height, width)


def plain(network: nn.Module) -> nn.Module:
    """The network inside one that computes through a backend; any other network is itself."""
    inner = getattr(network, "network", network)
    return inner if isinstance(inner, SRNetwork) else network


def can_tile_exactly(model: ImageModelDescriptor[Any], x: Tensor) -> bool:
    """Whether exact tiles are known for the model and a batch of this size."""
    height, width = x.shape[-2:]
    needs = model.size_requirements
    if min(height, width) < needs.minimum or needs.multiple_of > 1 or needs.square:
        return False
    return program_for(model.model, height, width) is not None


def streaming_need(network: nn.Module, shape: tuple[int, ...], scale: int, dtype: torch.dtype, tile: int) -> Need:
    """Memory that a streamed run on an image (1, C, H, W) needs, beside image and result."""
    _, channels, height, width = shape
    inner, meta = plain(network), torch.device("meta")
    twin = memory.on_meta(inner)
    program = _program(twin, twin, height, width)
    if inner is not network:
        program = convolutional(twin, height, width) or program
    assert program is not None
    store, like = Store(meta, dtype, Limits()), torch.empty(0, dtype=dtype, device=meta)
    image, out = (torch.empty(1, channels, height * s, width * s, dtype=dtype, device=meta) for s in (1, scale))
    with torch.inference_mode():
        tile_bytes = Streamer(program, store=store, like=like, tile=tile).rehearse(image, out)
    return Need(tile_bytes, int(store.peak))


def make_plan(
    model: ImageModelDescriptor[Any], x: Tensor, *, tile: TileSize = "auto", tiling: Tiling = "exact"
) -> Plan:
    """Settle how to run a batch ``x`` (N, C, H, W).

    "auto" is untiled where that is predicted to fit into the memory that is free. Otherwise the tile follows from
    the free memory. A model for which exact tiles are not known runs untiled, with a warning, unless
    ``tiling="overlap"`` was asked for.

    Raises:
        InvalidOptionError: the tile is negative or too small to be of use.
    """
    whole = max(x.shape[-2:])
    untiled = Plan("untiled", whole)
    if tile != "auto" and tile and tile < MIN_TILE:
        raise InvalidOptionError(f"tile {tile} is too small: give at least {MIN_TILE}, 0 for untiled, or auto")
    if not tile or model.tiling == ModelTiling.INTERNAL:
        return untiled
    if tile == "auto":
        if memory.fits(plain(model.model), x.shape, model.dtype, model.device):
            return untiled
        if tiling == "exact" and can_tile_exactly(model, x):
            return Plan("exact", fitting_tile(model, x, memory.USABLE * memory.free_memory(model.device)))
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
        need = streaming_need(model.model, (1, *x.shape[1:]), model.scale, model.dtype, side)
        return need.tile + need.maps
    shape = (1, x.shape[1], min(side, x.shape[2]), min(side, x.shape[3]))
    return memory.untiled_peak(plain(model.model), shape, model.dtype)


def fitting_tile(model: ImageModelDescriptor[Any], x: Tensor, budget: float) -> int:
    """The largest sensible tile whose work, and if possible the maps too, fit into ``budget`` bytes."""
    tile = AUTO_TILE
    shape = (1, *x.shape[1:])
    while True:
        need = streaming_need(model.model, shape, model.scale, model.dtype, tile)
        room = max(budget - need.maps, budget / 2)
        if need.tile <= room or tile <= SMALLEST:
            return tile
        tile = max(SMALLEST, min(tile // 2, int(tile * math.sqrt(room / need.tile)) // SMALLEST * SMALLEST))
