"""Running a model over a picture of any size: at once, in tiles that give the same result, or in overlapping tiles."""

from .overlap import AUTO_TILE, TileSize
from .plan import Tiling, can_tile_exactly, make_plan, memory_needed
from .run import OnPart, upscale_tensor

__all__ = [
    "AUTO_TILE",
    "OnPart",
    "TileSize",
    "Tiling",
    "can_tile_exactly",
    "make_plan",
    "memory_needed",
    "upscale_tensor",
]
